"""The records of a run: opened once, checked against the model, handed out as streams."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.config import RunSettings
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import Manifest, check_tokenizer, read_manifest
from infoxlm_keras.tasks.registry import task_class, tasks_with_batches
from infoxlm_keras.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tensorflow as tf

# The queue is filled from another seed, so that training does not begin with the same samples.
FILLING_SEED_OFFSET = 1_000_003


class TrainingRecords:
    """What the builders wrote for the tasks of a run.

    Each manifest is opened once in a run, by the constructor.

    Args:
        data_dir: str or path, the builders' output, or its address in a store.
        config: `PretrainingConfig`.

    Attributes:
        manifests: dict of kind (`"mmlm"`, `"bitext"`) to `Manifest`, of the kinds that the tasks need.
        digests: dict of kind to `"sha256:..."` of its manifest file; kept in checkpoints.

    Raises:
        InputError: if the records of a task are missing or their manifest is damaged.

    Example:
    ```python
    records = TrainingRecords("records", load_config("demo"))
    records.check_fits(records.tokenizer, positions=512)
    dataset = joined_dataset(records.streams(), start_step=0)
    ```
    """

    def __init__(self, data_dir: PathLike, config: RunSettings) -> None:
        self.data_dir = data_dir
        self.config = config
        kinds = list(dict.fromkeys(task_class(name).record_kind for name in config.tasks))
        self.manifests = {kind: read_manifest(data_dir, kind) for kind in kinds}
        for manifest in self.manifests.values():
            _check_held_out(manifest, config.data.validation_records)
        self.digests = {kind: manifest.digest for kind, manifest in self.manifests.items()}

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The `Tokenizer` that the records were made with, from beside them."""
        manifest = self.manifest_of(self.config.tasks[0])
        return load_tokenizer(manifest.directory / manifest.tokenizer.file)

    def manifest_of(self, task_name: str) -> Manifest:
        """The `Manifest` of the records that the task `task_name` (str) reads."""
        return self.manifests[task_class(task_name).record_kind]

    def check_fits(self, tokenizer: Tokenizer, positions: int) -> None:
        """Raises `InputError` for records of another tokenizer, or longer than the model's `positions` (int)."""
        for manifest in self.manifests.values():
            check_tokenizer(manifest, tokenizer)
        for name in tasks_with_batches(self.config.tasks):
            task, manifest = task_class(name), self.manifest_of(name)
            length = task.longest_sequence(manifest, self.config.data.longest_pair)
            if length > positions:
                raise InputError(
                    f"{self.data_dir}/{task.record_kind}: the sequences of {task.label} have {length} tokens, but the "
                    f"model has {positions} positions; {task.shorter_sequences(positions)}, or train a model with "
                    f"more (without --init: --set model.max_sequence_length={length})"
                )

    def warnings(self) -> list[str]:
        """List of str: warnings about records that do not suit the tasks' settings."""
        found = [
            task_class(name).corpus_warning(self.config.task(name), self.manifest_of(name))
            for name in self.config.tasks
        ]
        return [warning for warning in found if warning is not None]

    def streams(
        self,
        split: str = "train",
        tasks: Iterable[str] | None = None,
        seed: int | None = None,
        micro_batches: int | None = None,
    ) -> list[BatchStream]:
        """The streams of the tasks, for `infoxlm_keras.data.streams.joined_dataset`.

        Args:
            split: "train" or "validation"; `data.validation_records` says what is held out.
            tasks: list of task names; None: all of the run.
            seed: int; None: the run's.
            micro_batches: int, micro-batches in a batch; None: the run's `accumulation_steps`.
        """
        config = self.config
        masking = config.masking.model_dump()
        if split != "train":
            # Losses that are compared over the run are made on the same masks.
            masking["final_probability"] = None
        common = {
            "vocabulary_size": self.tokenizer.vocabulary_size,
            "seed": config.seed if seed is None else seed,
            "language_exponent": config.data.language_exponent,
            "masking": Masking(**masking, steps=config.steps),
            "split": split,
            "validation_records": config.data.validation_records,
        }
        micro_batches = config.optimizer.accumulation_steps if micro_batches is None else micro_batches
        found = []
        for name in tasks_with_batches(config.tasks) if tasks is None else tasks:
            settings = config.task(name)
            batch_size = settings.batch_size * micro_batches
            longest = config.data.longest_pair
            found.append(task_class(name).stream(settings, self.manifest_of(name), batch_size, longest, **common))
        return found

    def validation_streams(self) -> list[BatchStream]:
        """Streams of the held-out records, without accumulation (`evaluate` takes a batch in one piece).

        An empty list if `data.validation_records` is 0.
        """
        return self.streams("validation", micro_batches=1) if self.config.data.validation_records else []

    def filling_batches(self, task_name: str) -> tf.data.Dataset:
        """Endless data set of `{task_name: batch}` to fill the task's queue from, under another seed."""
        from infoxlm_keras.data.streams import joined_dataset

        return joined_dataset(self.streams(tasks=[task_name], seed=self.config.seed + FILLING_SEED_OFFSET))


def _check_held_out(manifest, validation_records):
    """Raises `InputError` if more records are held out than share no side with those that are trained on."""
    arguments = manifest.created_by.get("arguments")
    built = arguments.get("held_out") if isinstance(arguments, dict) else None
    if isinstance(built, int) and validation_records > built:
        raise InputError(
            f"data.validation_records = {validation_records}: {manifest.directory} was built with --held_out {built}; "
            "hold out that many at most, or build it again with more"
        )
