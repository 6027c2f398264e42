"""The training step on one GPU: batch sizes, what each technique gives, and plain PyTorch, in one table.

    python benchmarks/gpu_table.py --minutes 8 --output table.json

Every row is a process of its own: `train_step.py` or `torch_step.py`, by default in bfloat16, with MMLM blocks of 512
tokens, and pairs and sentences of 128. The rows that matter most come first. A row that has no room on the device, or
no time, is said to be so; what was measured is written after every row. The share of the peak is our rows' model
FLOP/s, of `--peak_tflops`.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import rich.console
import rich.table

HERE = pathlib.Path(__file__).resolve().parent
# Name -> (script, its options). The first is what a run does by default.
STEPS = {
    "JAX": ("train_step.py", ["--backend", "jax"]),
    "plain PyTorch": ("torch_step.py", []),
    "plain PyTorch, torch.compile": ("torch_step.py", ["--compile"]),
    "PyTorch": ("train_step.py", ["--backend", "torch"]),
    "PyTorch, no torch.compile": ("train_step.py", ["--backend", "torch", "--no-jit"]),
    "JAX, activations computed again": ("train_step.py", ["--backend", "jax", "--rematerialize", "activations"]),
    "JAX, plain attention": ("train_step.py", ["--backend", "jax", "--plain_attention"]),
    "JAX, layers computed again": ("train_step.py", ["--backend", "jax", "--rematerialize", "layers"]),
    "JAX, dropout 0.1": ("train_step.py", ["--backend", "jax", "--dropout", "0.1"]),
}
LONGEST_ROW = 150.0


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="base", help="tiny, small, base or large")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument(
        "--batch_sizes", type=int, nargs="+", default=[64, 128, 32], help="samples a task, in this order"
    )
    parser.add_argument(
        "--block_length", type=int, default=512, help="tokens of a sample of MMLM; a quarter in the others"
    )
    parser.add_argument("--steps", type=int, default=6, help="timed in each row")
    parser.add_argument(
        "--peak_tflops", type=float, default=989.0, help="of the device in this dtype; H100, H200: 989"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="no row begins later than this")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file, written after each row")
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    rows = []
    for batch_size in options.batch_sizes:
        for name in STEPS:
            print(f"{batch_size} samples a task: {name}", file=sys.stderr, flush=True)
            left = end - time.monotonic()
            found = measure(command_of(name, batch_size, options), left) if left > 0 else {"failure": "no time left"}
            rows.append({"step": name, "batch_size": batch_size, **found})
            if options.output:
                options.output.write_text(json.dumps(rows, indent=1) + "\n")
    rich.console.Console(width=110).print(table(rows, options))


def command_of(name, batch_size, options):
    script, more = STEPS[name]
    short = options.block_length // 4
    shape = ",".join(map(str, (batch_size, options.block_length, batch_size, short, batch_size, short)))
    common = ["--size", options.size, "--dtype", options.dtype, "--shape", shape, "--steps", str(options.steps)]
    if script == "train_step.py":
        common += ["--peak_tflops", str(options.peak_tflops)]
    return [sys.executable, str(HERE / script), *common, *more]


def measure(command, seconds):
    """What a row measured, or `{"failure": why}`."""
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=min(seconds + 10.0, LONGEST_ROW)
        )
    except subprocess.TimeoutExpired:
        return {"failure": "took too long"}
    if process.returncode:
        memory = any(word in process.stderr for word in ("RESOURCE_EXHAUSTED", "OutOfMemoryError", "out of memory"))
        last = process.stderr.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
        return {"failure": "not enough memory" if memory else last[0][:200]}
    try:
        return json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"failure": "printed no result"}


def table(rows, options):
    """A `rich` table of all rows."""
    shown = rich.table.Table(title=f"{options.size}, {options.dtype}, medians of {options.steps} steps")
    shown.add_column("samples a task", justify="right")
    shown.add_column("step")
    for column in ("seconds", "tokens/s", "of the peak", "peak GB"):
        shown.add_column(column, justify="right")
    for row in rows:
        if "failure" in row:
            shown.add_row(str(row["batch_size"]), row["step"], row["failure"])
            continue
        share = f"{row['mfu']:.1%}" if "mfu" in row else ""
        numbers = (f"{row['seconds']:.3f}", f"{row['tokens_per_second']:,.0f}", share, f"{row['peak_gb']:.1f}")
        shown.add_row(str(row["batch_size"]), row["step"], *numbers)
    return shown


if __name__ == "__main__":
    main()
