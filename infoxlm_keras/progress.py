"""One progress bar for all long work: animated on a terminal, a single closing line elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

import rich.progress


class Advance(Protocol):
    """What `progress_bar` gives: reports `amount` of the total done, in which `units` more units were made."""

    def __call__(self, amount: float, units: int = 0) -> None: ...


@contextlib.contextmanager
def progress_bar(description: str, total: float | None = None, unit: str = "items") -> Iterator[Advance]:
    """Shows a bar with the share done, the elapsed time and a rate.

    Args:
        description: str.
        total: int or None. Amount of work in any measure (bytes, steps); None shows only the elapsed time.
        unit: str. What the rate counts, in the plural.

    Yields:
        `advance(amount, units=0)`: reports `amount` of `total` done, in which `units` more units were made.

    Example:

        with progress_bar("Reading", total=file_size, unit="sentences") as advance:
            for chunk in chunks:
                advance(len(chunk.body), units=len(chunk.sentences))
    """
    columns = [
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=30),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("{task.fields[rate]}", markup=False),
    ]
    start, made = time.perf_counter(), 0
    with rich.progress.Progress(*columns) as progress:
        task = progress.add_task(description, total=total, rate="")

        def advance(amount: float, units: int = 0) -> None:
            nonlocal made
            made += units
            rate = made / max(time.perf_counter() - start, 1e-9)
            progress.update(task, advance=amount, rate=f"{rate:,.0f} {unit}/s" if made else "")

        yield advance
        if total is None:
            progress.update(task, total=1, completed=1)
