"""Losses and mutual-information bounds over the steps of a training run."""

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_text
from infoxlm_keras.reports.plots.style import COLORS, QUIET_COLOR, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# suffix of the column's name, title, label of the axis
PANELS = (
    ("_loss", "Loss", "loss in nats"),
    ("_mi_lower_bound", "Lower bound of mutual information", "bound in nats"),
)
VALIDATION = "val_"  # prefix of numbers on held-out records
SMOOTHED_ABOVE = 150  # points; shorter lines are not smoothed


def read_history(path: PathLike) -> tuple[Array, dict[str, Array]]:
    """The numbers of a run's `history.csv`.

    Args:
        path: str or path. CSV with a header; the column `step` and a column a metric. A cell may be empty.

    Returns:
        (steps, metrics): float [rows]; {name: float [rows]}, NaN where a cell is empty.

    Raises:
        InputError: if the file is missing, has no column `step` or no row, a line has more or fewer cells than the
            header, or a cell is no number (names the line).
    """
    try:
        text = read_text(path)
    except InputError as error:
        raise InputError(f"{error}; a training run writes it") from None
    columns: dict[str, list[float]] = {}
    reader = csv.reader(io.StringIO(text), strict=True)
    with parsing(path, "a run's history.csv", place=lambda: f"line {reader.line_num}"):
        for cells in reader:
            if not columns:
                columns = {name: [] for name in cells}
                names = cells
                if len(columns) < len(names):
                    raise InputError(f"{path}: line {reader.line_num}: names a column twice; repair the header")
            elif cells:
                if len(cells) != len(names):
                    raise InputError(
                        f"{path}: line {reader.line_num}: has {len(cells)} cells, the header {len(names)}; repair or "
                        "remove the line"
                    )
                for name, cell in zip(names, cells, strict=True):
                    columns[name].append(_number(cell, name, f"{path}: line {reader.line_num}"))
    if not columns.get("step"):
        raise InputError(f"{path}: has no column `step`, or no row below its header; is it a run's history.csv?")
    metrics = {name: np.array(values) for name, values in columns.items()}
    return metrics.pop("step"), metrics


@styled
def training_curves(steps: Array, metrics: dict[str, Array]) -> "Figure":
    """Two panels: the loss of each task, and its lower bound of mutual information, I >= log N - loss.

    Args:
        steps: float [rows].
        metrics: {name: float [rows]}; those named `<task>_loss` and `<task>_mi_lower_bound` are drawn, NaN left out,
            and `val_<task>_...`, on held-out records, as dots on a dashed line.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        InputError: if there is nothing to draw.
    """
    panels = [(_series(steps, metrics, suffix), title, label) for suffix, title, label in PANELS]
    panels = [panel for panel in panels if panel[0]]
    if not panels:
        raise InputError(f"metrics {sorted(metrics)}: none is named <task>_loss or <task>_mi_lower_bound")
    tasks = list(dict.fromkeys(task for series, _, _ in panels for task in series))
    colors = {task: COLORS[number % len(COLORS)] for number, task in enumerate(tasks)}
    figure = new_figure(4.4 * len(panels), 3.4)
    for axes, (series, title, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for task, (x, y) in series.items():
            _draw_line(axes, x, y, colors[task], task)
        suffix = next(suffix for suffix, known, _ in PANELS if known == title)
        validation = _series(steps, metrics, suffix, VALIDATION)
        for task, (x, y) in validation.items():
            style = {"linestyle": "--", "marker": "o", "markersize": 3, "linewidth": 1}
            axes.plot(x, y, color=colors.get(task, QUIET_COLOR), label=f"{VALIDATION}{task}", **style)
        if validation:
            axes.plot([], [], "--o", color=QUIET_COLOR, markersize=3, linewidth=1, label="_")
            axes.legend(axes.lines[-1:], ["on held-out records"], fontsize=8)
        axes.set(title=title, xlabel="optimizer steps", ylabel=label)
        axes.grid(axis="y", color=QUIET_COLOR, alpha=0.2, linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.margins(x=0.01)
        bottom, top = axes.get_ylim()
        axes.set_ylim(min(bottom, 0.0), top)
        _label_lines(axes, series, colors)
    return figure


def smooth(values: Array, width: int) -> Array:
    """Centred running mean over `width` values, and over fewer at the ends."""
    kernel = np.ones(width)
    return np.convolve(values, kernel, mode="same") / np.convolve(np.ones(len(values)), kernel, mode="same")


def _draw_line(axes, x, y, color, task):
    if len(y) > SMOOTHED_ABOVE:
        axes.plot(x, y, color=color, alpha=0.25, linewidth=0.7, label="_raw")
        y = smooth(y, max(3, len(y) // 50))
    axes.plot(x, y, color=color, label=task, marker="o" if len(x) == 1 else None)


def _label(task):
    """The label of the task of a column's name; of one that is not installed here the name in capitals."""
    from infoxlm_keras.tasks.registry import task_classes

    known = task_classes()
    return known[task].label if task in known else task.upper()


def _label_lines(axes, series, colors):
    """The task's name at the right end of its line, outside the axes, without overlaps."""
    bottom, top = axes.get_ylim()
    ends = {task: (y[-1] - bottom) / (top - bottom) for task, (_, y) in series.items()}
    positions = spread(list(ends.values()), gap=0.075)
    for task, end, position in zip(ends, ends.values(), positions, strict=True):
        axes.annotate(
            _label(task),
            xy=(1.0, end),
            xytext=(1.03, position),
            xycoords="axes fraction",
            color=colors[task],
            fontweight="bold",
            va="center",
            annotation_clip=False,
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """`values` moved as little as needed to lie at least `gap` apart, in their order; list of float."""
    order = sorted(range(len(values)), key=values.__getitem__)
    groups = []  # (sum of wanted positions of the first member, members): each group is laid out `gap` by `gap`
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _start(groups[-2], values, gap) + gap * len(groups[-2]) > _start(
            groups[-1], values, gap
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    positions = [0.0] * len(values)
    for group in groups:
        for number, index in enumerate(group):
            positions[index] = _start(group, values, gap) + gap * number
    return positions


def _start(group, values, gap):
    return sum(values[index] - gap * number for number, index in enumerate(group)) / len(group)


def _series(steps, metrics, suffix, prefix=""):
    """{task: (steps, values)} of the metrics named prefix, task, suffix, where they are numbers."""
    series = {}
    for name, values in metrics.items():
        present = np.isfinite(values)
        task = name.removeprefix(prefix).removesuffix(suffix)
        is_validation = name.startswith(VALIDATION)
        if name == prefix + task + suffix and is_validation == bool(prefix) and present.any():
            series[task] = (np.asarray(steps)[present], np.asarray(values)[present])
    return series


def _number(cell, name, place):
    if cell is None or not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{place}: column {name!r:.40} holds {cell!r:.40}, which is no number") from None
