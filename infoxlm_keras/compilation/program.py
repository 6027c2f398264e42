"""What a compiled program does: memory, arithmetic, traffic, messages between chips, fused kernels."""

import dataclasses
import math
import re
from typing import Any

from infoxlm_keras.errors import InputError

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Asynchronous forms whose result holds the operands too.
_WITH_OPERANDS = ("all-gather-start", "collective-permute-start")
_LINE = re.compile(r" = (?P<shape>.*?) (?P<kind>(?:" + "|".join(COLLECTIVES) + r")(?:-start)?)\(")
_ARRAY = re.compile(r"\b(pred|bf16|[a-z]+\d+(?:e\d+m\d+\w*)?)\[([\d,]*)\]")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_PLACE = re.compile(r"metadata=\{[^}]*\}")
_HOST = re.compile(r" (infeed|outfeed|send|recv)\(|custom_call_target=\"[^\"]*(?:callback|HostTransfer)[^\"]*\"")
_DYNAMIC = re.compile(r"\[[^\]]*<=\d|PadToStatic|SliceToDynamic")
# cuDNN's by their target; a TPU's kernels have one target, and names of their own.
_FUSED_ATTENTION = re.compile(
    r"custom_call_target=\"[^\"]*fmha[^\"]*\"|^\s*(?:ROOT )?%splash_mha[\w.\-]* = .* custom-call\(", re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class Message:
    """One collective operation.

    Attributes:
        kind: str, of `COLLECTIVES`.
        bytes: int, size of its result on one chip.
        shapes: tuple of str, the arrays in it, the largest first.
    """

    kind: str
    bytes: int
    shapes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Program:
    """Facts of a program, for one chip and one run of it.

    Attributes:
        argument_bytes, output_bytes, alias_bytes, temporary_bytes, code_bytes: int. `alias_bytes` of the outputs lie
            in the memory of arguments (donated state). The temporaries of a TPU include its fast memory.
        live_bytes: int, what is live at most at once in the chip's memory, arguments included and the program not, by
            the compiler; 0 if it does not say.
        flops, traffic_bytes: float, by the compiler's count; None from a compiler that does not count (GPUs).
        messages: tuple of `Message`, the largest first.
        fused_attention_calls: int.
    """

    argument_bytes: int
    output_bytes: int
    alias_bytes: int
    temporary_bytes: int
    code_bytes: int
    live_bytes: int
    flops: float | None
    traffic_bytes: float | None
    messages: tuple[Message, ...]
    fused_attention_calls: int

    @property
    def peak_bytes(self) -> int:
        """int: memory that a chip must have."""
        return self.argument_bytes + self.output_bytes - self.alias_bytes + self.temporary_bytes + self.code_bytes

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON values, with `peak_bytes` and the messages by kind."""
        values = dataclasses.asdict(self)
        values["peak_bytes"] = self.peak_bytes
        values["messages"] = {
            kind: {
                "count": len(found),
                "bytes": sum(message.bytes for message in found),
                "largest": found[0].shapes[0] if found[0].shapes else "",
            }
            for kind, found in self.messages_by_kind().items()
        }
        return values

    def messages_by_kind(self) -> dict[str, list[Message]]:
        """dict of kind to its messages, the largest first; kinds without a message are left out."""
        kinds = {kind: [message for message in self.messages if message.kind == kind] for kind in COLLECTIVES}
        return {kind: found for kind, found in kinds.items() if found}


def program_facts(compiled: Any) -> Program:
    """`Program` of what `jax.jit(...).lower(...).compile()` gave.

    Raises:
        InputError: if the program calls the host, or holds shapes that depend on values: a TPU would wait for them.
    """
    text = compiled.as_text()
    check_stays_on_chip(text)
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return Program(
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        alias_bytes=memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
        live_bytes=getattr(memory, "peak_memory_in_bytes", 0),
        flops=cost.get("flops"),
        traffic_bytes=cost.get("bytes accessed"),
        messages=tuple(sorted(messages_in(text), key=lambda message: -message.bytes)),
        fused_attention_calls=len(_FUSED_ATTENTION.findall(text)),
    )


def messages_in(text: str) -> list[Message]:
    """The collective operations in a program's text (HLO).

    The compiler for TPUs repeats a message in the text of each loop that it fuses with it. Those of one channel, shape
    and place in our code are one message.
    """
    found, known = [], set()
    for line in text.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        arrays = [(array[0], _bytes(array[1], array[2])) for array in _ARRAY.finditer(match["shape"])]
        channel, place = _CHANNEL.search(line), _PLACE.search(line)
        if channel is not None:
            identity = (match["kind"], channel[1], tuple(arrays), place and place[0])
            if identity in known:
                continue
            known.add(identity)
        if match["kind"] in _WITH_OPERANDS:
            arrays = arrays[len(arrays) // 2 :]
        arrays.sort(key=lambda array: -array[1])
        kind = match["kind"].removesuffix("-start")
        found.append(Message(kind, sum(size for _, size in arrays), tuple(shape for shape, _ in arrays)))
    return found


def check_stays_on_chip(text: str) -> None:
    """Raises `InputError` if a program's text (HLO) calls the host or holds dynamic shapes."""
    for pattern, what in ((_HOST, "calls the host"), (_DYNAMIC, "holds a shape that depends on values")):
        match = pattern.search(text)
        if match is not None:
            line = text[: match.start()].count("\n") + 1
            raise InputError(f"the compiled step {what} (line {line} of its text: {match[0].strip()[:80]})")


def _bytes(dtype, dimensions):
    count = math.prod(int(size) for size in dimensions.split(",") if size)
    bits = 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
    return count * bits // 8
