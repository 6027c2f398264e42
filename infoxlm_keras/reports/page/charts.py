"""Interactive charts of a report: Vega-Lite specifications, made and checked by Altair.

Colours are left to the page, which knows whether it is shown light or dark.
"""

import types
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.optional_library import import_library

PURPOSE = "a report as a page (--output FILE.md writes Markdown only)"
# A line has at most so many points; more would only make the page larger.
MOST_POINTS = 800
HEIGHT = 220
# Up to this number of places on an axis, each has its own label.
MOST_TICKS = 16
ROW_HEIGHT = 19
# Up to this number of layers a cell of the heat map has its number inside.
MOST_NUMBERED_LAYERS = 13
FRAME = "#E4572E"
Rows = Sequence[dict[str, Any]]


def altair() -> types.ModuleType:
    """The module `altair`.

    Raises:
        InputError: if it is not installed; names the extra.
    """
    return import_library("altair", PURPOSE, extra="report")


def thinned(values: Sequence[Any], most: int = MOST_POINTS) -> list[Any]:
    """Every k-th of `values`, and the last: at most `most` + 1, in their order."""
    step = -(-len(values) // most) or 1
    kept = list(values[::step])
    return kept if not values or (len(values) - 1) % step == 0 else [*kept, values[-1]]


def line_chart(rows: Rows, names: Sequence[str], x_title: str, y_title: str) -> dict[str, Any]:
    """A line for each name over the steps, layers or epochs.

    Args:
        rows: list of {"name": str, "x": number, "y": float}, and optionally "lower" and "upper", which become a band.
        names: list of str, the lines in the order of their colours.
        x_title, y_title: str.
    """
    alt = altair()
    places = sorted({row["x"] for row in rows})
    # Layers and epochs are whole numbers, of which none is between two.
    whole = all(place == int(place) for place in places)
    ticks = {"values": places, "format": ",d"} if whole and len(places) <= MOST_TICKS else {"tickCount": 6}
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        x=alt.X("x:Q", title=x_title, axis=alt.Axis(labelSeparation=8, **ticks)),
        color=_color(alt, names, rows),
        tooltip=[
            alt.Tooltip("name:N", title="line"),
            alt.Tooltip("x:Q", title=x_title, format=","),
            alt.Tooltip("y:Q", title=y_title, format=",.4~f"),
        ],
    )
    y = alt.Y("y:Q", title=y_title, scale=alt.Scale(zero=False))
    layers = [
        base.mark_line(strokeWidth=1.8).encode(y=y),
        base.mark_point(filled=True, size=22, opacity=0.85).encode(y=y),
    ]
    if any("lower" in row for row in rows):
        layers.insert(0, base.mark_area(opacity=0.2).encode(y=alt.Y("lower:Q", title=y_title), y2="upper:Q"))
    # With the shift key, so that a finger or wheel on the chart scrolls the page.
    zoom = alt.selection_interval(
        bind="scales",
        zoom="wheel![event.shiftKey]",
        translate="[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!",
    )
    return _finished(alt.layer(*layers[:-1], layers[-1].add_params(zoom)).properties(height=HEIGHT), names)


def dot_chart(rows: Rows, names: Sequence[str], x_title: str) -> dict[str, Any]:
    """A dot for each language and name, with its interval as a line where it has one.

    Args:
        rows: list of {"name": str, "language": str, "x": float}, and optionally "lower" and "upper".
        names: list of str, in the order of their colours.
        x_title: str.
    """
    alt = altair()
    languages = list(dict.fromkeys(row["language"] for row in rows))
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        y=alt.Y("language:N", sort=languages, title=None, axis=alt.Axis(grid=True)),
        yOffset=alt.YOffset("name:N", sort=list(names)),
        color=_color(alt, names, rows),
        tooltip=[
            alt.Tooltip("language:N"),
            alt.Tooltip("name:N", title="of"),
            *(
                alt.Tooltip(f"{key}:Q", title=title, format=".1f")
                for key, title in (("x", x_title), ("lower", "lower end (95%)"), ("upper", "upper end (95%)"))
                if any(key in row for row in rows)
            ),
        ],
    )
    layers = [base.mark_point(filled=True, size=48, opacity=1).encode(x=alt.X("x:Q", title=x_title))]
    if any("lower" in row for row in rows):
        layers.insert(0, base.mark_rule(strokeWidth=2).encode(x=alt.X("lower:Q", title=x_title), x2="upper:Q"))
    step = ROW_HEIGHT if len(names) < 3 else 8 * len(names)
    return _finished(alt.layer(*layers).properties(height=step * len(languages)), names)


def heat_map(rows: Rows, layers: Sequence[int], best_layer: int) -> dict[str, Any]:
    """A cell for each language and layer; languages are rows, so that a narrow page holds any number of them.

    Args:
        rows: list of {"language": str, "layer": int, "value": float in 0..100}.
        layers: list of int.
        best_layer: int, framed.
    """
    alt = altair()
    languages = list(dict.fromkeys(row["language"] for row in rows))
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        x=alt.X("layer:O", title="hidden state (0 = embeddings)", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        y=alt.Y("language:N", sort=languages, title=None),
    )
    cells = base.mark_rect().encode(
        color=alt.Color("value:Q", title="%", scale=alt.Scale(domain=[0, 100], scheme="viridis")),
        tooltip=[
            alt.Tooltip("language:N"),
            alt.Tooltip("layer:O", title="hidden state"),
            alt.Tooltip("value:Q", title="accuracy in %", format=".1f"),
        ],
    )
    drawn = [cells]
    if len(layers) > 1:
        best = base.transform_filter(alt.datum.layer == best_layer)
        drawn.append(best.mark_rect(fill=None, stroke=FRAME, strokeWidth=2))
    if len(layers) <= MOST_NUMBERED_LAYERS:
        dark = alt.datum.value > 60
        number = base.mark_text(fontSize=10).encode(
            text=alt.Text("value:Q", format=".0f"), color=alt.condition(dark, alt.value("#111"), alt.value("#fff"))
        )
        drawn.append(number)
    return _finished(alt.layer(*drawn).properties(height=ROW_HEIGHT * len(languages)), ())


def _color(alt, names, rows):
    """Colours of `names`, of which only those with a row are in the legend: a run has one colour in all charts."""
    present = {row["name"] for row in rows}
    shown = [name for name in names if name in present]
    legend = None
    if len(names) > 1:
        legend = alt.Legend(title=None, orient="top", columns=1, labelLimit=0, values=shown)
    return alt.Color("name:N", sort=list(names), scale=alt.Scale(domain=list(names)), legend=legend)


def _finished(chart, names):
    """The specification, as wide as its place; a click in the legend brings one of `names` forward."""
    alt = altair()
    if len(names) > 1:
        chosen = alt.selection_point(fields=["name"], bind="legend")
        chart.layer[0] = chart.layer[0].add_params(chosen)
        for layer in chart.layer:
            layer.encoding.opacity = alt.condition(chosen, alt.value(_opacity(layer)), alt.value(0.08))
    chart = chart.properties(width="container", autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    spec = chart.to_dict()
    # The page has one look for all charts.
    spec.pop("config", None)
    return spec


def _opacity(layer):
    return {"area": 0.2, "point": 0.85}.get(layer.mark.type, 1.0)
