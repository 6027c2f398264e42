"""Overview of a training run: a small panel for each number that shows problems early."""

from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.reports.plots.style import COLORS, QUIET_COLOR, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# title, {column of history.csv: its name in the legend}; the panels of tasks and evaluations come before these
PANELS = (
    ("Gradient norm", {"gradient_norm": "before clipping"}),
    ("Learning rate", {"learning_rate": "learning rate"}),
    ("Tokens a second", {"tokens_per_second": "tokens"}),
    ("Model TFLOP a second", {"tflop_per_second": "TFLOP"}),
    ("Share of the peak (MFU)", {"mfu": "MFU"}),
    ("Padding, share of positions", {"padding_share": "padding"}),
    ("Skipped steps so far", {"skipped_steps": "skipped"}),
)
COLUMNS = 3


@styled
def run_overview(steps: Array, metrics: dict[str, Array]) -> "Figure":
    """A panel for each group of numbers that the run wrote.

    Args:
        steps: float [rows].
        metrics: {name: float [rows]}, see `read_history`; NaN (a step without this number) is left out.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        InputError: if there is none of the numbers.
    """
    steps = np.asarray(steps)
    panels = []
    for title, columns in [*_task_panels(), *_evaluation_panels(), *PANELS]:
        lines = {name: np.asarray(metrics[column]) for column, name in columns.items() if column in metrics}
        lines = {name: values for name, values in lines.items() if np.isfinite(values).any()}
        if lines:
            panels.append((title, lines))
    if not panels:
        raise InputError(f"metrics {sorted(metrics)}: the overview of a run shows none of them")
    rows = -(-len(panels) // COLUMNS)
    figure = new_figure(3.6 * min(COLUMNS, len(panels)), 2.5 * rows)
    grid = figure.subplots(rows, min(COLUMNS, len(panels)), squeeze=False).flat
    for axes, (title, lines) in zip(grid, panels, strict=False):
        for (name, values), color in zip(lines.items(), COLORS, strict=False):
            present = np.isfinite(values)
            marker = "o" if present.sum() <= 12 else None
            axes.plot(steps[present], values[present], color=color, label=name, marker=marker, markersize=3)
        if len(lines) > 1:
            axes.legend(fontsize=8)
        axes.set_title(title)
        axes.grid(axis="y", color=QUIET_COLOR, alpha=0.2, linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    for axes in figure.axes[-min(COLUMNS, len(panels)) :]:
        axes.set_xlabel("optimizer steps")
    return figure


def _task_panels():
    """List of (title, {column: legend}): the accuracy of all tasks, then the panels of each task."""
    from infoxlm_keras.tasks.registry import task_classes

    tasks = task_classes()
    panels = [("Accuracy of the tasks", {f"{name}_accuracy": task.label for name, task in tasks.items()})]
    for name, task in tasks.items():
        for title, columns in task.panels.items():
            panels.append((title, {f"{name}_{column}": legend for column, legend in columns.items()}))
    return panels


def _evaluation_panels():
    """List of (title, {column: legend}): the panels of each evaluation."""
    from infoxlm_keras.evaluation.registry import evaluation_classes

    return [panel for evaluation in evaluation_classes().values() for panel in evaluation.panels.items()]
