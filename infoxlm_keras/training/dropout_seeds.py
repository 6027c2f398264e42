"""The states from which a model's dropout draws."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops


def seed_states(model: keras.Model) -> list[keras.Variable]:
    """The states of all seed generators of `model`."""
    return [generator.state for layer in model._flatten_layers() for generator in _generators(layer)]


@contextlib.contextmanager
def seeds_restored(model: keras.Model) -> Iterator[None]:
    """Context after which `model` draws the dropout masks again that it drew within (TensorFlow, PyTorch)."""
    states = seed_states(model)
    before = [ops.copy(state.value) for state in states]
    try:
        yield
    finally:
        for state, value in zip(states, before, strict=True):
            state.assign(value)


def _generators(layer):
    return getattr(layer, "_seed_generators", ())
