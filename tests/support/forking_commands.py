"""Runs commands as processes that are forked from one that has imported everything, which takes most of their time.

In a test:

    with ForkingCommands(KERAS_BACKEND="torch") as commands:
        process = commands.start(log, ["--config", "tiny", ...], RANK="0")
        commands.wait(process)

As a script it is the process that forks. It reads a request a line: `{"command", "arguments", "environment", "log",
"processes"}` starts a command and answers with a process id; `{"wait": id}` answers with its exit code. With
`processes` a worker group of that size is started as `torchrun` starts one.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys

from quick_runs import quick_runs


class ForkingCommands:
    """Context with the process that forks; `environment` is that of all commands, `command` is their module's name."""

    def __init__(self, root, command="pretrain", **environment):
        self.command = command
        self.environment = {**os.environ, "PYTHONPATH": str(root), **environment}
        self.running = set()

    def __enter__(self):
        self.server = subprocess.Popen(
            [sys.executable, __file__], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *exception):
        for process in self.running:
            os.kill(process, signal.SIGKILL)
        with self.server:  # closes its pipes, and waits for it
            pass

    def start(self, log, arguments, processes=0, **environment):
        """The id of a process that runs the command and writes to the file `log`."""
        request = {"command": self.command, "arguments": list(map(str, arguments)), "environment": environment}
        request["log"] = str(log)
        process = self._ask({**request, "processes": processes})
        self.running.add(process)
        return process

    def wait(self, process):
        """The exit code of a process; the negative number of the signal that ended it."""
        code = self._ask({"wait": process})
        self.running.discard(process)
        return code

    def popen(self, log, arguments):
        """The command as `subprocess.Popen` would give it."""
        return ForkedProcess(self, self.start(log, arguments))

    def _ask(self, request):
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())


class ForkedProcess:
    """What is used of `subprocess.Popen`."""

    def __init__(self, commands, process):
        self.commands, self.pid, self.code = commands, process, None
        self.descriptor = os.pidfd_open(self.pid)  # is readable when the process has ended

    def poll(self):
        if self.code is None and select.select([self.descriptor], [], [], 0)[0]:
            self.wait()
        return self.code

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self):
        if self.code is None:
            self.code = self.commands.wait(self.pid)
            os.close(self.descriptor)
        return self.code


def run_in_child(request):
    """The command, in a process that has been forked; never returns."""
    os.setpgid(0, 0)
    with open(request["log"], "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(request["environment"])
    code = 1
    try:
        if request["processes"]:
            as_torchrun(request["processes"], request["command"], request["arguments"])
            code = 0
        else:
            run_one(request["command"], request["arguments"])
    except SystemExit as exit:
        code = exit.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_one(command, arguments):
    """The command in this process; QUICK_RUNS in the environment runs it in `quick_runs`."""
    from infoxlm_keras.command_line import run_command

    module = importlib.import_module(f"infoxlm_keras.commands.{command}")
    with quick_runs() if os.environ.get("QUICK_RUNS") else contextlib.nullcontext():
        run_command(lambda: module.main(arguments))


def run_worker(command, arguments):
    """The command in a worker of torchrun's, which must end without an exception."""
    try:
        run_one(command, arguments)
    except SystemExit as exit:
        if exit.code:
            raise


def as_torchrun(processes, command, arguments):
    """The workers that `torchrun --standalone --nproc_per_node PROCESSES` would start, forked."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    configuration = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id="test",
        max_restarts=0,
        start_method="fork",
    )
    elastic_launch(configuration, run_worker)(command, arguments)


def main():
    import keras

    if keras.backend.backend() == "torch":
        import torch.distributed.launcher.api  # noqa: F401

    import infoxlm_keras.commands.finetune_classification
    import infoxlm_keras.commands.pretrain  # noqa: F401
    import infoxlm_keras.data.streams  # noqa: F401
    import infoxlm_keras.reports.plots  # noqa: F401
    import infoxlm_keras.runs.pretraining  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                run_in_child(request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
