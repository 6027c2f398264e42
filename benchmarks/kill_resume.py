"""Does a killed run lose anything? One run without interruption against runs that are killed again and again.

    python benchmarks/kill_resume.py --output_dir runs/kill_resume

Trains a very small model on random text: without interruption; killed by SIGKILL at --kills random moments, every
second of them while a checkpoint is being written; and stopped by SIGTERM --stops times, which must end with status 0.
Every restart is the same command in a new process. At the end weights, optimizer, key encoder, queue, counters and
metrics (the bytes of the last checkpoint), and history.csv but for the columns of speeds, are compared with the
run without interruption. Exit status 0 only if all are equal.

Writes to OUTPUT_DIR: kill_resume.json, and the data and runs.
"""

import csv
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import rich
import rich.table
import yaml

from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json
from infoxlm_keras.reports.history import SPEEDS

ROOT = pathlib.Path(__file__).resolve().parent.parent
SETTINGS = {
    "steps": 600,
    "tasks": ["mmlm", "xlco"],
    "log_every": 7,
    "save_every": 11,
    "keep_checkpoints": 2,
    "jit_compile": False,
    "model": {
        "num_layers": 2,
        "hidden_dim": 8,
        "num_heads": 2,
        "intermediate_dim": 16,
        "max_sequence_length": 64,
        "dropout": 0.1,
    },
    "mmlm": {"batch_size": 4},
    "xlco": {"batch_size": 4, "queue_length": 30, "pooling": "mean", "normalize": True, "momentum": {"value": 0.9}},
    "optimizer": {"learning_rate": 0.01, "warmup_steps": 10},
    "evaluation": {"every": 50},
}
WORDS = "sun moon star sea river stone tree leaf bird fish red blue green old new one two three sleeps runs".split()


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--output_dir", type=pathlib.Path, default="runs/kill_resume", help="where everything goes")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs")
    parser.add_argument("--stops", type=int, default=5, help="SIGTERMs")
    parser.add_argument("--steps", type=int, default=SETTINGS["steps"], help="updates of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    print_settings("kill_resume", vars(options))
    directory = options.output_dir.resolve()
    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"{directory}: is not empty; remove it, or give another --output_dir")
    directory.mkdir(parents=True, exist_ok=True)
    command = prepare(directory, options.steps)
    run_to_its_end(command, directory / "reference")
    results = {}
    for name, number, count in (
        ("SIGKILL", signal.SIGKILL, options.kills),
        ("SIGTERM", signal.SIGTERM, options.stops),
    ):
        moments = interrupted(command, directory, name.lower(), number, count, options.steps, options.seed)
        results[name] = {"moments": moments, "runs": []}
        for run in sorted(p for p in directory.glob(f"{name.lower()}-*") if p.is_dir()):
            results[name]["runs"].append(differences(directory / "reference", run))
    write_json(directory / "kill_resume.json", results)
    report(results)
    if any(found for result in results.values() for found in result["runs"]):
        raise InputError("a run that was interrupted differs from the run that was not")


def prepare(directory, steps):
    """Makes text, vocabulary, records and settings in `directory`; returns the training command without output_dir."""
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(WORDS, k=draw.randint(4, 9))) for _ in range(400)]
    pairs = [(sentence, " ".join(word[::-1] for word in sentence.split())) for sentence in sentences]
    for name, part in (("pairs", pairs[:350]), ("heldout", pairs[350:])):
        (directory / name).mkdir()
        (directory / name / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in part))
    (directory / "text").mkdir()
    for number, language in enumerate(("en", "de")):
        (directory / "text" / f"{language}.txt").write_text("".join(pair[number] + "\n" for pair in pairs[:350]))
    tokenizer = directory / "tokenizer"
    data = ["--tokenizer", tokenizer, "--output_dir", directory / "records", "--processes", 1]
    recipe(
        "data_prep/train_tokenizer.py",
        "--input",
        directory / "text",
        "--vocabulary_size",
        60,
        "--output_dir",
        tokenizer,
    )
    recipe("data_prep/build_monolingual.py", "--input", directory / "text", *data, "--sequence_length", 32)
    lengths = ["--lengths", 30, "--max_length", 30, "--truncate"]
    recipe("data_prep/build_bitext.py", "--input", directory / "pairs", *data, *lengths)
    evaluation = {**SETTINGS["evaluation"], "pairs": str(directory / "heldout")}
    (directory / "config.yaml").write_text(yaml.safe_dump({**SETTINGS, "steps": steps, "evaluation": evaluation}))
    command = ["recipes/pretrain.py", "--config", directory / "config.yaml", "--data_dir", directory / "records"]
    return line(*command)


