"""Several runs of one head: a grid of learning rates, each with several seeds, and what they say together.

    OUTPUT/runs/lr-2e-05_seed-0/   a run, see `finetuning/loop.py`

The learning rate is the one whose mean over the seeds is highest on development data. The model that is kept is the
best of its seeds on development data.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from infoxlm_keras.distribution import current_distribution, is_chief
from infoxlm_keras.distribution.agreement import wait_for_workers
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.finetuning.development_scores import DEVELOPMENT_MEAN
from infoxlm_keras.finetuning.head import FineTuningHead
from infoxlm_keras.finetuning.identity import differences, run_identity
from infoxlm_keras.finetuning.loop import RESULT_FILE, RUN_FILE, FineTuningRun
from infoxlm_keras.finetuning.settings import FineTuningSettings
from infoxlm_keras.pretrained import PretrainedModel
from infoxlm_keras.pretrained.digest import model_digest


@dataclasses.dataclass(frozen=True)
class Trial:
    """A run that is complete.

    Attributes:
        directory: path of the run.
        result: dict, the content of its result.json.
    """

    directory: pathlib.Path
    result: dict[str, Any]

    @property
    def learning_rate(self) -> float:
        return self.result["settings"]["learning_rate"]

    @property
    def development_mean(self) -> float | None:
        return self.result[DEVELOPMENT_MEAN]

    def mean(self, metric: str) -> float:
        """Mean over the languages of the score `metric`."""
        return float(np.mean(list(self.result["scores"][metric].values())))


def trial_settings(
    settings: FineTuningSettings, learning_rates: Sequence[float], seeds: Sequence[int], has_development: bool
) -> list[FineTuningSettings]:
    """The settings of all runs: for each of `learning_rates` each of `seeds`.

    Raises:
        InputError: for a number given twice, or several learning rates without development data, which chooses one.
    """
    for name, values in (("learning_rate", learning_rates), ("seed", seeds)):
        twice = next((value for value in values if list(values).count(value) > 1), None)
        if twice is not None:
            raise InputError(f"--{name}: {twice} is given twice; give each once")
    if len(learning_rates) > 1 and not has_development:
        raise InputError(f"--learning_rate: {len(learning_rates)} are given, and --dev, which chooses one, is not")
    return [
        dataclasses.replace(settings, learning_rate=learning_rate, seed=seed)
        for learning_rate in learning_rates
        for seed in seeds
    ]


def run_trials(
    head: FineTuningHead,
    load: Callable[[], PretrainedModel],
    all_settings: Sequence[FineTuningSettings],
    directory: pathlib.Path,
    prepare: Callable[[FineTuningRun], None] = lambda run: None,
    fresh: bool = False,
    publish: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Makes each run, or continues it; those that are complete are read.

    Of each learning rate only the model of the best seed stays on disk.

    Args:
        head: `FineTuningHead` with its data.
        load: function that gives the `PretrainedModel`; it is called once a run.
        all_settings: list of settings, from `trial_settings`.
        directory: path, under which each run has its folder.
        prepare: function that is called with the first run that is to be trained, when it is built.
        fresh: bool, `prepare` empties `directory`, so what is there before is not looked at.
        publish: function that is called after each checkpoint and each complete run.

    Returns:
        list of `Trial`s in the order of `all_settings`.

    Raises:
        infoxlm_keras.finetuning.loop.Stopped: after SIGTERM or Ctrl-C; the run is saved.
    """
    trials: list[Trial] = []
    prepared = False
    digest = None
    if current_distribution().num_workers > 1 or (not fresh and any(directory.glob(f"*/{RUN_FILE}"))):
        # What is there has to be compared; and weights that are cut over several processes cannot be read by one.
        with current_distribution().alone():
            model = load()
            digest = model_digest(model)
            head.resolve(model, all_settings[0])
            del model
    for number, settings in enumerate(all_settings, start=1):
        path = directory / f"lr-{in_short(settings.learning_rate)}_seed-{settings.seed}"
        result = None if fresh and number == 1 else _read_result(head, path, settings, digest)
        if result is None:
            if len(all_settings) > 1:
                print(
                    f"run {number} of {len(all_settings)}: learning rate {settings.learning_rate:g}, seed "
                    f"{settings.seed}",
                    flush=True,
                )
            run = FineTuningRun(head, load, settings, path, publish, digest)
            if not prepared:
                prepare(run)
                prepared = True
                # The chief may have removed what was there.
                wait_for_workers()
            run.train()
            result = run.finish()
        trials.append(Trial(path, result))
        if is_chief():
            _keep_best_model([trial for trial in trials if trial.learning_rate == settings.learning_rate])
            publish()
    return trials


