"""`subprocess.run` for Python programs, in processes forked from one that has imported TensorFlow and Keras.

Those imports take most of the time of a short program: five seconds. In a test, with the fixture of that name:

    done = forked_python.run([sys.executable, "recipes/search.py", "query", ...], capture_output=True, text=True)

A program is one of another user's process in all that it can see: arguments, environment, folder, its three streams
and their encoding, limits, exit code. It differs in that modules are loaded, and that its messages of their import
are none. So a test of what an import does, or prints, starts a process of its own.

As a script it is the process that forks. Over a socket it gets requests, each with three files as standard streams,
and answers with exit codes.
"""

import atexit
import concurrent.futures
import contextlib
import io
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import traceback

from repository import REPOSITORY

BACKEND = "tensorflow"


class ForkedPython:
    """The process that forks; it starts when it is first asked."""

    def __init__(self):
        self.server = None

    def close(self):
        if self.server is not None:
            self.socket.shutdown(socket.SHUT_WR)  # the end of its requests
            self.server.wait()
            self.answers.close()
            self.socket.close()

    def run(
        self,
        command,
        *,
        cwd=None,
        env=None,
        input=None,
        capture_output=False,
        stdout=None,
        stderr=None,
        text=False,
        encoding=None,
        errors=None,
        check=False,
    ):
        """As `subprocess.run` of `[sys.executable, SCRIPT | "-c" CODE | "-m" MODULE, argument, ...]`."""
        environment = dict(os.environ if env is None else env)
        if command[0] != sys.executable or environment.get("KERAS_BACKEND", BACKEND) != BACKEND:
            raise ValueError(f"{command}: is not a program for this Python, with the backend {BACKEND}")
        request = {
            "arguments": [os.fsdecode(part) for part in command[1:]],
            "environment": {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()},
            "folder": os.fsdecode(cwd or os.getcwd()),
        }
        if capture_output:
            stdout = stderr = subprocess.PIPE
        encoding = encoding or "utf-8"
        with contextlib.ExitStack() as files, concurrent.futures.ThreadPoolExecutor(2) as readers:
            given = files.enter_context(tempfile.TemporaryFile())
            given.write(input.encode(encoding) if isinstance(input, str) else input or b"")
            given.seek(0)
            output, printed = _stream(stdout, 1, files, readers)
            error, warned = (output, None) if stderr == subprocess.STDOUT else _stream(stderr, 2, files, readers)
            self._send(request, [given.fileno(), output, error])
            files.close()
            code = json.loads(self.answers.readline())
            streams = [None if stream is None else stream.result() for stream in (printed, warned)]
        if text:
            streams = [None if stream is None else stream.decode(encoding, errors or "strict") for stream in streams]
        done = subprocess.CompletedProcess(command, code, *streams)
        if check:
            done.check_returncode()
        return done

    def _send(self, request, streams):
        if self.server is None:
            self.socket, other = socket.socketpair()
            self.answers = self.socket.makefile("rb")
            self.server = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno())],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
                    "KERAS_BACKEND": BACKEND,
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
            )
            other.close()
        data = json.dumps(request).encode()
        socket.send_fds(self.socket, [len(data).to_bytes(8, "big")], streams)
        self.socket.sendall(data)


def _stream(wanted, number, files, readers):
    """(the file descriptor to write to, what will have been read or None), for `stdout` of `subprocess.run`."""
    if wanted is None:
        return number, None
    if wanted == subprocess.DEVNULL:
        return files.enter_context(open(os.devnull, "wb")).fileno(), None
    if wanted != subprocess.PIPE:
        return wanted.fileno(), None
    reading, writing = os.pipe()
    files.enter_context(open(writing, "wb"))
    return writing, readers.submit(_read, reading)


def _read(descriptor):
    with open(descriptor, "rb") as file:
        return file.read()


def run_in_child(request, streams):
    """The program, in a process that has been forked; never returns."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        open_streams(os.environ.get("PYTHONIOENCODING", ""))
        run_program(request["arguments"], os.environ.get("PYTHONPATH", ""))
        code = 0
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
        if code and not isinstance(exit.code, int):
            print(exit.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def open_streams(wanted):
    """Standard streams as Python opens them at its start, with `PYTHONIOENCODING` (str)."""
    encoding, _, errors = wanted.partition(":")
    encoding = encoding or "utf-8"
    sys.stdin = io.TextIOWrapper(open(0, "rb"), encoding, errors or "strict")
    sys.stdout = io.TextIOWrapper(open(1, "wb"), encoding, errors or "strict")
    sys.stderr = io.TextIOWrapper(open(2, "wb"), encoding, "backslashreplace", line_buffering=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def run_program(arguments, paths):
    """What Python does with its arguments (list of str)."""
    while arguments[0] == "-P":
        arguments = arguments[1:]
    sys.path[:0] = [path for path in paths.split(os.pathsep) if path and path not in sys.path]
    first, *others = arguments
    if first == "-c":
        sys.argv = ["-c", *others[1:]]
        exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = others
        sys.path.insert(0, os.getcwd())
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        runpy.run_path(first, run_name="__main__")


def main():
    import keras_hub  # noqa: F401
    import tensorflow_text  # noqa: F401

    import infoxlm_keras.commands.export_savedmodel
    import infoxlm_keras.finetuning
    import infoxlm_keras.search.index
    import infoxlm_keras.serving  # noqa: F401

    del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        while True:
            size, streams, _, _ = socket.recv_fds(requests, 8, 3)
            if not size:
                return
            data = b""
            while len(data) < int.from_bytes(size, "big"):
                data += requests.recv(1 << 20)
            child = os.fork()
            if child == 0:
                requests.close()
                run_in_child(json.loads(data), streams)
            for stream in streams:
                os.close(stream)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            requests.sendall(json.dumps(code).encode() + b"\n")


if __name__ == "__main__":
    main()
