"""Alignment error rate by layer, a panel for each pair of languages."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infoxlm_keras.reports.plots.style import COLORS, MARKERS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS_A_ROW = 3


@styled
def alignment_by_layer(result: Mapping[str, Any]) -> "Figure":
    """A line for each method over the hidden states; its best one has a ring.

    Args:
        result: dict of `evaluate_alignment`.

    Returns:
        matplotlib.figure.Figure.
    """
    names, layers = list(result["languages"]), result["layers"]
    columns = min(PANELS_A_ROW, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(max(4.4, 3.2 * columns + 1), 2.8 * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes, name in zip(panels, names, strict=False):
        methods = result["languages"][name]["methods"]
        for (method, scores), color, marker in zip(methods.items(), COLORS, MARKERS, strict=False):
            percents = [100 * value for value in scores["aer"]]
            axes.plot(layers, percents, color=color, marker=marker, markersize=4, label=method.replace("_", " "))
            best = layers.index(scores["best_layer"])
            axes.plot(layers[best], percents[best], "o", mfc="none", mec=color, markersize=11, markeredgewidth=1.2)
        axes.set(title=name, xlabel="layer (0 = embeddings)")
        axes.set_xticks(layers if len(layers) <= 13 else layers[::2])
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    for axes in list(panels):
        axes.set_visible(False)
    first = figure.axes[0]
    first.set_ylabel("alignment error rate in %")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=9)
    return figure
