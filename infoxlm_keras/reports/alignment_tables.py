"""Tables of word alignment results, for people and as rows of a CSV file."""

from typing import Any

import rich.box
import rich.table

SCORES = {"aer": "AER", "precision": "precision", "recall": "recall"}


def alignment_report(result: dict[str, Any], info: Any = None) -> list[rich.table.Table | str]:
    """What `infoxlm evaluate-alignment` prints: two tables for each test set, and what was cut.

    Args:
        result: dict of `evaluate_alignment`.
        info: `infoxlm_keras.pretrained.PretrainingInfo` of the model, or None.
    """
    layers, universal_layer = result["layers"], info.universal_layer if info else None
    shown = {
        f"{name}: {row['sentences']:,} sentence pairs, {row['sure']:,} sure links": row["methods"]
        for name, row in result["languages"].items()
    }
    if len(shown) > 1:
        shown["mean over languages"] = result["mean"]
    printed: list[rich.table.Table | str] = []
    for title, methods in shown.items():
        if len(layers) > 1:
            printed.append(layer_table(layers, methods, f"{title}, AER in %", universal_layer))
        printed.append(method_table(layers, methods, f"{title}, in %"))
    for name, row in result["languages"].items():
        if row["cut"]:
            printed.append(f"{name}: sentence pairs that were too long, and cut: {row['cut']:,}")
        if row["words_without_pieces"]:
            printed.append(f"{name}: words of which the tokenizer makes nothing: {row['words_without_pieces']:,}")
    return [*printed, f"layer: {result['layer_definition']}"]


def layer_table(
    layers: list[int], methods: dict[str, Any], title: str, universal_layer: int | None = None
) -> rich.table.Table:
    """The alignment error rate of each hidden state and method.

    Args:
        layers: list of int.
        methods: dict of method to its scores, as in the result of `evaluate_alignment`.
        title: str.
        universal_layer: int or None, the hidden state that XLCO contrasted, which is marked.

    Returns:
        rich.table.Table; the lowest error rate of each method is marked with `*`.
    """
    table = rich.table.Table(title=title, box=rich.box.SIMPLE, title_justify="left")
    table.add_column("layer", no_wrap=True)
    for method in methods:
        table.add_column(method.replace("_", "\n"), justify="right", no_wrap=True)
    table.add_column("")
    for index, layer in enumerate(layers):
        cells = [
            f"{'*' if layer == scores['best_layer'] else ''}{100 * scores['aer'][index]:.2f}"
            for scores in methods.values()
        ]
        table.add_row(str(layer), *cells, "universal layer" if layer == universal_layer else "")
    return table


def method_table(layers: list[int], methods: dict[str, Any], title: str) -> rich.table.Table:
    """AER, precision and recall of each method at its best hidden state; arguments as `layer_table`."""
    table = rich.table.Table(title=title, box=rich.box.SIMPLE, title_justify="left")
    table.add_column("method", no_wrap=True)
    for heading in ("best layer" if len(layers) > 1 else "layer", *SCORES.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for method, scores in methods.items():
        index = layers.index(scores["best_layer"])
        values = [f"{100 * scores[score][index]:.2f}" for score in SCORES]
        table.add_row(method, str(scores["best_layer"]), *values)
    return table


def alignment_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores as rows of a CSV file: one for each test set, method and layer.

    Args:
        result: dict of `evaluate_alignment`.

    Returns:
        list of {"languages": str, "method": str, "layer": int, "aer": float, "precision": float, "recall": float}.
    """
    return [
        {
            "languages": name,
            "method": method,
            "layer": layer,
            **{score: scores[score][index] for score in SCORES},
        }
        for name, row in result["languages"].items()
        for method, scores in row["methods"].items()
        for index, layer in enumerate(result["layers"])
    ]
