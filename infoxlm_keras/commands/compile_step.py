"""Compiles the training step for accelerators that are not at hand, and prints what it needs there.

  pip install "infoxlm_keras[jax,xla-tpu]"
  KERAS_BACKEND=jax infoxlm compile-step --config infoxlm_base --target tpu:v5e:2x4
  KERAS_BACKEND=jax infoxlm compile-step --config infoxlm_base --target gpu:h100:8 --set mmlm.batch_size=64
  KERAS_BACKEND=jax infoxlm compile-step --config tiny --target cpu:8

The compilers of TPUs and GPUs run on any x86 machine, and no weight is allocated. With KERAS_BACKEND=tensorflow the
step is compiled for one chip (tpu:v5e:1x1, gpu:h100:1), and its variables take memory here. The figures are the
compiler's, for one chip and one step: memory by kind, arithmetic, memory traffic, messages between the chips, calls
of fused attention. A program that calls the host, or whose shapes depend on values, is an error.

Targets: tpu:v4:2x2x1, tpu:v5e:2x4, tpu:v5p:2x2x1, tpu:v6e:2x4 (accelerator and topology; extra `xla-tpu`), gpu:h100:8
(GPUs of one machine; extra `xla-cuda`), cpu:8 (parts of this machine's CPU, to look at messages). A batch size counts
all chips together, as in `infoxlm pretrain`. What saves memory: --strategy fsdp, --set model.rematerialize=layers.
Compiling infoxlm_base takes some minutes.
"""

import argparse
import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_atomically, write_json

GIB = 1 << 30
XLMR_PIECES = 250002


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    with quiet_imports():
        from infoxlm_keras.compilation.targets import parse_target

        target = parse_target(options.target)
        target.prepare()
        import keras
    if keras.backend.backend() not in ("jax", "tensorflow"):
        raise InputError(f"compile-step: needs KERAS_BACKEND=jax or tensorflow, this is {keras.backend.backend()}")
    if importlib.util.find_spec("jax") is None:
        raise InputError('compile-step: the compilers come with JAX; pip install "infoxlm_keras[jax]"')
    with quiet_imports():
        from infoxlm_keras.compilation.batch_search import find_batch
        from infoxlm_keras.compilation.step import compile_step
        from infoxlm_keras.config import load_config
        from infoxlm_keras.tasks.pretext_task import SampleLengths

    config = load_config(options.config, options.set)
    block = options.block_length or config.model.encoder_size.max_sequence_length
    lengths = SampleLengths(block, options.pair_length or config.data.longest_pair or 62)
    if max(block, 2 * lengths.pair + 3) > config.model.encoder_size.max_sequence_length:
        raise InputError(
            f"--block_length {block}, --pair_length {lengths.pair}: the model has "
            f"{config.model.encoder_size.max_sequence_length} positions (a pair takes twice its length, and 3)"
        )
    settings = {"config": options.config, "target": target.name, "strategy": options.strategy}
    settings["backend"] = keras.backend.backend()
    settings["vocabulary"] = options.vocabulary_size
    sizes = {f"{name}.batch_size": size for name, size in config.batch_sizes.items()}
    shapes = {"block_length": block, "pair_length": lengths.pair, "dtype": config.model.dtype}
    with quiet_imports():
        # The compilers report missing drivers when they start.
        target.devices()
    print_settings("compile-step", {**settings, **shapes, **sizes})
    if options.find_batch:
        config, compiled = find_batch(config, target, options.vocabulary_size, lengths, options.strategy)
    else:
        compiled = compile_step(config, target, options.vocabulary_size, lengths, options.strategy)
    if options.hlo is not None:
        write_atomically(options.hlo, compiled.text)
    result = report(config, target, compiled)
    print_report(target, compiled, result)
    if options.output is not None:
        write_json(options.output, {**settings, **shapes, **result})
        print(f"wrote {options.output}")


