"""A bar chart of a task's accuracy in each language."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from infoxlm_keras.reports.plots.style import COLORS, QUIET_COLOR, name_options, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def accuracy_by_language(
    accuracies: Mapping[str, float],
    training_languages: Collection[str] = (),
    chance: float | None = None,
    score: str = "accuracy",
) -> "Figure":
    """A bar for each language, best first; the languages of training in another colour.

    Args:
        accuracies: {language: float in 0..1}, not empty.
        training_languages: collection of str.
        chance: optional float in 0..1, the accuracy of guessing, drawn as a line.
        score: str, what the numbers are.

    Returns:
        matplotlib.figure.Figure.
    """
    names = sorted(accuracies, key=lambda name: (-accuracies[name], name))
    figure = new_figure(max(4.0, 0.42 * len(names) + 1.6), 3.0)
    axes = figure.add_subplot()
    colors = [COLORS[1] if name in training_languages else COLORS[0] for name in names]
    bars = axes.bar(range(len(names)), [100 * accuracies[name] for name in names], color=colors)
    axes.set_xticks(range(len(names)), names, **name_options(names))
    axes.bar_label(bars, fmt="%.1f", fontsize=8)
    if chance is not None:
        axes.axhline(100 * chance, color=QUIET_COLOR, linestyle="--", linewidth=1, label="guessing")
        axes.legend(fontsize=8)
    axes.set(title=f"{score[0].upper()}{score[1:]} by language", ylabel=f"{score} in %", ylim=(0, 105))
    if any(name in training_languages for name in names):
        axes.set_xlabel("orange: languages of training", fontsize=8)
    return figure
