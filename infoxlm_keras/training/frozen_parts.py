"""Which parts of a model are frozen, in a form that its `.keras` file can hold."""

from collections.abc import Mapping, Sequence

import keras


def frozen_parts(model: keras.Model) -> dict[str, list[int]]:
    """The positions of the frozen layers and weights of `model`, for `freeze_parts`.

    Positions, because names of layers need not be unique. A model that is built from the same configuration has the
    same layers and weights in the same order.

    Returns:
        dict: "layers" and "weights", each the sorted positions of those whose `trainable` is false.
    """
    return {
        "layers": [index for index, layer in enumerate(_layers(model)) if not layer.trainable],
        "weights": [index for index, weight in enumerate(model.weights) if not weight.trainable],
    }


def freeze_parts(model: keras.Model, frozen: Mapping[str, Sequence[int]]) -> None:
    """Sets `trainable` of all layers and weights of `model` to what `frozen_parts` found."""
    # From the outside in: a layer's flag passes on to the layers within it, which may have another of their own.
    for kind, parts in (("layers", _layers(model)), ("weights", model.weights)):
        positions = set(frozen[kind])
        for index, part in enumerate(parts):
            if part.trainable != (index not in positions):
                part.trainable = index not in positions


def _layers(model):
    """`model` and all layers within it, each before those that it holds."""
    layers, waiting, seen = [], [model], set()
    while waiting:
        layer = waiting.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            layers.append(layer)
            waiting.extend(reversed(layer._layers))
    return layers
