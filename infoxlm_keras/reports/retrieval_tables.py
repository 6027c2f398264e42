"""Tables of retrieval results, and the demo's comparison of an untrained encoder with the trained one."""

import numbers
from typing import Any

import rich.box
import rich.table

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import is_english
from infoxlm_keras.evaluation.retrieval import DIRECTIONS, accuracy_at, both_ways
from infoxlm_keras.files import read_json

MODELS = ("untrained", "trained")


def language_table(result: dict[str, Any], layer: int) -> rich.table.Table:
    """Accuracy per language, both ways, at one hidden state.

    Args:
        result: dict of `evaluate_retrieval`.
        layer: int, one of `result["layers"]`.

    Returns:
        rich.table.Table, with the mean in the last row.
    """
    table = _table(f"Accuracy in %, hidden state {layer}", ("language", "candidates", *_headings(result)))
    names = list(result["languages"])
    for name in names:
        candidates = f"{result['languages'][name]['candidates']:,}"
        table.add_row(name, candidates, *_percents(accuracy_at(result, layer, name)), end_section=name == names[-1])
    table.add_row("mean", "", *_percents(accuracy_at(result, layer)))
    return table


def layer_table(result: dict[str, Any], universal_layer: int | None = None) -> rich.table.Table:
    """Mean accuracy over languages of every hidden state measured, with the best marked.

    Args:
        result: dict of `evaluate_retrieval`.
        universal_layer: int or None, the hidden state that XLCO contrasted; marked too.
    """
    table = _table(
        "Mean over languages in %",
        ("layer", *_headings(result), "both", ""),
    )
    for layer, average in zip(result["layers"], both_ways(result["mean"]), strict=True):
        marks = ["best on these pairs"] * (layer == result["best_layer"]) + ["universal layer"] * (
            layer == universal_layer
        )
        table.add_row(str(layer), *_percents(accuracy_at(result, layer)), f"{100 * average:.1f}", ", ".join(marks))
    return table


def retrieval_report(result: dict[str, Any], info: Any = None) -> list[rich.table.Table | str]:
    """What `infoxlm evaluate-retrieval` prints: a table of the languages, one of the layers, and what a layer is.

    Args:
        result: dict of `evaluate_retrieval`.
        info: `infoxlm_keras.pretrained.PretrainingInfo` of the model, or None.
    """
    printed: list[rich.table.Table | str] = [language_table(result, result["best_layer"])]
    if len(result["layers"]) > 1:
        printed.append(layer_table(result, info.universal_layer if info else None))
    return [*printed, f"layer: {result['layer_definition']}"]


def read_retrieval(path: PathLike) -> dict[str, Any]:
    """The result of `evaluate_retrieval` in a JSON file that `infoxlm evaluate-retrieval --output` wrote.

    Args:
        path: str or path.

    Returns:
        dict, as `evaluate_retrieval` gives it; further content of the file is kept.

    Raises:
        InputError: if the file is missing or no JSON, lacks a part, or holds a part of another kind or length.
    """
    result = read_json(path)
    try:
        problem = _problem(result)
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else "it has another form"
    if problem:
        raise InputError(
            f"{path}: holds no results of infoxlm evaluate-retrieval --output ({problem}); write it again"
        )
    return result


def _problem(result):
    """The first fault of a result, str; empty if there is none."""
    layers, languages = result["layers"], result["languages"]
    if not layers or result["best_layer"] not in layers or not all(type(layer) is int for layer in layers):
        return "best_layer is not one of its layers"
    if not languages:
        return "it has no language"
    for key in ("layer_definition", "pooling", "similarity"):
        if not isinstance(result[key], str):
            return f"{key} is no text"
    for name, row in {**languages, "mean": result["mean"]}.items():
        for direction in DIRECTIONS:
            values = row[direction]
            known = isinstance(values, list) and all(isinstance(value, numbers.Real) for value in values)
            if not known or len(values) != len(layers) or not all(0 <= value <= 1 for value in values):
                return f"{name}: {direction} needs an accuracy in 0..1 for each of {len(layers)} layers"
    for name, row in languages.items():
        if type(row["candidates"]) is not int or not isinstance(row["source"], str):
            return f"{name}: candidates or source is of another kind"
    return ""


