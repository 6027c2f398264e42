"""Compiles the training step of a configuration for a `Target`, without allocating a weight (JAX)."""

import dataclasses
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from infoxlm_keras.compilation.program import Program, program_facts
from infoxlm_keras.compilation.targets import Target
from infoxlm_keras.config import RunSettings
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.distribution.jax_replicas import JaxReplicas, over_devices
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.encoder import build_masked_lm
from infoxlm_keras.runs.assemble import build_pretrainer
from infoxlm_keras.tasks.pretext_task import SampleLengths
from infoxlm_keras.tasks.registry import task_class
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer

AXIS = "batch"


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A compiled step.

    Attributes:
        program: `Program`.
        trace_seconds, compile_seconds: float.
        text: str, the program (HLO).
    """

    program: Program
    trace_seconds: float
    compile_seconds: float
    text: str


def compile_step(config: RunSettings, target: Target, vocabulary_size: int, lengths: SampleLengths) -> CompiledStep:
    """The step as `infoxlm pretrain --strategy mirrored` (or `tpu`) runs it on `target`.

    Args:
        config: `PretrainingConfig`.
        target: `Target`; its `prepare` was called before JAX was imported.
        vocabulary_size: int, rows of the token embedding.
        lengths: `SampleLengths` of the batch.

    Raises:
        InputError: if a batch cannot be cut over the chips, the program does not fit their memory, or it calls the
            host.
    """
    devices = target.devices()
    for name in config.tasks:
        if config.task(name).batch_size % len(devices):
            raise InputError(
                f"{name}.batch_size = {config.task(name).batch_size}: cannot be cut into {len(devices)} equal parts, "
                f"one for each chip of {target.name}"
            )
    mesh = Mesh(np.array(devices), (AXIS,))
    with over_devices(JaxReplicas(mesh, AXIS) if len(devices) > 1 else JaxReplicas()):
        started = time.perf_counter()
        pretrainer = abstract_pretrainer(config, vocabulary_size)
        state = _state(pretrainer, NamedSharding(mesh, PartitionSpec()))
        batch = _batch(config, lengths, NamedSharding(mesh, PartitionSpec(AXIS)))
        lowered = jax.jit(pretrainer.train_step, donate_argnums=0).lower(state, (batch,))
        traced = time.perf_counter()
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            raise _as_input_error(error, target) from None
        done = time.perf_counter()
    return CompiledStep(program_facts(compiled), traced - started, done - traced, compiled.as_text() or "")


def abstract_pretrainer(config: RunSettings, vocabulary_size: int) -> InfoXLMPretrainer:
    """The pretrainer of `config`, whose variables have shapes and no values."""
    built = []

    def build():
        dropout = 0.1 if config.model.dropout is None else config.model.dropout
        masked_lm = build_masked_lm(
            config.model.encoder_size, vocabulary_size, dropout=dropout, dtype=config.model.dtype
        )
        built.append(build_pretrainer(config, masked_lm))
        return 0

    jax.eval_shape(build)
    return built[0]


def _state(pretrainer, sharding):
    def specs(variables):
        return [jax.ShapeDtypeStruct(tuple(v.shape), v.dtype, sharding=sharding) for v in variables]

    return (
        specs(pretrainer.trainable_variables),
        specs(pretrainer.non_trainable_variables),
        specs(pretrainer.optimizer.variables),
        specs(pretrainer.metrics_variables),
    )


def _batch(config, lengths, sharding) -> dict[str, Any]:
    masking = Masking(**config.masking.model_dump())
    batch = {}
    for name in config.tasks:
        settings = config.task(name)
        samples = settings.batch_size * config.optimizer.accumulation_steps
        shapes = task_class(name).batch_shapes(settings, samples, lengths, masking)
        batch[name] = {
            key: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for key, (shape, dtype) in shapes.items()
        }
    return batch


class DoesNotFitError(InputError):
    """The program needs more memory than a chip has."""


def _as_input_error(error, target):
    text = " ".join(str(error).split())
    if "RESOURCE_EXHAUSTED" in text or "Ran out of memory" in text:
        return DoesNotFitError(
            f"{target.name}: the step does not fit a chip's memory ({text[:300]}); give smaller batches "
            "(--set mmlm.batch_size=..., more accumulation_steps), or more chips"
        )
    return InputError(f"{target.name}: the compiler refused the step: {text[:600]}")
