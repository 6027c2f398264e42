"""Scores of finished tasks, and their table beside the published ones."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
import rich.table

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_json
from infoxlm_keras.reports.retrieval_tables import read_retrieval
from infoxlm_keras.xtreme.plan import RESULTS
from infoxlm_keras.xtreme.tasks import MODELS, TASKS

# XTREME's layers, 7 of 12 and 13 of 24, as hidden states.
HIDDEN_STATES = {12: 8, 24: 14}
SHORT = {"accuracy": "acc", "f1": "F1", "exact_match": "EM"}


@dataclasses.dataclass(frozen=True)
class TaskScores:
    """The scores of one task.

    Attributes:
        scores: {score: {language: float in 0..1}}.
        means: {score: float in 0..1}, over those languages of the published mean that were measured.
        missing: list of str, languages of the published mean that were not measured.
        deviations: {score: float}, the standard deviation over several seeds; empty of one.
    """

    scores: dict[str, dict[str, float]]
    means: dict[str, float]
    missing: list[str]
    deviations: dict[str, float] = dataclasses.field(default_factory=dict)


def read_task(name: str, output: PathLike) -> TaskScores | None:
    """The scores of the task `name` in the folder `output` of all tasks; None if it is not finished.

    Raises:
        InputError: if its results are damaged.
    """
    task, folder = TASKS[name], pathlib.Path(output) / name
    if task.kind == "mining":
        files = {code: folder / f"{code}_test.json" for code in task.languages}
        present = {code: path for code, path in files.items() if path.is_file()}
        scores = {"f1": {code: _mined(path) for code, path in present.items()}}
        return _summed_up(name, scores) if present else None
    path = folder / RESULTS
    if not path.is_file():
        return None
    if task.kind == "retrieval":
        return _summed_up(name, {"accuracy": _retrieved(path)})
    content = read_json(path, dict)
    deviations = {}
    with parsing(path, "the results of a task", "remove its folder, and run this again"):
        scores = {score: {code: float(value) for code, value in content[score].items()} for score in task.scores}
        rate = content.get("settings", {}).get("learning_rate")
        for row in content.get("summary", ()):
            if row["learning_rate"] == rate and len(row["seeds"]) > 1:
                # What is reported is the mean over the seeds, language by language.
                parts = {score: row["scores"][score] for score in task.scores}
                scores = {score: {code: float(v["mean"]) for code, v in part.items()} for score, part in parts.items()}
                deviations = {score: float(row["mean"][score]["sd"]) for score in task.scores}
    return dataclasses.replace(_summed_up(name, scores), deviations=deviations)


def results_rows(found: Mapping[str, TaskScores]) -> list[dict[str, Any]]:
    """Rows of the CSV file: a score of a language, a mean, or a published mean each.

    Args:
        found: {task: `TaskScores`}.

    Returns:
        list of {"model", "task", "score", "language", "value", "sd"}: values in %, "mean" for the language of a mean.
    """
    rows = []
    for name, task in TASKS.items():
        if name in found:
            for score in task.scores:
                of_languages = found[name].scores[score]
                rows += [_row("this model", name, score, code, 100 * value) for code, value in of_languages.items()]
                deviation = found[name].deviations.get(score)
                shown = "" if deviation is None else 100 * deviation
                rows.append({**_row("this model", name, score, "mean", 100 * found[name].means[score]), "sd": shown})
        for model, values in task.published.items():
            rows += [_row(model, name, score, "mean", value) for score, value in zip(task.scores, values, strict=True)]
    return rows


def table_cells(found: Mapping[str, TaskScores], tasks: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """(headings, rows) of the table: this model, and the published ones below it; scores in %.

    Args:
        found: {task: `TaskScores`} of the finished tasks.
        tasks: names of all tasks that are shown.
    """
    headings = [
        "",
        *(f"{TASKS[name].title} {'/'.join(SHORT[score] for score in TASKS[name].scores)}" for name in tasks),
    ]
    rows = [["this model", *(_own(found.get(name)) for name in tasks)]]
    for model in MODELS:
        cells = ["/".join(f"{value:.1f}" for value in TASKS[name].published.get(model, ())) or "–" for name in tasks]
        rows.append([model, *cells])
    return headings, rows


def notes(found: Mapping[str, TaskScores]) -> list[str]:
    """A line for each task whose mean is over fewer languages than the published one."""
    return [
        f"{TASKS[name].title}: the mean is over {len(TASKS[name].languages) - len(scores.missing)} of "
        f"{len(TASKS[name].languages)} languages; not measured: {', '.join(scores.missing)}"
        for name, scores in found.items()
        if scores.missing
    ]


def console_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> rich.table.Table:
    """The table for the console, turned: a row a task, so that it fits a narrow one."""
    table = rich.table.Table(title="XTREME, transfer from English, in %", box=rich.box.SIMPLE, title_justify="left")
    for number, name in enumerate(["task", *(row[0] for row in rows)]):
        table.add_column(name, justify="right" if number else "left")
    for column, heading in enumerate(headings[1:], start=1):
        table.add_row(heading, *(row[column] for row in rows))
    return table


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    """The table as Markdown, with `lines` (notes) below it, str."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))
    return f"# XTREME\n\nTransfer from English, in %.\n\n{table}\n" + "".join(f"\n- {line}" for line in lines) + "\n"


def _own(scores):
    if scores is None:
        return "–"
    cells = []
    for score, mean in scores.means.items():
        deviation = scores.deviations.get(score)
        cells.append(f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}"))
    return "/".join(cells) + ("*" if scores.missing else "")


def _summed_up(name, scores):
    task = TASKS[name]
    means, missing = {}, set()
    for score in task.scores:
        measured = [scores[score][code] for code in task.languages if code in scores[score]]
        missing |= {code for code in task.languages if code not in scores[score]}
        means[score] = sum(measured) / len(measured) if measured else math.nan
    if any(map(math.isnan, means.values())):
        raise InputError(f"{task.title}: none of its languages was measured, {', '.join(task.languages)}")
    return TaskScores(scores, means, [code for code in task.languages if code in missing])


def _retrieved(path):
    """{language: accuracy} from the language to English, at XTREME's layer or else the model's own."""
    result = read_retrieval(path)
    with parsing(path, "the results of a task", "remove its folder, and run this again"):
        depth = int(result["model"]["num_layers"])
        trained = (result["model"]["pretraining"] or {}).get("universal_layer")
        layer = HIDDEN_STATES.get(depth) or trained or max(1, round(depth * 2 / 3))
        index = result["layers"].index(layer)
        return {code: float(row["target_to_source"][index]) for code, row in result["languages"].items()}


def _mined(path):
    content = read_json(path, dict)
    with parsing(path, "the results of infoxlm mine-bitext", "remove it, and run this again"):
        return float(content["gold"]["f1"])


def _row(model, task, score, language, value):
    return {"model": model, "task": task, "score": score, "language": language, "value": value, "sd": ""}
