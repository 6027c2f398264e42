"""This project's training step against plain PyTorch's, taking turns: seconds, tokens a second, memory, and ratios.

    python benchmarks/compare.py --size base --shape 4,256,8,128,16,64 --dtype bfloat16 --rounds 3

Each turn is a process of its own: `torch_step.py`, and `train_step.py` for each of --backends. The table has medians
over the rounds, and ratios to PyTorch. On a shared machine compare ratios only, and only those of one run. All of them
use large pages of memory where the kernel and the C library offer them, as `infoxlm pretrain` does.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import rich.console
import rich.table

HERE = pathlib.Path(__file__).resolve().parent
MEASURED = ("seconds", "tokens_per_second", "peak_gb")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", help="tiny, small, base or large")
    parser.add_argument("--shape", default="8,256,16,128,32,64", help="see train_step.py")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--backends", nargs="+", choices=("tensorflow", "jax", "torch"), default=["tensorflow"])
    parser.add_argument("--compile", action="store_true", help="plain PyTorch with torch.compile, too")
    parser.add_argument("--no_jit", action="store_true", help="TensorFlow without XLA, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed in each turn")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file for all turns")
    options = parser.parse_args(arguments)
    # torch_step.py has none of this project's code, which would set the variable.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    turns = {name: [] for name in contenders(options)}
    for number in range(options.rounds):
        for name, command in contenders(options).items():
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
            turns[name].append(run(command))
    if options.output:
        options.output.write_text(json.dumps(turns, indent=1) + "\n")
    rich.console.Console().print(table(turns, options))


def contenders(options):
    """dict of name to command."""
    common = [
        "--size",
        options.size,
        "--shape",
        options.shape,
        "--dtype",
        options.dtype,
        "--steps",
        str(options.steps),
    ]
    plain = [sys.executable, str(HERE / "torch_step.py"), *common]
    ours = [sys.executable, str(HERE / "train_step.py"), *common]
    return {
        "plain PyTorch": plain,
        **({"plain PyTorch, torch.compile": [*plain, "--compile"]} if options.compile else {}),
        **{f"infoxlm_keras on {backend}": [*ours, "--backend", backend] for backend in options.backends},
        **({"infoxlm_keras on tensorflow, no XLA": [*ours, "--no-jit"]} if options.no_jit else {}),
    }


def run(command):
    """What a contender measured: the last line that it prints."""
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}\n{process.stderr[-2000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def table(turns, options):
    """A `rich` table of medians and of ratios to the first contender."""
    title = f"{options.size}, {options.dtype}, {options.shape}: medians of {options.rounds} rounds"
    shown = rich.table.Table(title=title)
    shown.add_column("step")
    for column in ("seconds", "tokens/s", "peak GB", "time, ratio", "memory, ratio"):
        shown.add_column(column, justify="right")
    medians = {
        name: {key: statistics.median(turn[key] for turn in found) for key in MEASURED}
        for name, found in turns.items()
    }
    reference = next(iter(medians.values()))
    for name, values in medians.items():
        shown.add_row(
            name,
            f"{values['seconds']:.3f}",
            f"{values['tokens_per_second']:,.0f}",
            f"{values['peak_gb']:.2f}",
            f"{values['seconds'] / reference['seconds']:.2f}",
            f"{values['peak_gb'] / reference['peak_gb']:.2f}",
        )
    return shown


if __name__ == "__main__":
    main()
