"""The sections of a report on what was measured: retrieval, and fine-tuning with its transfer gap."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from infoxlm_keras.evaluation.retrieval import DIRECTIONS, both_ways
from infoxlm_keras.reports.page.blocks import Block, Chart, Section, Table, Text
from infoxlm_keras.reports.page.cells import NOTHING, by_run, percent
from infoxlm_keras.reports.page.charts import dot_chart, heat_map, line_chart
from infoxlm_keras.reports.page.run_contents import RunContents, score_names
from infoxlm_keras.reports.retrieval_tables import cut_sentence_warnings, unknown_token_warnings

ARROWS = dict(zip(DIRECTIONS, ("source → target", "target → source"), strict=True))
ACCURACY = "accuracy in %"
# Of a longer table a page shows the title until it is opened.
MOST_OPEN_ROWS = 40


def retrieval_section(runs: Sequence[RunContents]) -> Section | None:
    """Retrieval by layer and by language, both ways, with intervals; None if nothing was measured."""
    results = {
        " · ".join(part for part in (run.label if len(runs) > 1 else "", name) if part): result
        for run in runs
        for name, result in run.retrieval.items()
    }
    if not results:
        return None
    return Section(
        "Retrieval",
        [
            *(Text(_how(name, result)) for name, result in results.items()),
            *(
                Text(line)
                for result in results.values()
                for line in (*unknown_token_warnings(result), *cut_sentence_warnings(result))
            ),
            *_by_layer(results),
            *_by_language(results),
            *(Chart(f"{name}: mean of both directions in %", _heat_map(result)) for name, result in results.items()),
        ],
    )


def finetuning_section(runs: Sequence[RunContents]) -> Section | None:
    """Scores of fine-tuned models by language, and the transfer gap; None if no run was fine-tuned."""
    started = [run for run in runs if run.results or run.trials]
    tuned = [run for run in started if run.results]
    if not started:
        return None
    blocks: list[Block] = []
    rows = [
        ("trained on", lambda run: list(run.results.get("training", ()))),
        ("measured on", lambda run: run.results.get("measured_on")),
        ("mean over languages in %", lambda run: percent(run.results.get("mean"))),
        ("transfer gap in percentage points", lambda run: percent(run.results.get("transfer_gap"))),
    ]
    if tuned:
        blocks.append(by_run(tuned, rows, title="Transfer"))
    names = list(dict.fromkeys(name for run in tuned for name in score_names(run.results)))
    for name in names:
        blocks += _score(tuned, name)
    blocks += _seeds(tuned)
    blocks += _trials(started)
    blocks += _measures(started)
    gap = "The transfer gap is the score in the training language minus the mean over all other languages."
    return Section("Fine-tuning", [Text(gap), *blocks])


def _how(name, result):
    similarity = result["similarity"]
    over = f" over {result['neighbours']} neighbours" if similarity != "cosine" and "neighbours" in result else ""
    chance = f", a random choice finds {100 * result['chance']:.2f}%" if "chance" in result else ""
    return (
        f"{name}: ranked by {similarity}{over}, {result['pooling']} pooling{chance}; the best hidden state on these "
        f"pairs is {result['best_layer']}."
    )


def _by_layer(results: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    names = list(results)
    for direction, arrow in ARROWS.items():
        rows = []
        for name, result in results.items():
            for index, layer in enumerate(result["layers"]):
                row = {"name": name, "x": layer, "y": 100 * result["mean"][direction][index]}
                rows.append({**row, **_ends(result["mean"], direction, index)})
        draw = functools.partial(line_chart, rows, names, "hidden state (0 = embeddings)", ACCURACY)
        blocks.append(Chart(f"By layer, mean over languages: {arrow}", draw))
    columns = ["hidden state", *(f"{name} {arrow}" for name in names for arrow in ARROWS.values())]
    layers = sorted({layer for result in results.values() for layer in result["layers"]})
    cells = []
    for layer in layers:
        line = [str(layer)]
        for result in results.values():
            line += [_accuracy(result, result["mean"], direction, layer) for direction in DIRECTIONS]
        cells.append(line)
    return [*blocks, Table(columns, cells, title="Accuracy in % by layer, mean over languages")]


def _by_language(results: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    names = list(results)
    languages = list(dict.fromkeys(language for result in results.values() for language in result["languages"]))
    for direction, arrow in ARROWS.items():
        rows = []
        for language in languages:
            for name, result in results.items():
                part = result["languages"].get(language)
                if part:
                    index = result["layers"].index(result["best_layer"])
                    row = {"name": name, "language": language, "x": 100 * part[direction][index]}
                    rows.append({**row, **_ends(part, direction, index)})
        draw = functools.partial(dot_chart, rows, names, ACCURACY)
        blocks.append(Chart(f"By language, each at its best hidden state: {arrow}", draw))
    columns = ["language", *(f"{name} {arrow}" for name in names for arrow in ARROWS.values())]
    cells = []
    for language in [*languages, None]:
        line = ["mean" if language is None else language]
        for result in results.values():
            part = result["mean"] if language is None else result["languages"].get(language)
            line += [_accuracy(result, part, direction, result["best_layer"]) for direction in DIRECTIONS]
        cells.append(line)
    title = "Accuracy in % by language, each at its best hidden state"
    return [*blocks, Table(columns, cells, title=title, folded=len(cells) > MOST_OPEN_ROWS)]


def _accuracy(result, part, direction, layer):
    if part is None or layer not in result["layers"]:
        return NOTHING
    index = result["layers"].index(layer)
    ends = _ends(part, direction, index)
    interval = f" ({ends['lower']:.1f}–{ends['upper']:.1f})" if ends else ""
    return percent(part[direction][index]) + interval


def _ends(part, direction, index):
    """{"lower", "upper"} of an accuracy in %, where there is an interval."""
    if "intervals" not in part:
        return {}
    lower, upper = part["intervals"][direction][index]
    return {"lower": 100 * lower, "upper": 100 * upper}


def _heat_map(result):
    rows = [
        {"language": name, "layer": layer, "value": 100 * value}
        for name, part in [("mean", result["mean"]), *result["languages"].items()]
        for layer, value in zip(result["layers"], both_ways(part), strict=True)
    ]
    return functools.partial(heat_map, rows, result["layers"], result["best_layer"])


def _score(runs, name):
    """Chart and table of one score by language."""
    having = [run for run in runs if name in score_names(run.results)]
    languages = list(dict.fromkeys(language for run in having for language in run.results[name]))
    rows = [
        {"name": run.label, "language": language, "x": 100 * run.results[name][language]}
        for language in languages
        for run in having
        if language in run.results[name]
    ]
    columns = ["language", *(run.label for run in having)]
    cells = [[language, *(percent(run.results[name].get(language)) for run in having)] for language in languages]
    draw = functools.partial(dot_chart, rows, [run.label for run in runs], f"{name} in %")
    return [Chart(f"{name} by language", draw), Table(columns, cells, title=f"{name} in % by language")]


def _seeds(runs):
    """A table of the mean and the standard deviation over the seeds of each learning rate."""
    names = list(dict.fromkeys(name for run in runs for row in run.results.get("summary", ()) for name in row["mean"]))
    cells = [
        [
            run.label,
            f"{row['learning_rate']:g}",
            ", ".join(map(str, row["seeds"])),
            _deviation(row["development_mean"]),
        ]
        + [_deviation(row["mean"].get(name)) for name in names]
        for run in runs
        for row in run.results.get("summary", ())
    ]
    if not cells:
        return []
    columns = ["run", "learning rate", "seeds", "development", *names]
    return [Table(columns, cells, title="Mean over languages in %, and standard deviation over seeds")]


def _deviation(part):
    if part is None:
        return NOTHING
    return percent(part["mean"]) + ("" if part.get("sd") is None else f" ± {percent(part['sd'])}")


def _trials(runs):
    """A table of the runs of the commands that are not finished: how far each is."""
    rows = []
    for run in runs:
        for name, measures in run.trials.items() if not run.results else ():
            means = [record["development_mean"] for record in measures if "development_mean" in record]
            scores = run.complete.get(name)
            measured = ""
            if scores:
                means_of = {score: sum(part.values()) / len(part) for score, part in scores.items() if part}
                measured = ", ".join(f"{score} {percent(mean)}" for score, mean in means_of.items())
            state = "complete" if scores else "in progress"
            update = str(measures[-1].get("update", "")) if measures else ""
            rows.append([run.label, name, state, update, percent(max(means)) if means else "", measured])
    columns = ["", "run", "state", "last measured update", "best development mean in %", "means over languages in %"]
    return [Table(columns, rows, title="Runs of a command that is not finished")] if rows else []


def _measures(runs):
    """Charts of what was measured while the runs trained."""
    charts: list[Block] = []
    for key, title, scale in (
        ("development_mean", "Development mean in %", 100),
        ("loss", "Loss of training", 1),
    ):
        rows = []
        for run in runs:
            for name, measures in run.trials.items():
                parts = [run.label] * (len(runs) > 1) + [name] * (len(runs) == 1 or len(run.trials) > 1)
                for record in measures:
                    if key in record and math.isfinite(record[key]):
                        rows.append({"name": " · ".join(parts), "x": record["epoch"], "y": scale * record[key]})
        if rows:
            names = list(dict.fromkeys(row["name"] for row in rows))
            charts.append(Chart(title, functools.partial(line_chart, rows, names, "epoch", title)))
    return charts
