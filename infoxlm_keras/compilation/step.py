"""Compiles the training step of a configuration for a `Target`; on JAX without allocating a weight."""

import dataclasses
import time
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from infoxlm_keras.compilation.program import Program, program_facts
from infoxlm_keras.compilation.targets import Target
from infoxlm_keras.config import RunSettings
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.distribution.current import Distribution
from infoxlm_keras.distribution.jax_layouts import BATCH, FSDP, axes_of
from infoxlm_keras.distribution.jax_replicas import JaxReplicas, over_devices
from infoxlm_keras.distribution.strategies import check_batches, check_parts
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.encoder import build_masked_lm
from infoxlm_keras.models.tpu_attention import compiling_for
from infoxlm_keras.runs.assemble import build_pretrainer
from infoxlm_keras.tasks.pretext_task import SampleLengths
from infoxlm_keras.tasks.registry import task_class
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


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


def compile_step(
    config: RunSettings, target: Target, vocabulary_size: int, lengths: SampleLengths, strategy: str = "mirrored"
) -> CompiledStep:
    """The step as `infoxlm pretrain --strategy mirrored` (the same as `tpu` on one machine) or `fsdp` runs it.

    Args:
        config: `PretrainingConfig`.
        target: `Target`; its `prepare` was called before JAX was imported.
        vocabulary_size: int, rows of the token embedding.
        lengths: `SampleLengths` of the batch.
        strategy: "mirrored" or "fsdp".

    Raises:
        InputError: if a batch or the encoder cannot be cut over the chips, the program does not fit their memory, or
            it calls the host; for a task that works with another model; on TensorFlow, for several chips.
    """
    for name in config.tasks:
        models = task_class(name).models_to_load(config.task(name))
        if models:
            raise InputError(
                f"tasks = {config.tasks}: {name} works with another model ({', '.join(models)}), which is not loaded "
                "to compile a step; leave it out"
            )
    if keras.backend.backend() == "tensorflow":
        from infoxlm_keras.compilation.tensorflow_step import compile_tensorflow_step

        return compile_tensorflow_step(config, target, vocabulary_size, lengths, strategy)
    devices = target.devices()
    distribution = Distribution(strategy, len(devices), tuple(map(str, devices)))
    check_batches(config, distribution)
    check_parts(config.model.encoder_size, distribution)
    mesh = Mesh(np.array(devices), (BATCH,))
    layouts = FSDP if strategy == "fsdp" else {}

    def layout(variable):
        return PartitionSpec(*(axes_of(variable.path, layouts) or ()))

    replicas = JaxReplicas(mesh, BATCH, layout) if len(devices) > 1 else JaxReplicas()
    with over_devices(replicas), compiling_for(target.platform):
        started = time.perf_counter()
        pretrainer = abstract_pretrainer(config, vocabulary_size)
        state = _state(pretrainer, mesh, layout)
        batch = _batch(config, lengths, NamedSharding(mesh, PartitionSpec(BATCH)))
        # As Keras does, the state that comes out lies where the state that goes in does.
        places = jax.tree.map(lambda spec: spec.sharding, state)
        step = jax.jit(pretrainer.train_step, donate_argnums=0, out_shardings=(None, places))
        lowered = step.lower(state, (batch,))
        traced = time.perf_counter()
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            raise as_input_error(error, target) from None
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


def _state(pretrainer, mesh, layout):
    # An optimizer's variable is named after its weight, and lies where that lies.
    weights = {variable.path.replace("/", "_"): variable for variable in pretrainer.trainable_variables}

    def place(variable):
        owner = next((weight for name, weight in weights.items() if variable.name.startswith(name)), variable)
        return NamedSharding(mesh, layout(owner))

    def specs(variables):
        return [jax.ShapeDtypeStruct(tuple(v.shape), v.dtype, sharding=place(v)) for v in variables]

    return (
        specs(pretrainer.trainable_variables),
        specs(pretrainer.non_trainable_variables),
        specs(pretrainer.optimizer.variables),
        specs(pretrainer.metrics_variables),
    )


def batch_shapes(config: RunSettings, lengths: SampleLengths) -> dict[str, Any]:
    """dict of task to dict of name to (shape, dtype): a batch of one update, all micro-batches together."""
    masking = Masking(**config.masking.model_dump())
    shapes = {}
    for name, batch_size in config.batch_sizes.items():
        samples = batch_size * config.optimizer.accumulation_steps
        shapes[name] = task_class(name).batch_shapes(config.task(name), samples, lengths, masking)
    return shapes


def _batch(config, lengths, sharding):
    return {
        name: {key: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for key, (shape, dtype) in shapes.items()}
        for name, shapes in batch_shapes(config, lengths).items()
    }


class DoesNotFitError(InputError):
    """The program needs more memory than a chip has."""


def as_input_error(error: Exception, target: Target) -> InputError:
    """What a compiler raised, as the error to raise: `DoesNotFitError` if the memory of a chip is too small."""
    text = " ".join(str(error).split())
    if "RESOURCE_EXHAUSTED" in text or "Ran out of memory" in text:
        return DoesNotFitError(
            f"{target.name}: the step does not fit a chip's memory ({text[:300]}); give smaller batches "
            "(--set mmlm.batch_size=..., more accumulation_steps), or more chips"
        )
    return InputError(f"{target.name}: the compiler refused the step: {text[:600]}")
