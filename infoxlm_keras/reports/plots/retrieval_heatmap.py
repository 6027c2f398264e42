"""Retrieval accuracy by layer and language."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Rectangle

from infoxlm_keras.evaluation.retrieval import both_ways
from infoxlm_keras.reports.plots.style import COLORS, TEXT_COLOR, name_options, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOR_MAP = "Blues"  # one hue from light to dark, readable for colour-blind people and in grey print


@styled
def retrieval_heatmap(
    result: Mapping[str, Any], title: str = "Retrieval accuracy in %, mean of both directions"
) -> "Figure":
    """A cell for each hidden state and language, its number inside, the best hidden state framed.

    Args:
        result: dict of `evaluate_retrieval`.
        title: str.

    Returns:
        matplotlib.figure.Figure. The mean over languages is a separate column on the right; higher layers are further
        up.
    """
    layers, names = result["layers"], list(result["languages"])
    columns = [both_ways(result["languages"][name]) for name in names] + [both_ways(result["mean"])]
    percents = 100 * np.array(columns).T  # [layers, languages + 1]
    figure = new_figure(max(5.2, 1.8 + 0.46 * len(columns)), max(2.2, 1.1 + 0.36 * len(layers)))
    axes = figure.subplots()
    options: dict[str, Any] = {"cmap": COLOR_MAP, "vmin": 0, "vmax": 100, "aspect": "auto", "origin": "lower"}
    mean_x = len(names) + 0.25  # a gap separates the mean
    axes.imshow(percents[:, :-1], extent=(-0.5, len(names) - 0.5, -0.5, len(layers) - 0.5), **options)
    axes.imshow(percents[:, -1:], extent=(mean_x - 0.5, mean_x + 0.5, -0.5, len(layers) - 0.5), **options)
    places = [*range(len(names)), mean_x]
    for boundary in np.arange(0.5, max(len(names), len(layers)) - 1):
        if boundary < len(layers) - 1:
            axes.axhline(boundary, color="white", linewidth=1)
        if boundary < len(names) - 1:
            axes.axvline(boundary, color="white", linewidth=1)
    for row, values in enumerate(percents):
        for place, value in zip(places, values, strict=True):
            axes.text(
                place, row, f"{value:.0f}", ha="center", va="center", color="white" if value > 55 else TEXT_COLOR
            )
    if len(layers) > 1:
        _mark_best(axes, layers.index(result["best_layer"]), len(names), mean_x)
    axes.set(xlim=(-0.5, mean_x + 0.5), ylim=(-0.5, len(layers) - 0.5), ylabel="layer (0 = embeddings)")
    axes.set_xticks(places, [*names, "mean"], **name_options(names))
    axes.set_yticks(range(len(layers)), layers)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, pad=10)
    return figure


def _mark_best(axes, row, languages, mean_x):
    for left, width in ((-0.5, languages), (mean_x - 0.5, 1)):
        axes.add_patch(
            Rectangle(
                (left, row - 0.5), width, 1, fill=False, edgecolor=COLORS[1], linewidth=2.5, zorder=3, clip_on=False
            )
        )
    axes.annotate("best", (mean_x + 0.62, row), color=COLORS[1], fontweight="bold", va="center", annotation_clip=False)
