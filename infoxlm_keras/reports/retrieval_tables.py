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


# Above this share of unknown tokens a language's figures say more about the vocabulary than about the encoder.
MOST_UNKNOWN = 0.05


def language_table(result: dict[str, Any], layer: int) -> rich.table.Table:
    """Accuracy per language, both ways, at one hidden state, with its interval where there is one.

    Args:
        result: dict of `evaluate_retrieval`.
        layer: int, one of `result["layers"]`.

    Returns:
        rich.table.Table, with the means in the last rows.
    """
    intervals = "intervals" in result["mean"]
    headings = list(_headings(result))
    if intervals:
        # Headings on two lines, so that a narrow screen has room for the intervals.
        headings = [part for heading in headings for part in (heading.replace("→", "→\n"), "95%")]
    table = _table(f"Accuracy in %, hidden state {layer}", ("language", "candidates", *headings))
    index, names = result["layers"].index(layer), list(result["languages"])
    for name in names:
        row = result["languages"][name]
        table.add_row(name, f"{row['candidates']:,}", *_with_intervals(row, index), end_section=name == names[-1])
    table.add_row("mean", "", *_with_intervals(result["mean"], index))
    for name, group in result.get("groups", {}).items():
        table.add_row(name, "", *_with_intervals(group, index))
    return table


def xsim_table(result: dict[str, Any], layer: int) -> rich.table.Table:
    """xSIM's error rates per language, both ways, at one hidden state; arguments as `language_table`."""
    table = _table(
        f"xSIM's error rate in %, by {result['xsim_margin']} over {result['neighbours']}, hidden state {layer}",
        ("language", *_headings(result)),
    )
    index, names = result["layers"].index(layer), list(result["languages"])
    for name in names:
        table.add_row(name, *_cells(result["languages"][name]["xsim"], index), end_section=name == names[-1])
    table.add_row("mean", *_cells(result["mean"]["xsim"], index))
    return table


def mixed_pool_table(result: dict[str, Any]) -> rich.table.Table:
    """Accuracy per language among the sentences of all languages, and how often the nearest is of the own language.

    Args:
        result: dict of `evaluate_retrieval` with a part "mixed_pool".
    """
    pool = result["mixed_pool"]
    title = f"Among the {pool['sentences']:,} sentences of all languages by cosine, in %, hidden state {pool['layer']}"
    table = _table(title, ("language", "sentences", "nearest translates", "nearest is of its language"))
    for name, row in pool["languages"].items():
        last = name == list(pool["languages"])[-1]
        values = [f"{100 * row[key]:.1f}" for key in ("accuracy", "own_language")]
        table.add_row(name, f"{row['sentences']:,}", *values, end_section=last)
    table.add_row("mean", "", *(f"{100 * pool['mean'][key]:.1f}" for key in ("accuracy", "own_language")))
    return table


def unknown_token_warnings(result: dict[str, Any]) -> list[str]:
    """A line for each language of whose tokens more than `MOST_UNKNOWN` are unknown to the vocabulary.

    Args:
        result: dict of `evaluate_retrieval`.
    """
    shares: dict[str, float] = {}
    for row in result["languages"].values():
        for side in ("source", "target"):
            share = row.get("unknown_tokens", {}).get(side, 0.0)
            shares[row[side]] = max(share, shares.get(row[side], 0.0))
    return [
        f"warning: {language}: {100 * share:.1f}% of the tokens are unknown to the vocabulary, so its figures say "
        "little about the encoder"
        for language, share in shares.items()
        if share > MOST_UNKNOWN
    ]


def cut_sentence_warnings(result: dict[str, Any]) -> list[str]:
    """A line for each language of which sentences were cut, since they have more tokens than the model takes.

    Args:
        result: dict of `evaluate_retrieval`.
    """
    counts: dict[str, tuple[int, int]] = {}
    for row in result["languages"].values():
        for side in ("source", "target"):
            cut = row.get("cut_sentences", {}).get(side, 0)
            counts[row[side]] = max((cut, row["candidates"]), counts.get(row[side], (0, 0)))
    return [
        f"warning: {language}: {cut:,} of {sentences:,} sentences ({100 * cut / sentences:.1f}%) have more than "
        f"{result['max_length']} tokens and were cut (--max_length, or the model's positions)"
        for language, (cut, sentences) in counts.items()
        if cut
    ]


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
    best = result["best_layer"]
    printed: list[rich.table.Table | str] = [language_table(result, best)]
    if len(result["layers"]) > 1:
        printed.append(layer_table(result, info.universal_layer if info else None))
    if "xsim" in result["mean"]:
        printed.append(xsim_table(result, best))
    if "mixed_pool" in result:
        printed.append(mixed_pool_table(result))
    ranked = result["similarity"]
    ranked += f" over {result['neighbours']} neighbours" if ranked != "cosine" else ""
    return [
        *printed,
        *unknown_token_warnings(result),
        *cut_sentence_warnings(result),
        f"ranked by {ranked}; a random choice finds {100 * result['chance']:.2f}% in the mean of the languages",
        f"layer: {result['layer_definition']}",
    ]


