"""A pre-training run from configuration to saved model: build, restore or prepare, `model.fit`, save."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.config import RunSettings
from infoxlm_keras.distribution import current_distribution, is_chief
from infoxlm_keras.distribution.agreement import check_agreement, let_others_leave, number_of, wait_for_workers
from infoxlm_keras.distribution.host_compiler import compiles_here
from infoxlm_keras.distribution.strategies import check_batches, check_parts
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.evaluation.registry import evaluation_classes
from infoxlm_keras.files import storage
from infoxlm_keras.models import build_masked_lm, with_dropout
from infoxlm_keras.models.sentence_vector import trained_sentence_vector
from infoxlm_keras.pretrained import PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.reports.history import read_rows
from infoxlm_keras.reports.wandb_log import import_wandb
from infoxlm_keras.runs.assemble import build_pretrainer
from infoxlm_keras.runs.checkpoint import Restored, restore_best, restore_newest
from infoxlm_keras.runs.checkpoint_files import newest_step
from infoxlm_keras.runs.directory import RunDirectory
from infoxlm_keras.runs.fitting import best_by, fit
from infoxlm_keras.runs.queue_filling import fill_queue
from infoxlm_keras.runs.task_models import check_same_models, digests_of, load_task_models
from infoxlm_keras.runs.training_records import TrainingRecords
from infoxlm_keras.tasks.pretext_task import PretextTask
from infoxlm_keras.tasks.registry import task_class


@dataclasses.dataclass
class RunResult:
    """What a run leaves.

    Attributes:
        record: dict, the numbers of the last row of history.csv.
        step: int, steps done.
        model_directory: path (or str, an address) of the preset; None if the run was stopped.
        stopped_by: name of the signal that stopped the run before its last step, else None.
        best: None, or `{"name", "value", "step"}` of the best checkpoint, whose weights are the preset `best_model/`.
        tasks: tuple of the run's `PretextTask`s.
    """

    record: dict[str, float]
    step: int
    model_directory: PathLike | None
    stopped_by: str | None = None
    best: dict[str, Any] | None = None
    tasks: tuple[PretextTask, ...] = ()


def pretrain(
    config: RunSettings,
    data_dir: PathLike,
    output_dir: PathLike,
    init: PathLike | None = None,
    fresh: bool = False,
    overwrite: bool = False,
    wandb_project: str | None = None,
) -> RunResult:
    """Runs or resumes pre-training on the devices of `current_distribution()`.

    With several workers, each calls this with the same arguments and the same directories; only the chief writes.

    Args:
        config: `PretrainingConfig`.
        data_dir: str or path, the builders' output, or its address in a store (`gs://`, `s3://`).
        output_dir: str or path, or an address in a store. Holds `config.yaml`, `checkpoints/`, `history.csv`,
            `tensorboard/`, `plots/` and, at the end, the preset `model/`. If it holds checkpoints of this run, it
            continues from the newest intact one.
        init: optional model to start from, all that `load_pretrained` takes; None starts from random weights.
        fresh: bool, start at step 0; an error if `output_dir` holds a run.
        overwrite: bool, with `fresh`: remove that run, after everything for the new one was checked.
        wandb_project: optional name of a Weights & Biases project.

    Returns:
        `RunResult`.

    Raises:
        InputError: for records or a model that do not fit the configuration, or an output directory of another run.
    """
    with RunDirectory.opened(output_dir) as directory:
        changes = directory.check(config, fresh, overwrite, _models_read(config, init))
        run = PretrainingRun(config, data_dir, directory, init, wandb_project)
        with directory.claimed() if is_chief() else contextlib.nullcontext():
            if overwrite and is_chief():
                directory.start_over()
            run.restore_or_prepare(changes)
            stopped_by = run.train()
            result = run.finish() if stopped_by is None else run.stopped(stopped_by)
    if directory.mirror is not None and result.model_directory is not None:
        # The local copy is gone.
        result.model_directory = storage.join(directory.mirror.address, directory.model.name)
    return result


class PretrainingRun:
    """One run: its records, its model, and the steps from start to end.

    Call `restore_or_prepare`, `train`, and `finish` or `stopped`, in this order.

    Args:
        config: `PretrainingConfig`.
        data_dir: str or path, the builders' output.
        directory: `RunDirectory`, checked.
        init: see `pretrain`.
        wandb_project: see `pretrain`.
    """

    def __init__(
        self,
        config: RunSettings,
        data_dir: PathLike,
        directory: RunDirectory,
        init: PathLike | None = None,
        wandb_project: str | None = None,
    ) -> None:
        check_batches(config, current_distribution())
        if wandb_project is not None:
            import_wandb()
        self.config = config
        self.directory = directory
        self.init = None if init is None else str(init)
        self.wandb_project = wandb_project
        self.evaluations = evaluations_of(config)
        self.best_name = best_by(config, self.evaluations)
        self.records = TrainingRecords(data_dir, config)
        seed_everything(config.seed, compiled=config.jit_compile)
        check_agreement(number_of(self.records.digests), "the records; all of them must see the same --data_dir")
        with current_distribution().variables():
            self.masked_lm, self.tokenizer = _starting_point(config, self.records, init)
        self.records.check_fits(self.tokenizer, self.masked_lm.backbone.max_sequence_length)
        self.streams = self.records.streams()
        needs_records = any(evaluation.reads_validation_records for evaluation in self.evaluations)
        self.validation_streams = self.records.validation_streams() if needs_records else []
        with current_distribution().variables():
            models = load_task_models(config, self.tokenizer)
            self.pretrainer = build_pretrainer(config, self.masked_lm, models)
        for note in [note for task in self.pretrainer.tasks for note in task.notes()] if is_chief() else ():
            print(f"note: {note}")
        self.model_digests = digests_of(models)
        if models:
            check_agreement(number_of(self.model_digests), "the models that tasks load; all must see the same files")
        self.info = self._info()
        self.restored: Restored | None = None

    def restore_or_prepare(self, changes: Sequence[str] = ()) -> None:
        """Continues from the newest intact checkpoint, or writes the first files and fills the queues.

        Args:
            changes: lines about settings that differ from the run so far, printed on a resume.
        """
        config, directory = self.config, self.directory
        check_agreement(config.steps, "the number of steps; start all of them with the same arguments")
        self.restored = restore_newest(
            directory.checkpoints,
            self.pretrainer,
            self._check_same_inputs,
            before_assigning=lambda step: check_agreement(
                step, "the step to resume at; all of them must see the same --output_dir"
            ),
        )
        start = 0 if self.restored is None else self.restored.step
        if start > config.steps:
            raise InputError(
                f"{directory.path}: its run is at step {start} already, steps = {config.steps}; give "
                f"--steps {start} or more, or a new --output_dir"
            )
        if is_chief():
            directory.write_config(config)
        if self.restored is not None:
            print("\n".join([*changes, f"resuming at step {start} of {config.steps}"]), flush=True)
            return
        if config.save_initial_model and is_chief():
            with current_distribution().alone():
                save_pretrained(directory.initial_model, self.masked_lm, self.tokenizer, self.info, replace=True)
        for warning in self.records.warnings():
            print(f"warning: {warning}")
        for task in self.pretrainer.tasks:
            if task.entries_to_fill:
                fill_queue(self.pretrainer, task, self.records.filling_batches(task.task_name))

    def train(self) -> str | None:
        """Trains to the last step; returns the name of the signal that stopped it before, or None."""
        if self.restored is not None and self.restored.step >= self.config.steps:
            return None
        for evaluation in self.evaluations:
            evaluation.bind(self.pretrainer, self.tokenizer, self.validation_streams)
        of_run = {"seed": self.config.seed, "tasks": self.config.tasks, "init": self.init}
        return fit(
            self.pretrainer,
            self.config,
            self.streams,
            self.directory,
            self.restored,
            {**of_run, "data": self.info.data, "models": self.model_digests},
            self.evaluations,
            self.wandb_project,
        )

    def stopped(self, signal: str) -> RunResult:
        """`RunResult` of a run that the signal named `signal` (str) ended before its last step."""
        wait_for_workers()
        self.directory.refresh()
        step = newest_step(self.directory.checkpoints)
        check_agreement(step, "the step that was saved last")
        return RunResult(self._last_row(), step, None, signal, tasks=tuple(self.pretrainer.tasks))

    def finish(self) -> RunResult:
        """Writes the presets `model/` and, where a best checkpoint is kept, `best_model/`; returns the `RunResult`."""
        steps = self.config.steps
        # The chief may still be writing the last checkpoint, which all read here.
        wait_for_workers()
        self.directory.refresh()
        self._save(self.directory.model, steps)
        best = self._save_best()
        # A worker that ends closes the connections of the others, so all wait until the chief has written everything.
        check_agreement(steps, "the last step")
        let_others_leave()
        return RunResult(self._last_row(), steps, self.directory.model, best=best, tasks=tuple(self.pretrainer.tasks))

    def _save(self, path, steps):
        with self.pretrainer.averaged_weights():
            if is_chief():
                info = dataclasses.replace(self.info, steps=steps)
                with current_distribution().alone():
                    save_pretrained(path, self.masked_lm, self.tokenizer, info, replace=True)

    def _save_best(self):
        found = restore_best(self.directory.checkpoints, self.pretrainer, self.best_name)
        if found is None:
            return None
        step, value = found
        self._save(self.directory.best_model, step)
        return {"name": self.best_name, "value": value, "step": step}

    def _info(self):
        layer, pooling, normalize = trained_sentence_vector(self.pretrainer)
        return PretrainingInfo(
            universal_layer=layer,
            pooling=pooling,
            normalize=normalize,
            tasks=list(self.config.tasks),
            tokenizer_fingerprint=self.tokenizer.fingerprint,
            data=self.records.digests,
            settings=self.config.model_dump(),
        )

    def _check_same_inputs(self, kept):
        """Raises `InputError` if the checkpoint's run started elsewhere, read other records, or used other models."""
        check_same_start(kept, self.init, self.directory.path)
        check_same_data(kept, self.info, self.directory.path)
        check_same_models(kept, self.model_digests, self.directory.path)

    def _last_row(self):
        rows = read_rows(self.directory.history)
        return rows[-1] if rows else {}


