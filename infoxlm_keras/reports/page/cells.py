"""Numbers and texts as the cells of a report's tables."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from infoxlm_keras.reports.page.blocks import Table
from infoxlm_keras.reports.page.run_contents import RunContents, readable

NOTHING = "–"


def number(value: Any, digits: int = 4) -> str:
    """A number for a cell: `digits` significant ones, thousands with commas; other values as text, None as a dash.

    >>> number(12345.678), number(0.000123456), number(None)
    ('12,346', '0.0001235', '–')
    """
    if value is None or value == "" or value == {}:
        return NOTHING
    if isinstance(value, list):
        return ", ".join(map(str, value)) or NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    """A share in 0..1 as percent with one decimal; None as a dash."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def by_run(
    runs: Sequence[RunContents], rows: Sequence[tuple[str, Callable[[RunContents], Any]]], **options: Any
) -> Table:
    """A table with a column for each run.

    Args:
        runs: list of `RunContents`.
        rows: list of (name, function of a run); a row that no run has is left out.
        options: of `Table`.
    """
    cells = [[name, *(readable(number(value(run))) for run in runs)] for name, value in rows]
    present = [row for row in cells if any(cell != NOTHING for cell in row[1:])]
    return Table(["", *(run.label for run in runs)], present, numeric=False, **options)
