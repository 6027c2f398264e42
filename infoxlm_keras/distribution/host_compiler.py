"""Whether XLA compiles for the device that a step without a strategy runs on."""

import functools

import keras


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