def line(script, *arguments):
    """A command of the project, list of str."""
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def recipe(script, *arguments):
    """Runs a command that has to succeed."""
    finished = subprocess.run(line(script, *arguments), capture_output=True, text=True, cwd=ROOT, check=False)
    if finished.returncode:
        raise InputError(f"{script} ended with status {finished.returncode}: {finished.stderr[-2000:]}")


def start(command, output_dir):
    """A training process; its output goes to `<output_dir>.log`."""
    log = open(f"{output_dir}.log", "ab")
    with log:
        return subprocess.Popen([*command, "--output_dir", str(output_dir)], stdout=log, stderr=log, cwd=ROOT)


def run_to_its_end(command, output_dir):
    """Starts or continues a run, and waits for its end."""
    if start(command, output_dir).wait():
        raise InputError(f"training failed, see {output_dir}.log")


def interrupted(command, directory, name, number, count, steps, seed):
    """Sends signal `number` at `count` random moments, to as many runs as that takes; all are finished at the end.

    Returns:
        list of dict, one a signal: where it fell, and the status with which the process ended.
    """
    draw = random.Random(seed)
    moments = []
    run = 0
    while len(moments) < count:
        output_dir = directory / f"{name}-{run}"
        while len(moments) < count and newest(output_dir) < steps:
            while_writing = number == signal.SIGKILL and len(moments) % 2 == 1
            process = start(command, output_dir)
            moment = strike(process, output_dir, number, while_writing, draw, steps)
            if moment is not None:
                moments.append({"run": output_dir.name, **moment})
                print(f"{name} {len(moments)}/{count}: {moments[-1]}", flush=True)
        if not (output_dir / "pretraining.json").exists():
            run_to_its_end(command, output_dir)
        run += 1
    return moments


def strike(process, output_dir, number, while_writing, draw, steps):
    """Waits for a random moment after the first new step, sends the signal, and waits for the end.

    Args:
        process: the running process.
        output_dir: path.
        number: the signal.
        while_writing: bool, wait for the first checkpoint that is being written after the random moment.
        draw: `random.Random`.
        steps: int, the last step of the run.

    Returns:
        dict of what was hit, or None if the signal did not meet the training: it came before the first new
        checkpoint, or after the last step.
    """
    before = newest(output_dir)
    # In parts of what is left of the run, not in seconds: a fast machine makes all steps of a short run in one.
    part, delay = draw.uniform(0.0, 0.5), draw.random()
    # One in five falls anywhere in the start of the process: imports, compilation, restoring.
    at_start = number == signal.SIGKILL and not while_writing and draw.random() < 0.4
    if at_start:
        time.sleep(draw.uniform(0.0, 15.0))
    else:
        # A new checkpoint, not a new row of history.csv: the run must get on between two signals.
        first = wait_for(process, output_dir, before + 1)
        started = time.perf_counter()
        reached = wait_for(process, output_dir, first + int(part * (steps - first)))
        # Somewhere before the next checkpoint, if the last ones say how long that takes.
        time.sleep(delay * (time.perf_counter() - started) * SETTINGS["save_every"] / max(reached - first, 1))
        if while_writing:
            stop_while_writing(process, output_dir)
    process.send_signal(number)
    status = process.wait()
    if number == signal.SIGKILL and status != -number:
        return None
    # SIGTERM is the run's own affair between its first step and its last; a fast machine may be through by then.
    if number == signal.SIGTERM and newest(output_dir) in (before, steps):
        return None
    if number == signal.SIGTERM and status:
        raise InputError(f"SIGTERM ended {output_dir} with status {status}, see its log")
    history = output_dir / "history.csv"
    hit = "the writing of a checkpoint" if unfinished(output_dir) else "the start" if at_start else "training"
    return {"hit": hit, "newest checkpoint": newest(output_dir), "rows": rows(history), "status": status}