def retrieval_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The accuracies as rows of a CSV file: one for each language, mean and group, direction and layer.

    A pool of all languages has one row for each language and one for the mean, without direction.

    Args:
        result: dict of `evaluate_retrieval`.

    Returns:
        list of {"kind": "language", "mean", "group", "pool" or "pool mean", "name": str, "direction": str,
        "layer": int, "accuracy": float, "own_language", "lower", "upper", "xsim_error": float or "",
        "candidates": int or "", "chance": float or "", "unknown_source", "unknown_target": float or "",
        "cut_source", "cut_target": int or ""}. In a pool "candidates" are the sentences of all languages.
    """
    parts = [("language", name, row) for name, row in result["languages"].items()]
    parts += [("mean", "mean", result["mean"])]
    parts += [("group", name, group) for name, group in result["groups"].items()]
    rows = []
    for kind, name, part in parts:
        unknown, cut = part.get("unknown_tokens", {}), part.get("cut_sentences", {})
        for direction in DIRECTIONS:
            for index, layer in enumerate(result["layers"]):
                lower, upper = part["intervals"][direction][index] if "intervals" in part else ("", "")
                rows.append(
                    {
                        "kind": kind,
                        "name": name,
                        "direction": direction,
                        "layer": layer,
                        "accuracy": part[direction][index],
                        "own_language": "",
                        "lower": lower,
                        "upper": upper,
                        "xsim_error": part["xsim"][direction][index] if "xsim" in part else "",
                        "candidates": part.get("candidates", ""),
                        "chance": part.get("chance", ""),
                        "unknown_source": unknown.get("source", ""),
                        "unknown_target": unknown.get("target", ""),
                        "cut_source": cut.get("source", ""),
                        "cut_target": cut.get("target", ""),
                    }
                )
    return [*rows, *_pool_rows(result, list(rows[0]))]


def _pool_rows(result, columns):
    if "mixed_pool" not in result:
        return []
    pool = result["mixed_pool"]
    parts = [("pool", name, part) for name, part in pool["languages"].items()] + [("pool mean", "mean", pool["mean"])]
    return [
        dict.fromkeys(columns, "")
        | {"kind": kind, "name": name, "layer": pool["layer"], "candidates": pool["sentences"]}
        | {key: part[key] for key in ("accuracy", "own_language")}
        for kind, name, part in parts
    ]


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
    """`en→xx` and `xx→en` if one language is the source of every pair set and the pivot of the results."""
    rows = result["languages"]
    sources = {row["source"] for row in rows.values()}
    if all(map(is_english, sources)):
        return "en→xx", "xx→en"
    if len(sources) == 1 and all(name == row["target"] and "-" not in name for name, row in rows.items()):
        (source,) = sources
        return f"{source}→xx", f"xx→{source}"
    return "source→target", "target→source"


def _table(title, headings):
    table = rich.table.Table(title=title, box=rich.box.SIMPLE, title_justify="left", caption_justify="left")
    for number, heading in enumerate(headings):
        # Where the screen is too narrow, a name takes two lines; a number is never cut.
        table.add_column(
            heading, justify="right" if number and heading else "left", no_wrap=number > 0, overflow="fold"
        )
    return table


def _percents(accuracy):
    return [f"{100 * accuracy[direction]:.1f}" for direction in DIRECTIONS]


def _candidates(result):
    return {language: row["candidates"] for language, row in result["languages"].items()}


def _cells(part, index):
    return [f"{100 * part[direction][index]:.1f}" for direction in DIRECTIONS]


def _with_intervals(part, index):
    """The accuracies of both directions, each with its interval where there is one."""
    cells = _cells(part, index)
    if "intervals" not in part:
        return cells
    ends = [part["intervals"][direction][index] for direction in DIRECTIONS]
    ranges = [f"{100 * lower:.1f}-{100 * upper:.1f}" for lower, upper in ends]
    return [text for both in zip(cells, ranges, strict=True) for text in both]
