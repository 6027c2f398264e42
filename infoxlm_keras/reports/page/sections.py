"""Which sections a report has, in the order of reading; those on settings, training and data."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from infoxlm_keras.reports.page.blocks import Block, Chart, Section, Table, Text
from infoxlm_keras.reports.page.cells import NOTHING, by_run, number
from infoxlm_keras.reports.page.charts import line_chart, thinned
from infoxlm_keras.reports.page.measurements import finetuning_section, retrieval_section
from infoxlm_keras.reports.page.run_contents import RunContents
from infoxlm_keras.reports.skipped_samples import describe_samples

# The end of a column's name, what it means; a chart for each task.
OF_TASKS = (
    ("_loss", "loss in nats"),
    ("_mi_lower_bound", "lower bound of mutual information in nats"),
    ("_accuracy", "accuracy"),
)
# Columns of the retrieval that is measured while a run trains.
OF_RETRIEVAL = {"retrieval_source_to_target": "source → target", "retrieval_target_to_source": "target → source"}
# Columns of their own: name, meaning.
OF_RUNS = (
    ("tokens_per_second", "tokens a second"),
    ("tflop_per_second", "model TFLOP a second"),
    ("mfu", "share of the peak (MFU)"),
    ("gradient_norm", "gradient norm before clipping"),
    ("learning_rate", "learning rate"),
    ("padding_share", "padding, share of positions"),
    ("skipped_steps", "skipped steps so far"),
)
Rows = list[tuple[str, Callable[[RunContents], Any]]]
VALIDATION = "val_"  # prefix of numbers on held-out records


def report_sections(runs: Sequence[RunContents]) -> list[Section]:
    """The sections of a report on `runs` (list of `RunContents`): those of which a run has something."""
    found = [
        _overview(runs),
        _settings(runs),
        _losses(runs),
        retrieval_section(runs),
        finetuning_section(runs),
        _throughput(runs),
        _skipped(runs),
        _data(runs),
    ]
    return [section for section in found if section is not None]


def _overview(runs):
    def state(run):
        if run.finished:
            return "finished"
        return "not finished" if run.history or run.kind == "fine-tuning" else "not started"

    def steps(run):
        done = run.pretraining.get("step") or (run.history[-1]["step"] if run.history else None)
        wanted = run.settings.get("steps")
        return done if done is None or wanted in (None, done) else f"{number(done)} of {number(wanted)}"

    def best(run):
        found = run.pretraining.get("best")
        return None if not found else f"{found['name']} {found['value']:.4f} at step {number(found['step'])}"

    def size(run):
        name, layers = run.settings.get("model.size"), run.settings.get("model.num_layers")
        return name if not layers else f"{name}, {layers} layers"

    rows = [
        ("folder", lambda run: str(run.path)),
        ("kind", lambda run: run.kind),
        ("state", state),
        ("steps", steps),
        ("tasks", lambda run: run.settings.get("tasks")),
        ("encoder", size),
        ("universal layer", lambda run: run.model_info.get("universal_layer")),
        ("fine-tuned from", lambda run: run.results.get("model")),
        ("best checkpoint", best),
        ("skipped steps", _skipped_count),
    ]
    return Section("Overview", [by_run(runs, rows)])


def _settings(runs):
    """Settings of runs of one kind are compared; those of the other kinds have other names."""
    kinds = list(dict.fromkeys(run.kind for run in runs if run.settings))
    blocks: list[Block] = []
    for kind in kinds:
        blocks += _settings_of([run for run in runs if run.kind == kind], f" of {kind}" if len(kinds) > 1 else "")
    return Section("Settings", blocks) if blocks else None


def _settings_of(runs, of_kind):
    missing = object()
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    values = {name: [run.settings.get(name, missing) for run in runs] for name in names}
    differ = [name for name in names if any(value != values[name][0] for value in values[name])]

    def rows(chosen):
        return [(name, functools.partial(_setting_of, name)) for name in chosen]

    blocks: list[Block] = []
    if len(runs) > 1:
        if differ:
            blocks.append(by_run(runs, rows(differ), title=f"Settings{of_kind} that differ"))
        else:
            blocks.append(Text(f"All settings{of_kind} are equal."))
    return [*blocks, by_run(runs, rows(names), title=f"All settings{of_kind}", folded=True)]


def _setting_of(name, run):
    """A setting as text; a number as exact as it was written, without the noise of its last bits."""
    if name not in run.settings:
        return NOTHING
    value = run.settings[name]
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _columns(runs):
    return list(dict.fromkeys(name for run in runs for row in run.history for name in row))


def _line_chart(runs, title, columns, x_title="optimizer steps"):
    """A chart of the columns {column of history.csv: name in the legend} over the steps; None if no run has any."""
    rows = []
    names = [run.label for run in runs] if len(runs) > 1 else []
    for run in runs:
        for column, meaning in columns.items():
            points = [
                (row["step"], row[column]) for row in run.history if column in row and math.isfinite(row[column])
            ]
            parts = [run.label] * (len(runs) > 1) + [meaning] * bool(meaning)
            name = " · ".join(parts) or title
            if points and name not in names:
                names.append(name)
            rows += [{"name": name, "x": x, "y": y} for x, y in thinned(points)]
    return Chart(title, functools.partial(line_chart, rows, names, x_title, "")) if rows else None


def _losses(runs):
    present = _columns(runs)
    losses = [name.removesuffix("_loss") for name in present if name.endswith("_loss")]
    of_task = ("accuracy", "mi_lower_bound")
    tasks = [task for task in losses if any(f"{task}_{name}" in present for name in of_task)]
    tasks = [task for task in tasks if not task.startswith(VALIDATION)]
    # Not a task's further losses, which are named after it.
    tasks = [task for task in tasks if not any(task.startswith(f"{other}_") for other in tasks)]
    charts: list[Block | None] = []
    for ending, meaning in OF_TASKS:
        for task in tasks:
            columns = {f"{task}{ending}": "", f"{VALIDATION}{task}{ending}": "held-out records"}
            charts.append(_line_chart(runs, f"{task.upper()}: {meaning}", columns))
    charts.append(_line_chart(runs, "Held-out retrieval while training: accuracy", OF_RETRIEVAL))
    blocks: list[Block] = [chart for chart in charts if chart is not None]
    rows = [
        (f"{task.upper()} {meaning}", functools.partial(_last_of, f"{task}{ending}"))
        for task in tasks
        for ending, meaning in OF_TASKS
    ]
    rows = [
        ("step", functools.partial(_last_of, "step")),
        *rows,
        ("loss, all tasks", functools.partial(_last_of, "loss")),
    ]
    trained = [run for run in runs if _last(run)]
    if not tasks or not trained:
        return None
    table = by_run(trained, rows, title="Last interval")
    return Section("Losses and bounds", [*blocks, table])


def _last(run):
    """The last numbers of training, {name: float}."""
    rows = [row for row in run.history if "loss" in row]
    return run.pretraining.get("last_interval") or (rows[-1] if rows else {})


def _last_of(column, run):
    return _last(run).get(column)


def _seconds_of(stage, run):
    return run.timing.get(stage)


def _throughput(runs):
    charts = [_line_chart(runs, title[0].upper() + title[1:], {column: ""}) for column, title in OF_RUNS]
    drawn: list[Block] = [chart for chart in charts if chart is not None]
    rows: Rows = [(title, functools.partial(_last_of, column)) for column, title in OF_RUNS]
    stages = list(dict.fromkeys(stage for run in runs for stage in run.timing))
    tables = [by_run([run for run in runs if _last(run)], rows, title="Last interval")]
    if stages:
        seconds = [(stage, functools.partial(_seconds_of, stage)) for stage in stages]
        tables.append(
            by_run(
                [run for run in runs if run.timing],
                seconds,
                title="Stages of the demo: seconds, and rates",
                folded=True,
            )
        )
    tables = [table for table in tables if table.rows]
    return Section("Throughput and optimization", [*drawn, *tables]) if tables else None


def _skipped_count(run):
    counted = sum(entry["skipped"] for entry in run.skipped)
    logged = _last(run).get("skipped_steps")
    return max(counted, int(logged)) if logged is not None else counted if run.skipped else None


def _skipped(runs):
    if not any(_skipped_count(run) is not None for run in runs):
        return None
    rows = []
    for run in runs:
        for entry in run.skipped:
            first, last = entry["first_step"], entry["last_step"]
            steps = number(last) if first == last else f"{number(first)}–{number(last)}"
            rows.append([run.label, steps, number(entry["skipped"]), describe_samples(entry.get("samples") or {})])
    total = sum(_skipped_count(run) or 0 for run in runs)
    text = "No step was skipped: all gradients were finite."
    if total:
        text = f"{number(total)} steps were skipped, since their gradients were not finite; each had no effect."
    table = Table(["run", "step", "skipped", "what it read"], rows, numeric=False)
    return Section("Skipped steps", [Text(text), *([table] if rows else [])])


def _digest_of(kind, run):
    return (run.model_info.get("data") or {}).get(kind)


def _data(runs):
    blocks: list[Block] = []
    kinds = list(dict.fromkeys(kind for run in runs for kind in run.model_info.get("data") or {}))
    rows: Rows = [(f"records of {kind}", functools.partial(_digest_of, kind)) for kind in kinds]
    rows.append(("tokenizer", lambda run: run.model_info.get("tokenizer_fingerprint")))
    table = by_run([run for run in runs if run.model_info], rows, title="Digests")
    if table.rows:
        blocks.append(table)
    for run in runs:
        for task, languages in run.languages.items():
            cells = [
                [name, number(entry["records"]), f"{entry['probability']:.4f}", f"{entry['epochs']:.2f}"]
                for name, entry in languages.items()
            ]
            title = f"{task.upper()}: languages" + (f" of {run.label}" if len(runs) > 1 else "")
            headings = ["language", "records", "probability", "epochs"]
            blocks.append(Table(headings, cells, title=title, folded=True))
    return Section("Data", blocks) if blocks else None
