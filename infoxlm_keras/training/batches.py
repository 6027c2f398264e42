"""What Keras' `fit` hands to a training step."""


def unpack_batch(data):
    """The batch `{task name: tensors}` in an element of the data set: itself, or a tuple or list that holds it."""
    return data[0] if isinstance(data, tuple | list) else data
