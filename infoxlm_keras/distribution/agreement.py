"""Whether all workers of a run mean the same."""

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
    distribution = current_distribution()
    if distribution.num_workers == 1:
        return
    import tensorflow as tf

    from infoxlm_keras.distribution.replicas import Replicas

    @tf.function(autograph=False)
    def everyones(own):
        return distribution.strategy.run(lambda: Replicas().join(own, axis=0))

    joined = everyones(tf.constant([value], tf.int64))
    values = distribution.strategy.experimental_local_results(joined)[0].numpy().tolist()
    if len(set(values)) > 1:
        raise InputError(f"the workers do not agree on {what}: {', '.join(map(str, sorted(set(values))))}")