def build_results(
    untrained: dict[str, Any],
    trained: dict[str, Any],
    training: dict[str, Any] | None = None,
    timing: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of the demo's `results.json`.

    Args:
        untrained, trained: dicts of `evaluate_retrieval` on the same pairs.
        training: optional dict of numbers that depend on seed and data only (steps, last losses and bounds).
        timing: optional dict of seconds and rates, the only part that differs between two equal runs.

    Returns:
        dict:

            {"retrieval": {"layer_definition", "pooling", "similarity",
                           "layer": {"untrained": int, "trained": int},     each model's own best
                           "languages": {"de": {"candidates": N,
                                                "untrained": {"source_to_target", "target_to_source", "average"},
                                                "trained": {...}}, ...},
                           "mean": {"untrained": {...}, "trained": {...}}},
             "training": {...}, "timing": {...}}

    Raises:
        InputError: if the two were not measured on the same pairs, or not in the same way.
    """
    results = {"untrained": untrained, "trained": trained}
    for key in ("pooling", "similarity", "layer_definition"):
        if untrained[key] != trained[key]:
            raise InputError(
                f"{key}: {untrained[key]!r} untrained but {trained[key]!r} trained; measure both in the same way"
            )
    candidates = {name: _candidates(result) for name, result in results.items()}
    if candidates["untrained"] != candidates["trained"]:
        raise InputError(f"pairs by language: {candidates}; measure both models on the same pairs")
    layers = {name: result["best_layer"] for name, result in results.items()}
    return {
        "retrieval": {
            **{key: trained[key] for key in ("layer_definition", "pooling", "similarity")},
            "layer": layers,
            "languages": {
                language: {
                    "candidates": number,
                    **{name: accuracy_at(result, layers[name], language) for name, result in results.items()},
                }
                for language, number in candidates["trained"].items()
            },
            "mean": {name: accuracy_at(result, layers[name]) for name, result in results.items()},
        },
        "training": training or {},
        "timing": timing or {},
    }


def results_table(results: dict[str, Any]) -> rich.table.Table:
    """The demo's table: a row a language, untrained and trained side by side, the mean last.

    Args:
        results: dict of `build_results`.

    Returns:
        rich.table.Table.
    """
    retrieval = results["retrieval"]
    table = _table("Held-out retrieval accuracy in %", ("language", "candidates"))
    for name in MODELS:
        for arrow in ("en→xx", "xx→en"):
            table.add_column(f"{name}\n{arrow}", justify="right", no_wrap=True)
    names = list(retrieval["languages"])
    for name in names:
        row = retrieval["languages"][name]
        cells = [cell for model in MODELS for cell in _percents(row[model])]
        table.add_row(name, f"{row['candidates']:,}", *cells, end_section=name == names[-1])
    table.add_row("mean", "", *[cell for model in MODELS for cell in _percents(retrieval["mean"][model])])
    best = " and ".join(f"{layer} ({name})" for name, layer in retrieval["layer"].items())
    table.caption = f"each model at its best hidden state: {best}; 0 = embeddings"
    return table


def _headings(result):
    """`en→xx` and `xx→en` if English is the source of every pair set."""
    if all(is_english(row["source"]) for row in result["languages"].values()):
        return "en→xx", "xx→en"
    return "source→target", "target→source"


def _table(title, headings):
    table = rich.table.Table(title=title, box=rich.box.SIMPLE, title_justify="left", caption_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number and heading else "left", no_wrap=True)
    return table


def _percents(accuracy):
    return [f"{100 * accuracy[direction]:.1f}" for direction in DIRECTIONS]


def _candidates(result):
    return {language: row["candidates"] for language, row in result["languages"].items()}
