"""Sentence vectors of several languages in two dimensions: separated by language before training, mixed after it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.lines
import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import unit_rows
from infoxlm_keras.reports.plots.style import COLORS, MARKERS, QUIET_COLOR, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND_ROWS = 18


def principal_components(vectors: Array, count: int = 2) -> tuple[Array, Array]:
    """Coordinates along the directions of the largest variance.

    Args:
        vectors: float [N, dim], N >= 2.
        count: int, at most min(N, dim).

    Returns:
        (coordinates, shares): float64 [N, count]; float64 [count], each component's share of the variance in 0..1.
        A component's largest loading is positive, so the orientation of the plot is defined.
    """
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    largest = np.argmax(np.abs(directions[:count]), axis=1)
    signs = np.sign(directions[np.arange(count), largest])
    variances = scales**2
    return centred @ (directions[:count] * signs[:, None]).T, variances[:count] / max(
        variances.sum(), np.finfo(float).tiny
    )


@styled
def language_projection(panels: Mapping[str, Mapping[str, Array]], joined: int = 3) -> "Figure":
    """One panel for each encoder: the first two principal components of its vectors, scaled to unit length.

    Args:
        panels: {title: {language: float [N, dim]}}; row n has the same meaning in every language of a panel, and all
            panels have the same languages.
        joined: int, sentences whose translations are joined by thin lines.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        InputError: if the panels' languages or numbers of sentences differ, or there are fewer than two sentences.
    """
    languages = _check(panels)
    figure = new_figure(4.1 * len(panels) + 0.9, 4.1)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, vectors) in zip(grid, panels.items(), strict=True):
        stacked = unit_rows(np.concatenate([vectors[language] for language in languages]))
        coordinates, shares = principal_components(stacked)
        points = coordinates.reshape(len(languages), -1, 2)  # [languages, sentences, 2]
        _draw_panel(axes, points, joined)
        axes.set_title(title)
        axes.set_xlabel(f"first component ({100 * shares[0]:.0f}% of variance)")
        axes.set_ylabel(f"second component ({100 * shares[1]:.0f}%)")
    handles = [
        matplotlib.lines.Line2D([], [], linestyle="", markersize=6, label=language, **_mark(number))
        for number, language in enumerate(languages)
    ]
    if joined:
        line: dict[str, Any] = {
            "color": QUIET_COLOR,
            "linewidth": 0.8,
            "marker": "o",
            "markersize": 4,
            "markerfacecolor": "white",
        }
        handles.append(matplotlib.lines.Line2D([], [], label="one\nsentence", **line))
    columns = -(-len(handles) // LEGEND_ROWS)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + (columns - 1) * (0.6 + 0.08 * max(map(len, languages))), height)
    figure.legend(
        handles=handles,
        loc="outside right center",
        handletextpad=0.3,
        handlelength=1.4,
        ncols=columns,
        columnspacing=1,
    )
    return figure


def _draw_panel(axes, points, joined):
    number_of_sentences = points.shape[1]
    for number, language_points in enumerate(points):
        axes.plot(
            *language_points.T,
            linestyle="",
            markersize=3.6,
            alpha=0.6,
            markeredgewidth=0,
            zorder=2,
            **_mark(number),
        )
    # Sentences evenly spread over the test set; lines lead from the mean of a sentence's points to each of them.
    for sentence in np.linspace(0, number_of_sentences - 1, min(joined, number_of_sentences)).astype(int):
        centre = points[:, sentence].mean(axis=0)
        for number, point in enumerate(points[:, sentence]):
            axes.plot(*np.stack([centre, point], axis=1), color=QUIET_COLOR, linewidth=0.6, alpha=0.7, zorder=3)
            axes.plot(
                *point,
                linestyle="",
                markersize=6,
                markeredgecolor="white",
                markeredgewidth=0.6,
                zorder=4,
                **_mark(number),
            )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")


def _mark(number: int) -> dict[str, Any]:
    """Colour and marker of language `number`: seven colours, repeated with the next marker."""
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number // len(COLORS) % len(MARKERS)]}


def _check(panels):
    """The languages, after checking that all panels have the same ones and as many sentences."""
    languages = list(next(iter(panels.values()), ()))
    for title, vectors in panels.items():
        counts = {language: len(vectors[language]) for language in vectors}
        if list(vectors) != languages or len(set(counts.values())) != 1 or min(counts.values()) < 2:
            raise InputError(
                f"{title}: sentences by language {counts}: needs the same ones in {languages}, at least two"
            )
    if not languages:
        raise InputError("nothing to project: give at least one panel with one language")
    return languages
