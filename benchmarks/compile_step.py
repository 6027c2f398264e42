"""A table of what the training step needs on accelerators that are not at hand, by their compilers.

    pip install -e ".[jax,xla-tpu]"
    python benchmarks/compile_step.py --configs infoxlm_base --targets tpu:v5e:2x4 --output base.json

Each row is one call of `infoxlm compile-step` in a process of its own. Prints a Markdown table.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

GIB = 1 << 30
TARGETS = ("tpu:v4:2x2x1", "tpu:v5e:2x4", "tpu:v5p:2x2x1", "tpu:v6e:2x4", "gpu:h100:8")
COLUMNS = (
    ("peak GiB a chip", lambda r: f"{r['program']['peak_bytes'] / GIB:.1f}"),
    ("state", lambda r: f"{r['program']['argument_bytes'] / GIB:.1f}"),
    ("temporaries", lambda r: f"{r['program']['temporary_bytes'] / GIB:.1f}"),
    ("TFLOP", lambda r: scaled(r["program"]["flops"], 1e-12, 2)),
    ("traffic, GB", lambda r: scaled(r["program"]["traffic_bytes"], 1e-9, 0)),
    ("ms of arithmetic", lambda r: scaled(r.get("arithmetic_seconds"), 1e3, 0)),
    ("ms of traffic", lambda r: scaled(r.get("traffic_seconds"), 1e3, 0)),
    ("messages (number, MB)", lambda r: messages(r["program"]["messages"])),
    ("fused attention", lambda r: str(r["program"]["fused_attention_calls"])),
    ("compiled in, s", lambda r: f"{r['compile_seconds']:.0f}"),
)


def scaled(value, factor, digits):
    """A number of the compiler's as text; a dash where it does not count (GPUs)."""
    return "-" if value is None else f"{factor * value:.{digits}f}"


def messages(kinds):
    return ", ".join(f"{name} {kind['count']}, {kind['bytes'] / 1e6:.1f}" for name, kind in kinds.items())


def compile_step(config, target, more):
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "step.json")
        command = [sys.executable, "-m", "infoxlm_keras", "compile-step", "--config", config, "--target", target]
        process = subprocess.run(
            [*command, "--output", str(output), *more],
            env={**os.environ, "KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
        )
        if process.returncode:
            return process.stderr.strip().splitlines()[-1]
        return json.loads(output.read_text())


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=["infoxlm_base"])
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--output", type=pathlib.Path, help="write all figures as JSON")
    options, more = parser.parse_known_args(arguments)
    found = {}
    print("| configuration, target | " + " | ".join(name for name, _ in COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for config in options.configs:
        for target in options.targets:
            result = compile_step(config, target, more)
            found[f"{config} {target}"] = result
            cells = [result] if isinstance(result, str) else [value(result) for _, value in COLUMNS]
            print(f"| {config}, {target} | " + " | ".join(cells) + " |", flush=True)
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