def report(config: Any, target: Any, compiled: Any) -> dict[str, Any]:
    """dict of JSON values: the program's facts, the chip's, and the seconds that they bound a step to."""
    facts = compiled.program.as_dict()
    chip = target.chip
    bounds = {}
    peak_flops = chip.peak_flops_float32 if config.model.dtype == "float32" else chip.peak_flops
    if peak_flops and facts["flops"] is not None:
        bounds = {
            "arithmetic_seconds": facts["flops"] / peak_flops,
            "traffic_seconds": facts["traffic_bytes"] / chip.bandwidth,
        }
    return {
        "chips": target.chips,
        "chip": dataclasses.asdict(chip),
        "batch_sizes": config.batch_sizes,
        "accumulation_steps": config.optimizer.accumulation_steps,
        "program": facts,
        **bounds,
        "trace_seconds": compiled.trace_seconds,
        "compile_seconds": compiled.compile_seconds,
    }


def print_report(target: Any, compiled: Any, result: dict[str, Any]) -> None:
    """Prints the tables."""
    from rich.table import Table

    program = compiled.program
    table = Table("one chip, one step", "", title=f"{target.name}: {target.chips} chips")
    memory = {
        "weights, optimizer state, batch": program.argument_bytes,
        "new output": program.output_bytes - program.alias_bytes,
        "temporaries": program.temporary_bytes,
        "program": program.code_bytes,
        "peak": program.peak_bytes,
    }
    for name, size in memory.items():
        table.add_row(name, f"{size / GIB:.2f} GiB")
    if program.live_bytes:
        table.add_row("live at once, without the program", f"{program.live_bytes / GIB:.2f} GiB")
    if target.chip.memory:
        fits = "" if program.peak_bytes <= target.chip.memory else ": DOES NOT FIT"
        table.add_row("memory of the chip", f"{target.chip.memory / GIB:.1f} GiB{fits}")
    if program.flops is None or program.traffic_bytes is None:
        table.add_row("arithmetic, memory traffic", "not counted by this compiler")
    else:
        table.add_row("arithmetic", f"{program.flops / 1e12:.3f} TFLOP")
        table.add_row("memory traffic", f"{program.traffic_bytes / 1e9:.1f} GB")
    if "arithmetic_seconds" in result:
        seconds = {"arithmetic": result["arithmetic_seconds"], "memory traffic": result["traffic_seconds"]}
        slower = max(seconds, key=seconds.__getitem__)
        share = seconds["arithmetic"] / max(seconds.values())
        times = ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in seconds.items())
        table.add_row("at the chip's peak rates", times)
        table.add_row("bound by", f"{slower}; at most {100 * share:.0f}% of the peak FLOP/s")
    table.add_row("calls of fused attention", str(program.fused_attention_calls))
    table.add_row("compiled in", f"{compiled.compile_seconds:.0f} s")
    show_table(table)
    messages = Table("messages", "number", "GB", "largest array", title="between the chips")
    for kind, found in program.messages_by_kind().items():
        size = sum(message.bytes for message in found) / 1e9
        messages.add_row(kind, str(len(found)), f"{size:.3f}", found[0].shapes[0] if found[0].shapes else "")
    if program.messages:
        show_table(messages)


def _parser() -> argparse.ArgumentParser:
    parser = argument_parser(__doc__)
    parser.add_argument("--config", required=True, help="YAML file of settings, or the name of a shipped one")
    parser.add_argument("--target", required=True, metavar="T", help="accelerator and topology, such as tpu:v5e:2x4")
    parser.add_argument(
        "--strategy",
        choices=("mirrored", "fsdp"),
        default="mirrored",
        help="as in infoxlm pretrain; mirrored is tpu, too",
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override settings; may be repeated"
    )
    parser.add_argument(
        "--vocabulary_size",
        type=int,
        default=XLMR_PIECES,
        metavar="N",
        help="pieces of the tokenizer (XLM-R's: 250002)",
    )
    parser.add_argument(
        "--block_length", type=int, metavar="N", help="tokens of a block of MMLM (the model's positions)"
    )
    parser.add_argument(
        "--pair_length", type=int, metavar="N", help="tokens a side of a translation pair (data.longest_pair, else 62)"
    )
    parser.add_argument(
        "--find_batch",
        action="store_true",
        help="find the largest batch size that fits, to within a quarter; many compilations",
    )
    parser.add_argument("--output", metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--hlo", metavar="FILE", help="write the compiled program's text")
    return parser
