"""From records to the data set that `InfoXLMPretrainer.fit` takes, for training loops of one's own."""

import numbers
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.config import RunSettings, load_config
from infoxlm_keras.errors import InputError
from infoxlm_keras.runs.training_records import TrainingRecords

if TYPE_CHECKING:
    import tensorflow as tf


def training_dataset(
    data_dir: PathLike, config: RunSettings | PathLike, start_step: int = 0, split: str = "train"
) -> "tf.data.Dataset":
    """The batches of a run, as `infoxlm pretrain` reads them.

    Batch number s is a pure function of (seed, s): `start_step` resumes on the very next batch.

    Args:
        data_dir: str or path, the builders' output, or that of `infoxlm_keras.write_records`.
        config: `PretrainingConfig`, or a file or name that `load_config` takes. Read are `tasks` and their sections,
            `seed`, `data`, `masking` and `optimizer.accumulation_steps`.
        start_step: int, steps that are done.
        split: "train", or "validation" (the records that `data.validation_records` holds out).

    Returns:
        tf.data.Dataset without end of `({task name: {name: tensor}},)`. Give `fit` the `steps_per_epoch`.

    Raises:
        InputError: for missing or damaged records, a configuration out of range, or a `start_step` that is not a
            whole number of at least 0.

    Example:
    ```python
    config = load_config("tiny", ["tasks=[tlm,xlco]"])
    pretrainer.fit(training_dataset("records", config), steps_per_epoch=1000)
    ```
    """
    from infoxlm_keras.data.streams import joined_dataset

    if isinstance(start_step, bool) or not isinstance(start_step, numbers.Integral) or start_step < 0:
        raise InputError(f"start_step = {start_step!r}: must be a whole number of steps, 0 or more")
    config = config if isinstance(config, RunSettings) else load_config(config)
    streams = TrainingRecords(data_dir, config).streams(split)
    # Keras takes a bare dict of some data sets for several inputs of a model.
    return joined_dataset(streams, int(start_step)).map(lambda batch: (batch,))