def check_same_start(kept: dict[str, Any], init: str | None, output_dir: PathLike) -> None:
    """Raises `InputError` if one of two runs started from a model, whose size and tokenizer count, and one did not.

    Args:
        kept: dict that was saved with the checkpoint; one of an older release does not say how its run started.
        init: optional str, the model that this run is to start from; it may lie elsewhere than before.
        output_dir: path, for the message.
    """
    before = kept.get("init", init)
    if before is not None and init is None:
        raise InputError(f"{output_dir}: its run started from --init {before}; give it again, or a new --output_dir")
    if before is None and init is not None:
        raise InputError(
            f"--init {init}: the run in {output_dir} started from random weights; leave --init out to continue it, or "
            "give a new --output_dir"
        )


def check_same_data(kept: dict[str, Any], info: PretrainingInfo, output_dir: PathLike) -> None:
    """Raises `InputError` if the checkpoint's run read other records, in which samples have other numbers.

    Args:
        kept: dict that was saved with the checkpoint.
        info: `PretrainingInfo` of this run.
        output_dir: path, for the message.
    """
    different = sorted(kind for kind in info.data if kept["data"].get(kind) != info.data[kind])
    if different:
        raise InputError(
            f"{output_dir}: its run read other records ({', '.join(different)}/manifest.json differs); give the "
            "--data_dir of that run, or a new --output_dir"
        )


