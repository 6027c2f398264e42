"""TensorFlow's graphs without the rewriting that pays off after many steps only; it is a fifth of a short run's time.

Results differ in rounding, so runs that are compared bit by bit must all have it or none of them.
"""

import contextlib


@contextlib.contextmanager
def quick_graphs():
    """Context in which TensorFlow runs graphs as they were traced."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
