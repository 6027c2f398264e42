"""Builds that are killed at random moments, with one of their work files damaged before they continue.

    python tests/support/stress_build.py --builds 200 --seed 1

Each build is killed (SIGKILL, the builder or one of its workers) up to --kills times. After each kill one file of its
work directory is changed at random. In the end the output must be that of an undisturbed build, byte for byte.
Everything follows from the seed but the moments of the kills.
"""

import argparse
import itertools
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

from infoxlm_keras.building import spills
from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.text.readers import chunks
from running import tree
from sample_text import multilingual_sentences, sentences

CHUNK_BYTES, RUN_BYTES = 300, 1500
BUILDERS = {
    "mmlm": (build_monolingual.main, ["--sequence_length", "32", "--deduplicate"]),
    "bitext": (build_bitext.main, ["--lengths", "8", "16", "32", "--max_length", "32", "--near_duplicates"]),
}


def make_inputs(directory):
    """Writes a tokenizer, texts and pairs with repeats into a `pathlib.Path`; small files among them."""
    from infoxlm_keras.text.vocabulary import train_sentencepiece

    for folder in ("tokenizer", "mmlm", "bitext"):
        (directory / folder).mkdir()
    (directory / "tokenizer/vocabulary.spm").write_bytes(train_sentencepiece(multilingual_sentences(200), 256))
    for language, count in (("de", 110), ("ru", 60), ("en", 1)):
        lines = sentences(language, count)
        text = "\n".join([*lines, *lines[:7]]) + "\n"
        (directory / f"mmlm/{language}.txt").write_text(text, encoding="utf-8")
    pairs = list(zip(sentences("en", 120), sentences("de", 120, start=3), strict=True))
    for name, chosen in (("en-de", pairs + pairs[:9]), ("en-ru", pairs[:40])):
        text = "".join(f"{source}\t{target}\n" for source, target in chosen)
        (directory / f"bitext/{name}.tsv").write_text(text, encoding="utf-8")


def damage(path, chance):
    """Changes a file in a way that `chance` (`random.Random`) decides on; returns its description."""
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data) + 1)
    some = bytes(chance.randrange(256) for _ in range(chance.randint(1, 40)))
    part = data[place : place + chance.randint(1, 200)]
    changes = {
        "flipped": lambda: data[:place] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[place : place + 1]),
        "cut": lambda: data[:place],
        "zeros at the end": lambda: data[:place] + bytes(len(data) - place),
        "inserted": lambda: data[:place] + some + data[place:],
        "repeated": lambda: data[:place] + part + data[place:],
        "left out": lambda: data[:place] + data[place + len(part) :],
        "emptied": lambda: b"",
        "removed": None,
        "a folder": None,
    }
    name = chance.choice(list(changes))
    if name == "flipped":
        changed = changes[name]() + data[place + 1 :]
    elif changes[name]:
        changed = changes[name]()
    if changes[name]:
        path.write_bytes(changed)
    else:
        path.unlink()
        if name == "a folder":
            path.mkdir()
    return f"{path.name}: {name} at {place}"


def run_child(main, arguments, output):
    """Forks a process that runs a builder, its messages going to the file `output`; returns its id."""
    # The process may be killed before it opens the file.
    output.touch()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with open(output, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        run_command(lambda: main(arguments))
    except SystemExit as exit:
        status = exit.code
    finally:
        sys.stdout.flush()
        os._exit(status)


def children(process):
    """Ids of the worker processes of a builder."""
    try:
        listed = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [int(child) for child in listed if b"spawn_main" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def kill_within(process, seconds, chance):
    """Kills a builder, or one of its workers, after `seconds` unless it ends before; returns its wait status."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    victims = children(process)
    if victims and chance.random() < 0.5:
        try:
            os.kill(chance.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            os.kill(process, signal.SIGKILL)
    else:
        os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1]


def stress_build(kind, inputs, whole, seconds, directory, kills, seed, log=print):
    """One build, disturbed; raises `AssertionError` if it does not end as the undisturbed one.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        inputs: path of `make_inputs`.
        whole: dict of path to bytes, `tree` of the undisturbed output's folder.
        seconds: float, what the undisturbed build took.
        directory: path, where this one works.
        kills: int, most kills.
        seed: int.
        log: callable, gets a line for each disturbance.

    Returns:
        (int, int): kills that struck, and files damaged.
    """
    chance = random.Random(seed)
    main, settings = BUILDERS[kind]
    output, messages, struck, damaged = directory / "data", directory / "messages", 0, 0
    for attempt in range(kills + 1):
        processes = chance.choice((1, 1, 2))
        arguments = builder_arguments(kind, inputs, output, processes)
        process = run_child(main, [*arguments, *settings], messages)
        if attempt == kills:
            status = os.waitpid(process, 0)[1]
        else:
            status = kill_within(process, chance.random() * seconds * (1.1 if processes == 1 else 12), chance)
        text = messages.read_text(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        assert "Traceback" not in text, text
        if code == 0:
            break
        assert code == -signal.SIGKILL or (code == 2 and "worker process died" in text), (code, text)
        struck += 1
        if (output / kind).is_dir():
            # Killed when the output was in its place already.
            break
        files = sorted(path for path in output.glob(".*.work/**/*") if path.is_file())
        if files and chance.random() < 0.8:
            log(f"  seed {seed}: {damage(chance.choice(files), chance)}")
            damaged += 1
    assert tree(output / kind) == whole, text
    if code == 0:
        assert os.listdir(output) == [kind]
    return struck, damaged


def builder_arguments(kind, inputs, output, processes):
    return [
        *("--input", str(inputs / kind), "--tokenizer", str(inputs / "tokenizer"), "--shard_megabytes", "0.001"),
        *("--output_dir", str(output), "--processes", str(processes)),
    ]


def stress(builds, kills, seed, directory, log=print, least_kills=0):
    """`builds` of each kind; returns (kills that struck, files damaged).

    A kill does not strike where a build ends before its moment. With `least_kills`, further builds of a kind follow
    until that many have struck in builds of the kind.
    """
    inputs = directory / "inputs"
    inputs.mkdir()
    make_inputs(inputs)
    totals = [0, 0]
    for kind, (main, settings) in BUILDERS.items():
        output, start = directory / f"whole-{kind}", time.monotonic()
        process = run_child(main, [*builder_arguments(kind, inputs, output, 1), *settings], directory / "messages")
        assert os.waitpid(process, 0)[1] == 0, (directory / "messages").read_text()
        seconds, whole = time.monotonic() - start, tree(output / kind)
        struck = 0
        for number in itertools.count():
            if number >= builds and struck >= least_kills:
                break
            assert number < builds + 50, f"{struck} kills struck in {number} builds"
            own = directory / f"{kind}-{number}"
            own.mkdir()
            found = stress_build(kind, inputs, whole, seconds, own, kills, seed + number, log)
            struck += found[0]
            totals = [total + count for total, count in zip(totals, found, strict=True)]
            shutil.rmtree(own)
    return tuple(totals)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=50, help="builds of each kind")
    parser.add_argument("--kills", type=int, default=8, help="most kills of a build")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chunks.CHUNK_BYTES, spills.RUN_BYTES = CHUNK_BYTES, RUN_BYTES
    with tempfile.TemporaryDirectory() as folder:
        found = stress(options.builds, options.kills, options.seed, pathlib.Path(folder))
    print(f"{2 * options.builds} builds, {found[0]} kills, {found[1]} files damaged: all equal")