def best_trial(trials: Iterable[Trial]) -> Trial:
    """The `Trial` with the highest development mean; the first one of equals, or without development data."""
    return max(trials, key=lambda trial: -1.0 if trial.development_mean is None else trial.development_mean)


def chosen_learning_rate(trials: Sequence[Trial]) -> float:
    """The learning rate whose mean over the seeds on development data is highest; the first of equals."""
    rates = list(dict.fromkeys(trial.learning_rate for trial in trials))

    def mean(rate):
        means = [trial.development_mean for trial in trials if trial.learning_rate == rate]
        return float(np.mean([-1.0 if mean is None else mean for mean in means]))

    return max(rates, key=mean)


def summary(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """For each learning rate the mean and the standard deviation over its seeds, ready for JSON.

    Returns:
        list of dicts: `learning_rate`, `seeds` (list of int), `development_mean` and `mean` (of each score over the
        languages) and `scores` (of each score and language), as `{"mean": float, "sd": float or None}`. The standard
        deviation is that of a sample (n - 1), and None of one seed.
    """
    found = []
    for rate in dict.fromkeys(trial.learning_rate for trial in trials):
        same = [trial for trial in trials if trial.learning_rate == rate]
        scores = same[0].result["scores"]
        developments = [trial.development_mean for trial in same]
        found.append(
            {
                "learning_rate": rate,
                "seeds": [trial.result["settings"]["seed"] for trial in same],
                DEVELOPMENT_MEAN: None if None in developments else mean_and_deviation(developments),
                "mean": {metric: mean_and_deviation([trial.mean(metric) for trial in same]) for metric in scores},
                "scores": {
                    metric: {
                        language: mean_and_deviation([trial.result["scores"][metric][language] for trial in same])
                        for language in languages
                    }
                    for metric, languages in scores.items()
                },
            }
        )
    return found


def mean_and_deviation(values: Sequence[Any]) -> dict[str, float | None]:
    """`{"mean", "sd"}` of floats; the standard deviation is that of a sample (n - 1), None of fewer than two.

    Example:
    ```python
    mean_and_deviation([1.0, 3.0])  # {"mean": 2.0, "sd": 1.4142135623730951}
    ```
    """
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": deviation}


def _read_result(head, path, settings, digest):
    """The content of a complete run's result.json; None if the run in the folder `path` is not complete."""
    if not (path / RESULT_FILE).is_file():
        return None
    result, before = read_json(path / RESULT_FILE, dict), read_json(path / RUN_FILE, dict)
    if not {"settings", "scores", DEVELOPMENT_MEAN} <= set(result) or not isinstance(before.get("settings"), dict):
        raise InputError(f"{path}: holds no result of a run; remove the folder, or start over with --overwrite")
    different = differences(settings, run_identity(head, settings, digest), before)
    if different:
        raise InputError(
            f"{path}: holds a run of another kind: {', '.join(different)}; repeat its command, or start over with "
            "--overwrite"
        )
    return result


def in_short(rate: float) -> str:
    """A learning rate in six digits, or in as many as tell it from others."""
    short = f"{rate:g}"
    return short if float(short) == rate else repr(rate)


def _keep_best_model(trials):
    best = best_trial(trials)
    for trial in trials:
        if trial is not best:
            shutil.rmtree(trial.directory / "model", ignore_errors=True)
