"""Whether all workers of a run mean the same."""

import functools

from infoxlm_keras.distribution.current import current_distribution
from infoxlm_keras.errors import InputError


def check_agreement(value, what):
    """Waits until all workers have come here, and refuses to go on unless each has the same `value`.

    Args:
        value: int.
        what: str, what the value is and what to do if it differs, for the error.

    Raises:
        InputError: on every worker, if two of them differ.
    """
    values = values_of_workers(value)
    if len(set(values)) > 1:
        raise InputError(f"the workers do not agree on {what}: {', '.join(map(str, sorted(set(values))))}")


def values_of_workers(value):
    """List of int: the `value` of every replica's worker, once all have come here; `[value]` where there is one."""
    distribution = current_distribution()
    if distribution.num_workers == 1:
        return [value]
    return _joining(distribution)(value)


@functools.cache
def _joining(distribution):
    """The function that sends an int to all workers and receives theirs; traced once a run."""
    import tensorflow as tf

    from infoxlm_keras.distribution.replicas import Replicas

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([1], tf.int64)])
    def joined(own):
        return distribution.strategy.run(lambda: Replicas().join(own, axis=0))

    def values(value):
        results = distribution.strategy.experimental_local_results(joined(tf.constant([value], tf.int64)))
        return results[0].numpy().tolist()

    return values
