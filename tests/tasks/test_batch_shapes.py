"""The shapes that a task states without records are those of its stream."""

import pytest

from infoxlm_keras.config import load_config
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.runs.training_records import TrainingRecords
from infoxlm_keras.tasks.pretext_task import SampleLengths
from infoxlm_keras.tasks.registry import task_class


@pytest.mark.parametrize("overrides", [["tasks=[mmlm,tlm,xlco,dwa,mrtd,trtd]"], ["xlco.mixup=false"]])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_shapes_are_those_of_a_batch_that_is_read(inputs, overrides, micro_batches):
    config = load_config(inputs / "config.yaml", [*overrides, f"optimizer.accumulation_steps={micro_batches}"])
    masking = Masking(**config.masking.model_dump())
    for stream in TrainingRecords(inputs / "data", config).streams():
        batch = next(iter(stream.dataset(0).take(1)))
        settings = config.task(stream.name)
        samples = settings.batch_size * micro_batches
        shapes = task_class(stream.name).batch_shapes(settings, samples, SampleLengths(32, 30), masking)
        assert {name: (tuple(tensor.shape), tensor.dtype.name) for name, tensor in batch.items()} == shapes