def stop_while_writing(process, output_dir):
    """Halts the process in the middle of a checkpoint; returns without doing so only if it ends.

    A small checkpoint is written in milliseconds, and may be complete when the halt takes effect: then the process
    goes on to the next one.
    """
    while process.poll() is None:
        if not unfinished(output_dir):
            continue
        process.send_signal(signal.SIGSTOP)
        wait_until_halted(process.pid)
        if unfinished(output_dir):
            return
        process.send_signal(signal.SIGCONT)


def wait_until_halted(pid):
    """Waits until all threads of the process `pid` (int) have stopped, or it has ended."""
    while True:
        try:
            states = [task.joinpath("stat").read_text() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            return
        if all(state.rpartition(")")[2].split()[0] in "TtZX" for state in states):
            return
        time.sleep(0.001)


def wait_for(process, output_dir, step):
    """Waits for a checkpoint of `step` (int) or later, or for the end of the process; returns the newest step."""
    while newest(output_dir) < step and process.poll() is None:
        time.sleep(0.002)
    return newest(output_dir)


def newest(output_dir):
    """The step of the newest checkpoint, 0 if there is none."""
    try:
        names = [path.name for path in (output_dir / "checkpoints").iterdir()]
    except FileNotFoundError:
        return 0
    return max((int(name[5:]) for name in names if re.fullmatch(r"step-\d+", name)), default=0)


def unfinished(output_dir):
    """Whether a checkpoint is, or was, being written."""
    try:
        return any(".partial-" in path.name for path in (output_dir / "checkpoints").iterdir())
    except FileNotFoundError:
        return False


def rows(path):
    """Number of rows of a history.csv."""
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def differences(reference, run):
    """What differs between two finished runs: list of str, empty if they are equal."""
    found = []
    expected, actual = ([p for p in sorted((d / "checkpoints").glob("step-*"))][-1] for d in (reference, run))
    if actual.name != expected.name:
        found.append(f"last checkpoint {actual.name}, not {expected.name}")
    elif (actual / "state.safetensors").read_bytes() != (expected / "state.safetensors").read_bytes():
        found.append("state.safetensors: weights, optimizer, key encoder, queue, counters or metrics")
    if history(run) != history(reference):
        found.append("history.csv")
    best = [read_json(directory / "pretraining.json")["best"] for directory in (reference, run)]
    if best[0] != best[1]:
        found.append("the best checkpoint")
    if unfinished(run):
        found.append("a half-written checkpoint is left")
    return found


def history(run):
    """The rows of history.csv as text, without the one column that is a speed."""
    with open(run / "history.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name not in SPEEDS} for row in csv.DictReader(file)]


def report(results):
    table = rich.table.Table(title="interrupted runs against the run without interruption")
    for column in ("signal", "fell into", "times", "runs", "bit-identical"):
        table.add_column(column)
    for name, result in results.items():
        hits = [moment["hit"] for moment in result["moments"]]
        equal = sum(not found for found in result["runs"])
        for hit in sorted(set(hits)):
            table.add_row(name, hit, str(hits.count(hit)), str(len(result["runs"])), f"{equal}/{len(result['runs'])}")
    rich.print(table)
    for result in results.values():
        for found in result["runs"]:
            for difference in found:
                print(f"different: {difference}")


if __name__ == "__main__":
    run_command(main)
