"""The table of a GPU: what its rows run, and rows without a result."""

import importlib.util
import json
import sys

import pytest

from benchmarks import gpu_table
from repository import REPOSITORY


def test_without_time_every_row_says_so(tmp_path, capsys):
    output = tmp_path / "table.json"
    gpu_table.main(["--size", "tiny", "--batch_sizes", "4", "--minutes", "0", "--output", str(output)])
    rows = json.loads(output.read_text())
    assert [row["step"] for row in rows] == list(gpu_table.STEPS)
    assert {row["failure"] for row in rows} == {"no time left"}
    assert capsys.readouterr().out.count("no time left") == len(rows)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print('a line'); print('{\"seconds\": 1.5}')", {"seconds": 1.5}),
        ("pass", {"failure": "printed no result"}),
        ("print('no JSON')", {"failure": "printed no result"}),
        ("raise ValueError('odd')", {"failure": "ValueError: odd"}),
        ("raise MemoryError('RESOURCE_EXHAUSTED: while allocating')", {"failure": "not enough memory"}),
        ("raise SystemExit(3)", {"failure": "exit status 3"}),
    ],
)
def test_what_a_row_measured_or_why_not(program, expected):
    assert gpu_table.measure([sys.executable, "-c", program], 60.0) == expected


@pytest.mark.parametrize("name", gpu_table.STEPS)
def test_each_row_is_a_command_that_its_script_takes(name, monkeypatch):
    options = gpu_table.argparse.Namespace(size="tiny", dtype="bfloat16", block_length=64, steps=2, peak_tflops=989.0)
    _, script, *arguments = gpu_table.command_of(name, 4, options)
    assert arguments[arguments.index("--shape") + 1] == "4,64,4,16,4,16"
    if script.endswith("train_step.py"):
        spec = importlib.util.spec_from_file_location("train_step", REPOSITORY / "benchmarks" / "train_step.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # `parse` sets it
        assert module.parse(arguments).backend in name.lower().replace("pytorch", "torch")
