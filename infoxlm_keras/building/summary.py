"""Prints the inputs of a command, and the closing table of a build."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import rich
import rich.box
import rich.table

from infoxlm_keras.command_line import show_table
from infoxlm_keras.text.readers.found import MOST_NAMES

if TYPE_CHECKING:
    from infoxlm_keras.records.manifest import Manifest
    from infoxlm_keras.text.readers.found import Found


def print_found(found: Found) -> None:
    """Prints the inputs that a command takes and those that it ignores; `found` is a `Found`."""
    for line in found.report():
        print(line, flush=True)


def print_summary(manifest: Manifest, seconds: float) -> None:
    """Prints what `manifest` holds, a row a language or pair, and the time that it took.

    Args:
        manifest: `Manifest`.
        seconds: float, wall time of the build.
    """
    # A block is one row of tokens, a pair two.
    rows = 1 if manifest.kind == "mmlm" else 2
    table = rich.table.Table(box=rich.box.SIMPLE)
    unit = "sentences" if manifest.kind == "mmlm" else "pairs"
    for heading in ("stream", unit, "dropped", "records", "tokens", "unknown", "filled"):
        table.add_column(heading, justify="left" if heading == "stream" else "right", no_wrap=True)
    # Of a stream without a record, all was dropped.
    names = sorted({stream.name for stream in manifest.streams} | {source.name for source in manifest.sources})
    for name in [*names, None]:
        streams = [stream for stream in manifest.streams if name in (stream.name, None)]
        sources = [source for source in manifest.sources if name in (source.name, None)]
        tokens = sum(stream.tokens for stream in streams)
        table.add_row(
            name or "all",
            f"{sum(source.sentences for source in sources):,}",
            f"{sum(sum(source.dropped.values()) for source in sources):,}",
            f"{sum(stream.records for stream in streams):,}",
            f"{tokens:,}",
            f"{sum(stream.unknown_tokens for stream in streams) / tokens:.3%}" if tokens else "-",
            f"{tokens / sum(rows * stream.length * stream.records for stream in streams):.1%}" if tokens else "-",
            end_section=name == names[-1],
        )
    show_table(table)
    tokens = sum(stream.tokens for stream in manifest.streams)
    reasons = sum((collections.Counter(source.dropped) for source in manifest.sources), collections.Counter())
    if reasons:
        print("dropped: " + ", ".join(f"{number:,} {reason}" for reason, number in reasons.items()))
    for line in _without_text(manifest.sources):
        print(line)
    print(f"wrote {manifest.directory}: {tokens:,} tokens in {seconds:.1f} s ({tokens / seconds:,.0f} tokens/s)")


def _without_text(sources):
    """List of str: a line for the inputs of which nothing is left, by what became of them."""
    groups: dict[str, list[str]] = {}
    for source in sources:
        if not source.sentences:
            reasons = ", ".join(reason for reason, number in source.dropped.items() if number)
            groups.setdefault(f"all dropped: {reasons}" if reasons else "no text", []).append(source.file)
    lines = []
    for what, files in groups.items():
        names = ", ".join(files[:MOST_NAMES])
        more = f", and {len(files) - MOST_NAMES:,} more" if len(files) > MOST_NAMES else ""
        lines.append(f"nothing is left of {len(files):,} file{'s' * (len(files) > 1)} ({what}): {names}{more}")
    return lines
