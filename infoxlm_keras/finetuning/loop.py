"""One fine-tuning run of a head: built or restored, trained to its last update, measured, saved.

    RUN/run.json            settings, and digests of model and data: a run is continued and reused with the same only
    RUN/checkpoints/        the newest state, and the best on development data; removed when the run is complete
    RUN/development.json    every measure on development data
    RUN/history.csv         loss, accuracy, speed; development scores. `tensorboard/` has the same numbers
    RUN/model/              the trained model: the best on development data, else the last
    RUN/result.json         its scores; it is written last

The state of a run and its batches are those of pre-training: a killed run ends with the same weights as one that was
not.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.command_line import describe_os_error
from infoxlm_keras.distribution import current_distribution, is_chief
from infoxlm_keras.distribution.agreement import check_agreement, wait_for_workers
from infoxlm_keras.distribution.chips import peak_flops_of_run
from infoxlm_keras.distribution.host_compiler import compiles_here
from infoxlm_keras.distribution.strategies import check_parts
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import MODEL_FOLDER, new_directory, read_json, write_json
from infoxlm_keras.finetuning.development_scores import DEVELOPMENT_MEAN, DevelopmentScores, read_measures
from infoxlm_keras.finetuning.head import FineTuningHead
from infoxlm_keras.finetuning.head_task import HeadTask, merge_lora, trainer_of
from infoxlm_keras.finetuning.identity import differences, run_identity
from infoxlm_keras.finetuning.sample_batches import SampleBatches
from infoxlm_keras.finetuning.settings import FineTuningSettings
from infoxlm_keras.pretrained import PretrainedModel
from infoxlm_keras.pretrained.digest import model_digest as digest_of_model
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.reports.history import HistoryFile
from infoxlm_keras.reports.writers import ProgressLine, Recorder, TensorBoardLog
from infoxlm_keras.runs.callbacks import Checkpoints, IntervalLog, SkippedSteps, StopOnSignal, StopSignals
from infoxlm_keras.runs.checkpoint import Restored, restore_best, restore_newest
from infoxlm_keras.runs.checkpoint_files import newest_step
from infoxlm_keras.runs.pretraining import seed_everything
from infoxlm_keras.training.optimizer import build_optimizer

RUN_FILE, MEASURES_FILE, RESULT_FILE = "run.json", "development.json", "result.json"
# Updates in a row without finite gradients after which a run ends.
MAX_CONSECUTIVE_SKIPS = 10
LONGEST_LOG_INTERVAL, SHORTEST_LOG_INTERVAL = 50, 10


@dataclasses.dataclass(frozen=True)
class DevelopmentLine:
    """What the progress line shows of the development scores: a stand-in for a task."""

    task_name: str = "development"
    label: str = ""
    console_numbers: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"mean": "development {:.1%}"})


class Stopped(Exception):
    """A signal ended a run, which is saved; `str()` says where it stands."""


@contextlib.contextmanager
def weights_stay(path: PathLike) -> Iterator[None]:
    """Adds to errors of the block that what was trained is in `path`, and how to go on."""
    note = f"what was trained is in {path}: repeat the command to go on from there"
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; {note}") from error
    except OSError as error:
        raise InputError(f"{describe_os_error(error)}; {note}") from error


class FineTuningRun:
    """One run: call `train`, then `finish`.

    Args:
        head: `FineTuningHead` with its data.
        load: function that gives the `PretrainedModel` to train; it is called once.
        settings: of the type `head.Settings`.
        directory: str or path, the folder of the run; a run of equal settings that it holds is continued.
        publish: function that is called after each checkpoint.
        model_digest: str or None, `model_digest` of what `load` gives, if it is known.

    Raises:
        InputError: for settings that do not fit the model or the devices.
    """

    def __init__(
        self,
        head: FineTuningHead,
        load: Callable[[], PretrainedModel],
        settings: FineTuningSettings,
        directory: PathLike,
        publish: Callable[[], None] = lambda: None,
        model_digest: str | None = None,
    ) -> None:
        self.head = head
        self.publish = publish
        self.settings = settings
        self.path = pathlib.Path(directory)
        self.checkpoints = self.path / "checkpoints"
        compiled = settings.jit_compile and compiles_here()
        seed_everything(settings.seed, compiled=compiled)
        distribution = current_distribution()
        with distribution.variables():
            model = load()
            digest = digest_of_model(model) if model_digest is None else model_digest
            head.build(model, settings)
            check_parts(head.backbone, distribution)
            self.trainer = trainer_of(head, settings.accumulation_steps)
        arrays = head.training_arrays()
        self.samples = SampleBatches(
            arrays,
            settings.batch_size,
            settings.epochs,
            settings.seed,
            distribution.num_replicas * settings.accumulation_steps,
            HeadTask.task_name,
            settings.group_by_length,
        )
        self.updates = self.samples.updates
        self.every = min(settings.evaluate_every or self.samples.updates_per_epoch, self.updates)
        self._identity = run_identity(head, settings, digest)
        with distribution.variables():
            optimizer = build_optimizer(
                settings.learning_rate,
                # It would be 0 at the last one: a run of a single update would learn nothing.
                self.updates + 1,
                int(settings.warmup_share * self.updates),
                weight_decay=settings.weight_decay,
            )
            # Whatever a TPU runs is compiled, and it takes no further request.
            self.trainer.compile(optimizer=optimizer, jit_compile=compiled and _compiles_by_request())

    def train(self) -> None:
        """Trains to the last update, or until `patience` ends it.

        Raises:
            Stopped: after SIGTERM or Ctrl-C; the run is saved.
            InputError: for gradients that are not finite, or if the folder holds a run of other settings or samples.
        """
        self._check_same_run()
        restored = restore_newest(
            self.checkpoints,
            self.trainer,
            before_assigning=lambda step: check_agreement(step, "the update to resume at"),
        )
        if restored is not None:
            print(f"resuming at update {restored.step} of {self.updates}", flush=True)
        start = 0 if restored is None else restored.step
        if is_chief():
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.path / RUN_FILE, self._identity)
        received, step = self._fit(start, restored)
        if received is not None:
            wait_for_workers()
            raise Stopped(f"stopped by {received} at update {newest_step(self.checkpoints)} of {self.updates}")
        self.last_update = step

    def finish(self) -> dict[str, Any]:
        """Restores the best update, saves the model and measures it; returns the content of `result.json`.

        Raises:
            InputError: if something cannot be written, or the outputs are not finite; the checkpoints stay.
        """
        wait_for_workers()
        with weights_stay(self.checkpoints):
            result = self._saved_and_measured()
        # The others may still be reading the best checkpoint.
        wait_for_workers()
        if is_chief():
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        return result

    def _saved_and_measured(self):
        head, settings = self.head, self.settings
        best = restore_best(self.checkpoints, self.trainer, DEVELOPMENT_MEAN if head.development else None)
        if settings.lora_rank is not None:
            merge_lora(head.backbone)
        if is_chief():
            model = self.path / "model"
            with (
                current_distribution().alone(),
                new_directory(model, replace=True, contents=MODEL_FOLDER) as directory,
            ):
                head.save(directory)
        measured = head.test or head.development
        with progress_bar("Measuring", sum(map(len, measured)), "samples") as advance:
            scores = head.measure(measured, settings.batch_size, lambda samples: advance(samples, samples))
        result = {
            "settings": dataclasses.asdict(settings),
            "updates": self.last_update,
            "evaluations": read_measures(self.path / MEASURES_FILE, self.last_update),
            "update": self.last_update if best is None else best[0],
            DEVELOPMENT_MEAN: None if best is None else best[1],
            "scores": scores,
        }
        if is_chief():
            head.write_predictions(self.path)
            write_json(self.path / RESULT_FILE, result)
        return result

    def _fit(self, start: int, restored: Restored | None) -> tuple[str | None, int]:
        """(name of the signal that stopped training, or None; the last update)."""
        head, chief = self.head, is_chief()
        with contextlib.ExitStack() as stack:
            recorder = Recorder(self._writers(start) if chief else ())
            stack.callback(recorder.close)
            stop = stack.enter_context(StopSignals())
            scores = DevelopmentScores(
                head,
                recorder,
                start,
                self.updates,
                self.every,
                self.samples.updates_per_epoch,
                self.settings.batch_size,
                self.path / MEASURES_FILE,
                self.settings.patience,
            )
            if start >= self.updates or scores.exhausted:
                return None, start
            limit = min(MAX_CONSECUTIVE_SKIPS, self.updates)
            log = IntervalLog(
                recorder,
                start,
                self.updates,
                log_interval(self.every),
                {HeadTask.task_name: self.samples.batch_size},
                () if restored is None else restored.metrics,
                peak_flops_of_run(self.settings.dtype, None),
            )
            checkpoints = Checkpoints(
                self.checkpoints,
                start,
                self.settings.save_every,
                1,
                {},
                recorder,
                DEVELOPMENT_MEAN if head.development else None,
                write=chief,
                after_save=self.publish if chief else None,
            )
            end = StopOnSignal(start, stop)
            callbacks = [NotFinite(limit, start, self.settings.learning_rate), log, scores, checkpoints, end]
            steps = self.updates - start
            data, steps = self.samples.dataset(start), self.updates - start
            self.trainer.fit(data, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=callbacks)
            done = end.step == self.updates or scores.exhausted
            return None if done else stop.received, end.step

    def _writers(self, start):
        board = TensorBoardLog(self.path / "tensorboard", start, [HeadTask.task_name, "development"])
        shown: list[Any] = [*self.trainer.tasks, DevelopmentLine()]
        line = ProgressLine(self.updates, start, shown)
        return [HistoryFile(self.path / "history.csv", start), board, line]

    def _check_same_run(self):
        """Raises `InputError` if the folder holds a run of other settings or samples."""
        if not self.checkpoints.is_dir() or not (self.path / RUN_FILE).is_file():
            return
        before = read_json(self.path / RUN_FILE)
        if not isinstance(before, dict) or not isinstance(before.get("settings"), dict):
            raise InputError(f"{self.path / RUN_FILE}: is damaged; start over with --overwrite")
        different = differences(self.settings, self._identity, before)
        if different:
            raise InputError(
                f"{self.path}: holds an unfinished run of another kind: {', '.join(different)}; repeat its command to "
                "continue it, or start over with --overwrite"
            )


class NotFinite(SkippedSteps):
    """Ends a run after `limit` updates in a row whose gradients were not finite.

    Args:
        limit, start_step: int.
        learning_rate: float, for the message.
    """

    def __init__(self, limit: int, start_step: int, learning_rate: float) -> None:
        super().__init__(limit, start_step)
        self.learning_rate = learning_rate

    def after_step(self) -> None:
        before, self.skipped = self.skipped, self.counter(self._model.skipped_steps)
        if self.skipped == before:
            return
        if not self._model.uses_loss_scale:
            self.report(f"update {self.step}: gradients were not finite, the update is skipped")
        if self.counter(self._model.consecutive_skipped_steps) >= self.limit:
            raise InputError(
                f"updates {self.step - self.limit + 1}..{self.step}: gradients were not finite {self.limit} times in "
                f"a row; lower learning_rate = {self.learning_rate}, or see whether the model's weights are sound"
            )


def log_interval(every: int) -> int:
    """Updates from one row of history.csv to the next: a divisor of `every` (int), so each measure has a loss.

    The largest one of 10..50, else `every` itself.
    """
    divisors = (n for n in range(LONGEST_LOG_INTERVAL, SHORTEST_LOG_INTERVAL - 1, -1) if every % n == 0)
    return next(divisors, every)


def _compiles_by_request():
    import keras

    return keras.backend.backend() != "torch" and current_distribution().name != "tpu"