def seed_everything(seed: int, compiled: bool) -> None:
    """Seeds Keras, Python and NumPy, and makes TensorFlow's kernels deterministic: one seed, one result.

    Args:
        seed: int.
        compiled: bool, whether XLA compiles the step. XLA is deterministic on the CPU, and Keras compiles nothing if
            TensorFlow's deterministic kernels are enabled, so they are enabled for an uncompiled step only.
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow" and not (compiled and compiles_here()):
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _starting_point(config, records, init):
    """(masked LM, tokenizer): random weights, or the trained model that `init` names."""
    if init is None:
        check_parts(config.model.encoder_size, current_distribution())
        tokenizer = records.tokenizer
        dropout = 0.1 if config.model.dropout is None else config.model.dropout
        masked_lm = build_masked_lm(
            config.model.encoder_size, tokenizer.vocabulary_size, dropout=dropout, dtype=config.model.dtype
        )
        return masked_lm, tokenizer
    model = load_pretrained(init, dtype=config.model.dtype)
    # Its sizes replace those of the configuration.
    check_parts(model.masked_lm.backbone, current_distribution())
    if not model.has_head:
        print(f"warning: {init} holds no masked-LM head: MMLM and TLM begin with a random one")
    return with_dropout(model.masked_lm, config.model.dropout or 0.0), model.tokenizer


def evaluations_of(config: RunSettings) -> list[Evaluation]:
    """List of the `Evaluation`s that `config` (`PretrainingConfig`) switches on, with their data."""
    found = [evaluation.from_config(config) for evaluation in evaluation_classes().values()]
    return [evaluation for evaluation in found if evaluation is not None]


def _models_read(config, init):
    """Names of the models that a run starts from and works with."""
    of_tasks = [task_class(task).models_to_load(config.task(task)).values() for task in config.tasks]
    return [*([] if init is None else [init]), *(source for sources in of_tasks for source in sources)]
