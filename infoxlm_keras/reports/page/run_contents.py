"""What the directory of a run holds, read and checked for a report."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_json, read_text, read_yaml
from infoxlm_keras.reports.history import read_rows
from infoxlm_keras.reports.retrieval_tables import read_retrieval

# Files of a pre-training run, of a fine-tuning run and of the demo.
CONFIG, HISTORY, SKIPPED, LANGUAGES, PRETRAINING, RESULTS, MODEL_INFO = (
    "config.yaml",
    "history.csv",
    "skipped_steps.jsonl",
    "language_probabilities.json",
    "pretraining.json",
    "results.json",
    "model/infoxlm.json",
)
RETRIEVAL = "retrieval*.json"
# Parts of a fine-tuning command's results that have a number for each language and are no scores.
COUNTS = ("samples", "training")
# A fine-tuning command has a folder for each learning rate and seed.
TRIALS, MEASURES, TRIAL_RESULT = "runs/*/run.json", "development.json", "result.json"


@dataclasses.dataclass
class RunContents:
    """A run as far as its directory tells; a part that is missing is empty.

    Attributes:
        path: the directory.
        label: str, short and unique among the runs of a report.
        kind: "pre-training" or "fine-tuning".
        settings: dict of dotted key to value.
        history: list of dict of name to float, one a row of history.csv, `step` an int.
        skipped: list of dict, the lines of skipped_steps.jsonl.
        languages: {task: {language: {"probability", "records", "epochs"}}}.
        pretraining: dict, what the finished pre-training wrote.
        model_info: dict, what model/ tells of its pre-training.
        results: dict, the results of a fine-tuning run.
        trials: {name: list of measures}, of each run of a fine-tuning command what it measured while it trained: dicts
            with `epoch`, and `loss` and `development_mean` where there are any.
        complete: {name: {score: {language: float}}}, the scores of those of its runs that are complete.
        timing: dict of a stage of the demo to seconds.
        retrieval: {name: result of `evaluate_retrieval`}.
    """

    path: pathlib.Path
    label: str
    kind: str = "pre-training"
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    skipped: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    languages: dict[str, Any] = dataclasses.field(default_factory=dict)
    pretraining: dict[str, Any] = dataclasses.field(default_factory=dict)
    model_info: dict[str, Any] = dataclasses.field(default_factory=dict)
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    trials: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    complete: dict[str, dict[str, dict[str, float]]] = dataclasses.field(default_factory=dict)
    timing: dict[str, float] = dataclasses.field(default_factory=dict)
    retrieval: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the run wrote its results; if not, it is in progress or was stopped."""
        return bool(self.pretraining if self.kind == "pre-training" else self.results)


def read_runs(paths: Sequence[PathLike], evaluations: Sequence[str] = ()) -> list[RunContents]:
    """The runs in the directories `paths`.

    Args:
        paths: list of str or path.
        evaluations: list of str, further results of infoxlm evaluate-retrieval: a file, or RUN=FILE. A file belongs to
            the run that holds the model that was measured.

    Raises:
        InputError: if a path is no directory, is given twice or holds no run; if a file is damaged (names the place);
            or if it is unknown to which run an evaluation belongs.
    """
    places = [pathlib.Path(path) for path in paths]
    resolved = [place.resolve() for place in places]
    for number, place in enumerate(places):
        if not place.is_dir():
            raise InputError(f"{place}: is not the directory of a run; give the --output_dir of one")
        if resolved[number] in resolved[:number]:
            raise InputError(f"{place}: is given twice; give each run once")
    runs = [read_run(place, label) for place, label in zip(places, labels(resolved), strict=True)]
    for evaluation in evaluations:
        run, path = _run_of(evaluation, runs, [str(path) for path in paths])
        name = path.stem
        if name in run.retrieval:
            name = str(path)
        run.retrieval[name] = read_retrieval(path)
    return runs


