"""TensorFlow's training step through the compilers that JAX brings: its XLA program is handed to them.

TensorFlow traces the step for this machine's CPU and gives the program before any optimisation, which is the same for
all targets. `jaxlib` reads it as StableHLO. The variables must exist: they take the memory of one training state here.
"""

import re
import time
from typing import Any

import jax
from jax._src.interpreters.mlir import make_ir_context
from jaxlib import xla_client
from jaxlib.mlir import ir

from infoxlm_keras.compilation.program import program_facts
from infoxlm_keras.compilation.step import CompiledStep, as_input_error, batch_shapes
from infoxlm_keras.compilation.targets import Target
from infoxlm_keras.config import RunSettings
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.encoder import build_masked_lm
from infoxlm_keras.runs.assemble import build_pretrainer
from infoxlm_keras.tasks.pretext_task import SampleLengths

# An operation that StableHLO lacks; it changes no value, like the one that takes its place.
_COPY = re.compile(
    r'"?mhlo\.copy"?\(?\s*(?P<operand>%[\w.]+(?:#\d+)?)\)?(?: \{[^}]*\})? : (?:\([^)]*\) -> )?(?P<type>tensor<[^>]*>)'
)


def compile_tensorflow_step(
    config: RunSettings, target: Target, vocabulary_size: int, lengths: SampleLengths, strategy: str
) -> CompiledStep:
    """See `compile_step`; of one chip, which gets the whole batch.

    Raises:
        InputError: if `target` has several chips: what they send each other is not in the traced step; for `fsdp`.
    """
    if target.chips != 1 or strategy != "mirrored":
        one = {"tpu": "tpu:v5e:1x1", "gpu": "gpu:h100:1", "cpu": "cpu:1"}[target.platform]
        raise InputError(
            f"--target {target.name}, --strategy {strategy}: TensorFlow's step is compiled for one chip; give a "
            f"target such as {one}, or set KERAS_BACKEND=jax"
        )
    (device,) = target.devices()
    started = time.perf_counter()
    module = _stablehlo(_traced(config, vocabulary_size, lengths))
    traced = time.perf_counter()
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    with make_ir_context():
        program, devices = ir.Module.parse(module), xla_client.DeviceList((device,))
        # A client of accelerators that are not here can only compile; that of the CPU has one call for both.
        client = device.client
        compile_program = client.compile_and_load if target.platform == "cpu" else client.compile
        try:
            compiled = _Executable(compile_program(program, devices, options))
        except jax.errors.JaxRuntimeError as error:
            raise as_input_error(error, target) from None
    done = time.perf_counter()
    return CompiledStep(program_facts(compiled), traced - started, done - traced, compiled.as_text())


def _traced(config, vocabulary_size, lengths):
    """The step as a serialised XLA program, bytes."""
    import tensorflow as tf

    dropout = 0.1 if config.model.dropout is None else config.model.dropout
    masked_lm = build_masked_lm(config.model.encoder_size, vocabulary_size, dropout=dropout, dtype=config.model.dtype)
    # The whole step is compiled; its parts need not be by themselves.
    pretrainer = build_pretrainer(config.model_copy(update={"jit_compile": False}), masked_lm)
    batch = {
        name: {key: tf.zeros(shape, dtype) for key, (shape, dtype) in shapes.items()}
        for name, shapes in batch_shapes(config, lengths).items()
    }
    step = tf.function(lambda part: pretrainer.train_step((part,)), jit_compile=True, autograph=False)
    try:
        return step.experimental_get_compiler_ir(batch)(stage="hlo_serialized")
    except (tf.errors.OpError, ValueError) as error:
        raise InputError(
            f"TensorFlow gives no XLA program of the step: {' '.join(str(error).split())[:600]}"
        ) from None


def _stablehlo(hlo):
    """The program `hlo` (bytes) as text that JAX's clients compile."""
    module = xla_client._xla.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(hlo))
    text = module.decode() if isinstance(module, bytes) else str(module)
    return _COPY.sub(r"stablehlo.optimization_barrier \g<operand> : \g<type>", text)


class _Executable:
    """What `program_facts` asks of a compiled program."""

    def __init__(self, executable: Any) -> None:
        self.memory_analysis = executable.get_compiled_memory_stats
        self._executable = executable

    def as_text(self) -> str:
        return "\n".join(module.to_string() for module in self._executable.hlo_modules())

    def cost_analysis(self) -> dict[str, float]:
        try:
            cost = self._executable.cost_analysis()
        except jax.errors.JaxRuntimeError as error:
            # The compiler for GPUs does not count.
            if "UNIMPLEMENTED" not in str(error):
                raise
            return {}
        return (cost[0] if isinstance(cost, list) else cost) or {}
