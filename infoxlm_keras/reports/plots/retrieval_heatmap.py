"""Retrieval accuracy by layer and language."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Rectangle

from infoxlm_keras.evaluation.retrieval import both_ways
from infoxlm_keras.reports.plots.style import COLORS, TEXT_COLOR, name_options, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOR_MAP = "Blues"  # one hue from light to dark, readable for colour-blind people and in grey print


# More languages stand below each other, on a page that is read downwards, instead of side by side.
MOST_SIDE_BY_SIDE = 40


# Letters of a title in an inch; inches at the left and right of a heat map that its title does not have.
TITLE_LETTERS_AN_INCH, MARGIN = 11, 1.0


@styled
def retrieval_heatmap(
    result: Mapping[str, Any], title: str = "Retrieval accuracy in %, mean of both directions"
) -> "Figure":
    """A cell for each hidden state and language, its number inside, the best hidden state framed.

    Args:
        result: dict of `evaluate_retrieval`.
        title: str.

    Returns:
        matplotlib.figure.Figure. Up to `MOST_SIDE_BY_SIDE` languages are columns: the mean over languages is a
        separate column on the right, and higher layers are further up. More languages are rows: the mean is a
        separate row on top, and higher layers are further right.
    """
    layers, names = result["layers"], list(result["languages"])
    values = [both_ways(result["languages"][name]) for name in names] + [both_ways(result["mean"])]
    percents = 100 * np.array(values)  # [languages + 1, layers]
    tall = len(names) > MOST_SIDE_BY_SIDE
    long, short = (0.23, 0.46) if tall else (0.46, 0.36)  # inches a language, a layer
    sizes = max(2.2 if tall else 5.2, 1.8 + long * len(percents)), max(4.6 if tall else 2.2, 1.1 + short * len(layers))
    width, height = sizes[::-1] if tall else sizes
    figure = new_figure(width, height)
    axes = figure.subplots()
    options: dict[str, Any] = {"cmap": COLOR_MAP, "vmin": 0, "vmax": 100, "aspect": "auto", "origin": "lower"}
    mean_at = len(names) + 0.25  # a gap separates the mean

    def oriented(language, layer):
        """(x, y) of a place given by its language and its layer."""
        return (layer, language) if tall else (language, layer)

    # The languages in the order of reading: from the top in rows.
    places = [*(range(len(names) - 1, -1, -1) if tall else range(len(names))), mean_at]
    of_languages = percents[:-1][::-1] if tall else percents[:-1]
    for block, start, stop in ((of_languages, -0.5, len(names) - 0.5), (percents[-1:], mean_at - 0.5, mean_at + 0.5)):
        across = (start, stop), (-0.5, len(layers) - 0.5)
        (left, right), (bottom, top) = across[::-1] if tall else across
        axes.imshow(block if tall else block.T, extent=(left, right, bottom, top), **options)
    by_language, by_layer = (axes.axhline, axes.axvline) if tall else (axes.axvline, axes.axhline)
    for boundary in np.arange(0.5, len(names) - 1):
        by_language(boundary, color="white", linewidth=1)
    for boundary in np.arange(0.5, len(layers) - 1):
        by_layer(boundary, color="white", linewidth=1)
    for place, row in zip(places, percents, strict=True):
        for layer, value in enumerate(row):
            color = "white" if value > 55 else TEXT_COLOR
            x, y = oriented(place, layer)
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", color=color)
    if len(layers) > 1:
        _mark_best(axes, layers.index(result["best_layer"]), len(names), mean_at, oriented)
    (low, high), (left, right) = (-0.5, mean_at + 0.5), (-0.5, len(layers) - 0.5)
    axis = "layer (0 = embeddings)"
    if tall:
        axes.set(ylim=(low, high), xlim=(left, right), xlabel=axis)
        axes.set_yticks(places, [*names, "mean"])
        axes.set_xticks(range(len(layers)), layers)
        # The layers stand at the top too, where the reader begins.
        axes.tick_params(labeltop=True)
    else:
        axes.set(xlim=(low, high), ylim=(left, right), ylabel=axis)
        axes.set_xticks(places, [*names, "mean"], **name_options(names))
        axes.set_yticks(range(len(layers)), layers)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # A title is not taken into account where the axes are laid out: a longer one would be cropped.
    lines = textwrap.fill(title, max(10, int((width - MARGIN) * TITLE_LETTERS_AN_INCH)))
    axes.set_title(lines, pad=10)
    return figure


def _mark_best(axes, layer, languages, mean_at, oriented):
    for start, size in ((-0.5, languages), (mean_at - 0.5, 1)):
        axes.add_patch(
            Rectangle(
                oriented(start, layer - 0.5),
                *oriented(size, 1),
                fill=False,
                edgecolor=COLORS[1],
                linewidth=2.5,
                zorder=3,
                clip_on=False,
            )
        )
    x, y = oriented(mean_at + 0.62, layer)
    side_by_side = oriented(0, 1) == (0, 1)
    place = {"va": "center"} if side_by_side else {"ha": "center", "va": "bottom"}
    # Rows have the numbers of the layers above them: the word stands higher.
    shift = (0, 0) if side_by_side else (0, 16)
    axes.annotate(
        "best",
        (x, y),
        xytext=shift,
        textcoords="offset points",
        color=COLORS[1],
        fontweight="bold",
        annotation_clip=False,
        **place,
    )
