"""The training step through real compilers: what it says to other chips, and that figures add up."""

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

from repository import REPOSITORY

pytestmark = pytest.mark.slow

PIECES, DIM, ROWS, MICRO_BATCHES = 512, 16, 8, 4
SIZE = {
    "model.num_layers": 1,
    "model.hidden_dim": DIM,
    "model.num_heads": 2,
    "model.intermediate_dim": 32,
    "model.max_sequence_length": 32,
    "optimizer.accumulation_steps": MICRO_BATCHES,
    **{f"{task}.batch_size": ROWS for task in ("mmlm", "tlm", "xlco")},
    "xlco.queue_length": 64,
    "xlco.universal_layer": 1,
}
# Lengths of a block and of one side of a pair.
BLOCK, PAIR = 24, 10


def compile_step(target, *more, output=None, backend="jax"):
    settings = [part for name, value in SIZE.items() for part in ("--set", f"{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "infoxlm_keras",
        "compile-step",
        "--config",
        "tiny",
        "--target",
        target,
        *settings,
    ]
    lengths = ["--vocabulary_size", str(PIECES), "--block_length", str(BLOCK), "--pair_length", str(PAIR)]
    written = [] if output is None else ["--output", str(output)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(
        [*command, *lengths, *written, *more], env=environment, capture_output=True, text=True, check=False
    )
    return process, json.loads(output.read_text()) if output is not None and output.exists() else None


def check_messages(result, chips):
    """What data parallelism needs, and no more: counts, keys, gradients."""
    messages = result["program"]["messages"]
    assert set(messages) == {"all-reduce", "all-gather"}
    # The keys of all micro-batches at once, float32.
    assert messages["all-gather"]["count"] == 1
    assert messages["all-gather"]["bytes"] == 4 * MICRO_BATCHES * ROWS * DIM
    # Every gradient crosses once: the table is the largest, and there is no room for a second one.
    table = 4 * PIECES * DIM
    if not result["target"].startswith("gpu"):  # The compiler for GPUs joins small arrays to one flat one.
        assert messages["all-reduce"]["largest"] == f"f32[{PIECES},{DIM}]"
    assert table < messages["all-reduce"]["bytes"] < 2 * table
    assert result["chips"] == chips


def test_data_parallelism_sends_counts_keys_and_gradients_once(tmp_path):
    process, result = compile_step("cpu:2", output=tmp_path / "step.json")
    assert process.returncode == 0, process.stderr
    check_messages(result, 2)
    program = result["program"]
    parts = ("argument_bytes", "output_bytes", "temporary_bytes", "code_bytes")
    assert program["peak_bytes"] == sum(program[name] for name in parts) - program["alias_bytes"]
    # Temporaries lie in one block, in which not all of it is in use at once.
    assert program["argument_bytes"] < program["live_bytes"] <= program["peak_bytes"]
    # The state is donated: what comes out lies where the old state lay, but for the logs.
    assert program["output_bytes"] - program["alias_bytes"] < 4096
    assert program["flops"] > 0 and program["traffic_bytes"] > 0
    assert "all-gather" in process.stdout and "memory traffic" in process.stdout


def test_the_memories_of_tasks_do_not_add(tmp_path):
    """One task's activations are gone before those of the next one come, so that all need what the largest needs."""
    long = ("--set", "model.max_sequence_length=512", "--block_length", "512", "--pair_length", "254")
    temporaries = []
    for tasks in ("[mmlm]", "[mmlm, tlm]"):
        output = tmp_path / f"{len(tasks)}.json"
        process, result = compile_step("cpu:1", "--set", f"tasks={tasks}", *long, output=output)
        assert process.returncode == 0, process.stderr
        temporaries.append(result["program"]["temporary_bytes"])
    assert temporaries[1] < 1.2 * temporaries[0]


def test_the_update_is_written_in_the_old_embeddings_place(tmp_path):
    """No copy of the table: reading one old row for every new one would keep the old table beside the new one."""
    more = ("--set", "optimizer.accumulation_steps=1", "--hlo", str(tmp_path / "step.hlo"))
    process, _ = compile_step("cpu:1", *more, output=tmp_path / "step.json")
    assert process.returncode == 0, process.stderr
    program = (tmp_path / "step.hlo").read_text()
    assert f"f32[{PIECES},{DIM}]" in program
    assert not re.findall(rf"= f32\[{PIECES},{DIM}\]\S* copy\(", program)


def test_cut_weights_are_joined_for_each_micro_batch_and_gradients_never_whole(tmp_path):
    process, result = compile_step("cpu:2", "--strategy", "fsdp", output=tmp_path / "step.json")
    assert process.returncode == 0, process.stderr
    messages = result["program"]["messages"]
    assert set(messages) == {"all-reduce", "all-gather", "reduce-scatter"}
    table = 4 * PIECES * DIM
    # Each chip keeps its columns of the table's gradient; the biases and norms that are not cut are far smaller.
    assert messages["reduce-scatter"]["largest"] == f"f32[{PIECES},{DIM // 2}]"
    assert messages["all-reduce"]["bytes"] < table / 2
    # The table for the keys and for the loss; the other matrices and the keys are less than one more.
    assert messages["all-gather"]["largest"] == f"f32[{PIECES},{DIM}]"
    assert 2 * table < messages["all-gather"]["bytes"] < 3 * table


def libtpu_of_jax():
    """Whether the compiler for TPUs is one for the JAX here; that of `tensorflow-tpu` 2.20 is older, and crashes."""
    if importlib.util.find_spec("libtpu") is None:
        return False
    return tuple(map(int, importlib.metadata.version("libtpu").split(".")[:3])) >= (0, 0, 30)


@pytest.mark.skipif(not libtpu_of_jax(), reason="the compiler for TPUs, of JAX (extra xla-tpu)")
def test_the_compiler_for_tpus_takes_the_step(tmp_path):
    process, result = compile_step("tpu:v5e:2x2", "--set", "model.dtype=mixed_bfloat16", output=tmp_path / "step.json")
    assert process.returncode == 0, process.stderr
    check_messages(result, 4)
    assert result["traffic_seconds"] > 0 and "16.0 GiB" in process.stdout


@pytest.mark.skipif(not libtpu_of_jax(), reason="the compiler for TPUs, of JAX (extra xla-tpu)")
def test_the_compiler_for_tpus_takes_the_attention_kernel(tmp_path):
    more = ("--set", "model.dtype=mixed_bfloat16", "--set", "model.dropout=0")
    more += ("--set", "model.max_sequence_length=130", "--block_length", "128")
    process, result = compile_step("tpu:v5e:2x2", *more, output=tmp_path / "step.json")
    assert process.returncode == 0, process.stderr
    check_messages(result, 4)
    assert result["program"]["fused_attention_calls"] > 0


@pytest.mark.skipif(importlib.util.find_spec("jax_cuda12_plugin") is None, reason="that for GPUs (extra xla-cuda)")
def test_the_compiler_for_gpus_takes_the_step(tmp_path):
    more = ("--set", "model.dtype=mixed_bfloat16", "--set", "model.dropout=0")
    process, result = compile_step("gpu:h100:2", *more, output=tmp_path / "step.json")
    assert process.returncode == 0, process.stderr
    check_messages(result, 2)
    # This compiler counts no arithmetic. Its kernels of attention are in the program, forward and backward.
    assert result["program"]["flops"] is None and "not counted" in process.stdout
    assert result["program"]["fused_attention_calls"] > 0


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        ("cpu:3", [], "mmlm.batch_size = 8: cannot be divided among 3 replicas"),
        ("tpu:v9:2x2", [], "is no accelerator"),
        ("cpu:2", ["--block_length", "33"], "the model has 32 positions"),
        (
            "cpu:1",
            ["--set", "tasks=[mmlm,distillation]", "--set", "distillation.teacher=some/model"],
            "distillation works with another model (teacher), which is not loaded",
        ),
    ],
)
def test_refused_in_one_line(target, more, message):
    process, _ = compile_step(target, *more)
    assert process.returncode == 2 and message in process.stderr and process.stderr.count("\n") == 1, process.stderr


@pytest.mark.xla
def test_the_step_of_tensorflow(tmp_path):
    settings = ("--set", "optimizer.accumulation_steps=1", "--set", "tasks=[tlm, xlco]")
    process, result = compile_step("cpu:1", *settings, output=tmp_path / "step.json", backend="tensorflow")
    assert process.returncode == 0, process.stderr
    program = result["program"]
    assert result["backend"] == "tensorflow" and result["chips"] == 1 and program["messages"] == {}
    # Weights, key encoder and two moments; the queue, biases and norms are far less than a second table.
    table = 4 * PIECES * DIM
    assert 4 * table < program["argument_bytes"] < 6 * table
    assert program["output_bytes"] - program["alias_bytes"] < 4096
    # The logits of the predictions alone, forward and backward: a fifth of the tokens of a pair at most.
    assert program["flops"] > 3 * 2 * ROWS * 2 * PAIR // 8 * PIECES * DIM

    process, _ = compile_step("cpu:2", backend="tensorflow")
    assert process.returncode == 2 and process.stderr.count("\n") == 1, process.stderr
    assert "TensorFlow's step is compiled for one chip; give a target such as cpu:1, or set" in process.stderr
