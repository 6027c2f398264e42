"""Whether XLA compiles for the device that a step without a strategy runs on, and whether that pays."""

import functools

import keras

NOT_COMPILED = (
    "jit_compile: left off, this build of TensorFlow (tensorflow-tpu) compiles for TPUs only; see --strategy tpu"
)
SLOW_ON_CPU = (
    "jit_compile: XLA computes bfloat16 products in float32 on a CPU; on one with products in bfloat16 "
    "jit_compile=false trains faster (infoxlm finetune: --no-jit_compile)"
)


def compiles_or_says_why(compute_dtype: str) -> bool:
    """`compiles_here()`, on TensorFlow; prints a line where it is False, and where compiling slows a step down.

    Args:
        compute_dtype: str, of the model.
    """
    import tensorflow as tf

    if not compiles_here():
        print(NOT_COMPILED, flush=True)
        return False
    on_cpu = all(device.device_type == "CPU" for device in tf.config.list_logical_devices())
    if on_cpu and compute_dtype == "bfloat16":
        print(SLOW_ON_CPU, flush=True)
    return True


@functools.cache
def compiles_here() -> bool:
    """bool: False if `jit_compile` would fail on the host, as it does with TensorFlow's build for TPUs.

    That build, `tensorflow-tpu`, compiles for TPUs only (`--strategy tpu`). To find out, a tiny program is
    compiled, once a process.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def add(value):
        return value + 1

    try:
        with tf.init_scope():
            add(tf.constant(1))
    except tf.errors.NotFoundError:
        # "could not find registered transfer manager for platform Host"
        return False
    return True