def read_run(path: PathLike, label: str | None = None) -> RunContents:
    """The run in the directory `path`; arguments and errors as `read_runs`."""
    place = pathlib.Path(path)
    run = RunContents(place, readable(label if label is not None else place.resolve().name))
    if (place / CONFIG).is_file():
        settings = read_yaml(place / CONFIG)
        if not isinstance(settings, dict):
            raise InputError(f"{place / CONFIG}: must hold `key: value` lines; write the run again")
        run.settings = flat(settings)
    run.history = read_rows(place / HISTORY)
    run.skipped = _read_skipped(place / SKIPPED)
    for name, field in ((LANGUAGES, "languages"), (PRETRAINING, "pretraining"), (MODEL_INFO, "model_info")):
        if (place / name).is_file():
            setattr(run, field, read_json(place / name, dict))
    _check_parts(run)
    for file in sorted(place.glob(RETRIEVAL)):
        run.retrieval[file.stem] = read_retrieval(file)
    if (place / RESULTS).is_file():
        _read_results(place / RESULTS, run)
    _read_trials(run)
    if not (run.settings or run.history or run.pretraining or run.results or run.retrieval):
        raise InputError(
            f"{place}: holds no run: neither {CONFIG} nor {HISTORY} nor {RESULTS}; give the --output_dir of "
            "infoxlm pretrain, infoxlm finetune-... or infoxlm demo"
        )
    return run


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """dict of dotted key to value of every setting."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return found


def labels(paths: Sequence[pathlib.Path]) -> list[str]:
    """The shortest ends of `paths` (absolute) that tell them apart, list of str."""
    longest = max(len(path.parts) for path in paths)
    for length in range(1, longest + 1):
        found = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(found)) == len(found):
            return found
    return [str(path) for path in paths]


def readable(text: PathLike) -> str:
    """`text` for a UTF-8 file: bytes of a path that are not UTF-8 are replaced."""
    return os.fsencode(text).decode("utf-8", "replace")


def _check_parts(run):
    """Raises `InputError` if a part of a pre-training run is of another form than the run writes."""
    with parsing(run.path / LANGUAGES, "what a pre-training run wrote"):
        for languages in run.languages.values():
            for entry in languages.values():
                float(entry["probability"]), float(entry["epochs"]), int(entry["records"])
    with parsing(run.path / PRETRAINING, "what a pre-training run wrote"):
        if run.pretraining:
            int(run.pretraining["step"]), dict(run.pretraining["last_interval"] or {})
            best = run.pretraining.get("best")
            if best is not None:
                str(best["name"]), float(best["value"]), int(best["step"])
    with parsing(run.path / MODEL_INFO, "what a run writes beside its model"):
        dict(run.model_info.get("data") or {})


def _read_skipped(path):
    if not path.is_file():
        return []
    lines = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        with parsing(path, "a run's list of skipped steps", place=f"line {number}".format):
            entry = json.loads(line)
            int(entry["first_step"]), int(entry["last_step"]), int(entry["skipped"])
            lines.append(entry)
    return lines


def _read_results(path, run):
    """The results of a fine-tuning run, or of the demo, in results.json."""
    content = read_json(path, dict)
    if "transfer_gap" in content:
        run.kind = "fine-tuning"
        with parsing(path, "the results of infoxlm finetune-..."):
            scores = score_names(content)
            if not scores:
                raise ValueError("it holds no score by language")
            for name in scores:
                [float(value) for value in content[name].values()]
            run.settings = {**flat(content["settings"]), "model": content["model"]}
            _check_summary(content.get("summary", ()))
        run.results = content
    elif "timing" in content:
        with parsing(path, "what infoxlm demo wrote"):
            run.timing = {str(name): float(seconds) for name, seconds in content["timing"].items()}
    else:
        raise InputError(f"{path}: holds neither the results of infoxlm finetune-... nor those of infoxlm demo")


def _check_summary(summary):
    for row in summary:
        float(row["learning_rate"]), list(row["seeds"])
        for part in row["mean"].values():
            float(part["mean"])


def _read_trials(run):
    """The runs of a fine-tuning command, one for each learning rate and seed; it may still be in progress."""
    for file in sorted(run.path.glob(TRIALS)):
        run.kind = "fine-tuning"
        settings = read_json(file, dict).get("settings")
        with parsing(file, "what infoxlm finetune-... wrote"):
            run.settings = run.settings or flat(settings)
        measures = file.with_name(MEASURES)
        found = read_json(measures, list) if measures.is_file() else []
        with parsing(measures, "what infoxlm finetune-... wrote"):
            for record in found:
                float(record["epoch"]), float(record.get("development_mean", 0)), float(record.get("loss", 0))
        run.trials[file.parent.name] = found
        result = file.with_name(TRIAL_RESULT)
        if result.is_file():
            with parsing(result, "what infoxlm finetune-... wrote"):
                run.complete[file.parent.name] = {
                    str(score): {str(language): float(value) for language, value in scores.items()}
                    for score, scores in read_json(result, dict)["scores"].items()
                }


def score_names(results: Mapping[str, Any]) -> list[str]:
    """Names of the scores of a fine-tuning run: those parts that give a number to each measured language."""
    languages = set(results.get("samples", ()))
    return [
        name
        for name, part in results.items()
        if name not in COUNTS and isinstance(part, dict) and part and set(part) == languages
    ]


def _run_of(evaluation, runs, given):
    """(run, path of the file) of an argument of --evaluation."""
    for run, path in zip(runs, given, strict=True):
        if evaluation.startswith(f"{path}="):
            return run, pathlib.Path(evaluation[len(path) + 1 :])
    path = pathlib.Path(evaluation)
    content = read_json(path, dict)
    measured = content.get("model")
    source = measured.get("source") if isinstance(measured, dict) else None
    holders = [run for run in runs if isinstance(source, str) and _holds(run.path, pathlib.Path(source))]
    if len(holders) == 1:
        return holders[0], path
    raise InputError(
        f"--evaluation {evaluation}: it measured {source!r}, which lies in none of the runs; if it is of one, "
        f"give it as RUN=FILE, for instance {given[0]}={path}"
    )


def _holds(directory, path):
    return path.resolve().is_relative_to(directory.resolve())
