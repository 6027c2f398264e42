"""Plots of prepared records: sampling probabilities of languages and lengths of records."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.reports.plots.style import COLORS, QUIET_COLOR, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def language_shares(languages: Mapping[str, Mapping[str, float]], exponent: float) -> "Figure":
    """Bars of each language's share of the records and its sampling probability.

    Args:
        languages: dict of language to a dict with `share` and `sampling_probability`.
        exponent: float, the language exponent, for the title.

    Returns:
        matplotlib.figure.Figure.
    """
    names = sorted(languages, key=lambda name: -languages[name]["share"])
    places = np.arange(len(names))
    figure = new_figure(max(4.0, 0.35 * len(names) + 2), 3.4)
    axes = figure.subplots()
    for offset, key, color, label in (
        (-0.2, "share", QUIET_COLOR, "share of the records"),
        (0.2, "sampling_probability", COLORS[0], "sampling probability"),
    ):
        axes.bar(places + offset, [languages[name][key] for name in names], 0.4, color=color, label=label)
    axes.set_xticks(places, names, rotation=90 if len(names) > 12 else 0)
    axes.set(title=f"Languages, exponent {exponent:g}", ylabel="share")
    axes.legend()
    return figure


@styled
def length_histogram(lengths: Mapping[int, Array]) -> "Figure":
    """Histogram of record lengths.

    Args:
        lengths: dict of bucket (int, most tokens a record or side) to int array of tokens a record.

    Returns:
        matplotlib.figure.Figure.
    """
    figure = new_figure(5.0, 3.4)
    axes = figure.subplots()
    longest = max((int(values.max()) for values in lengths.values() if len(values)), default=0)
    edges = np.linspace(0, longest + 1, min(60, longest + 2)).tolist()
    for number, (bucket, values) in enumerate(sorted(lengths.items())):
        axes.hist(values, edges, color=COLORS[number % len(COLORS)], alpha=0.7, label=f"up to {bucket}")
    axes.set(title="Lengths", xlabel="tokens a record", ylabel="records read")
    axes.legend()
    return figure
