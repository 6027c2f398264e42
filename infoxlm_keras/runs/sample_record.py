"""The records that a step read, computed from the order of the data."""

from collections.abc import Sequence
from typing import Any

from infoxlm_keras.data.batch_stream import BatchStream


def samples_of_steps(
    streams: Sequence[BatchStream], first_step: int, last_step: int
) -> dict[str, list[dict[str, Any]]]:
    """The samples of steps `first_step..last_step` (from 1), task by task.

    Args:
        streams: list of streams. One that draws by no `LanguageMixture` (an own one of a task) has numbers of
            samples only: its length is None and its `records` are empty.
        first_step, last_step: int, both included. Step s reads batch s - 1.

    Returns:
        {task: [{"length", "first_sample", "last_sample", "records"}, ...]}: a run of samples of one length bucket
        (MMLM has one), numbered from 0 in the order in which that bucket's samples are drawn, and
        `records = {language: {shard: [record within the shard, ...]}}`, shards (str) and records numbered from 0 as in
        the manifest. A sample of XLCO with mixup takes two records.
    """
    found = {}
    for stream in streams:
        runs: dict[int, dict[str, Any]] = {}
        for step in range(first_step - 1, last_step):
            length, mixture, batch = _batch(stream, step)
            per_sample = getattr(stream, "pairs_per_sample", 1)
            size = stream.batch_size * per_sample
            run = runs.setdefault(length, {"length": length, "first_sample": batch * stream.batch_size, "records": {}})
            run["last_sample"] = (batch + 1) * stream.batch_size - 1
            for name, _, shard, record in [] if mixture is None else mixture.samples(batch * size, size):
                run["records"].setdefault(name, {}).setdefault(str(shard), []).append(int(record))
        found[stream.name] = list(runs.values())
    return found


def _batch(stream, step):
    """(length bucket, its mixture, number of the batch within the bucket) of the batch with index `step`."""
    if not hasattr(stream, "bucket"):
        return getattr(stream, "length", None), getattr(stream, "mixture", None), step
    index, earlier = stream.bucket(step)
    return stream.lengths[index], stream.mixtures[index], earlier
