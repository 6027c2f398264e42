"""Short runs without what pays off in long ones only: rewritten graphs, a fifth of their time, and plots.

Results differ in rounding, so runs that are compared bit by bit must all have it or none of them. On JAX and PyTorch,
where TensorFlow reads data and computes with whole numbers only, no number differs.
"""

import contextlib
from unittest import mock


@contextlib.contextmanager
def quick_graphs():
    """Context in which TensorFlow runs graphs as they were traced."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@contextlib.contextmanager
def quick_runs():
    """`quick_graphs`, and runs of the pre-training command draw no plots."""
    with quick_graphs(), mock.patch("infoxlm_keras.runs.fitting.refresh_plots"):
        yield
