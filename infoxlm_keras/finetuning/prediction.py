"""Outputs of a model for any number of samples, in batches of few shapes."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array
from infoxlm_keras.evaluation.embedding import batches, padded_lengths, rows_by_length


def prediction_model(model: keras.Model) -> keras.Model:
    """A model of the same outputs, which runs on this process alone: make it outside of a strategy's `variables()`."""
    outputs = keras.Model(model.input, model.output, name=f"{model.name}_predictions")
    if keras.backend.backend() == "tensorflow":
        # XLA compiles for a second or more per padded length; forward passes alone do not regain that time.
        outputs.jit_compile = False
    return outputs


def predict(
    model: keras.Model,
    inputs: Mapping[str, Array],
    batch_size: int,
    progress: Callable[[int], object] = lambda samples: None,
) -> Array:
    """The outputs of `model`, which must not depend on padding.

    A sample is padded to the smallest of a few lengths that holds it, so short samples cost less, and each shape is
    compiled once.

    Args:
        model: keras.Model from `token_ids` and `padding_mask` to one output, see `prediction_model`.
        inputs: dict of `token_ids` and `padding_mask`, int [samples, length]; others are left out.
        batch_size: int, samples a forward pass.
        progress: function that is called with the number of samples just computed.

    Returns:
        float32 [samples, ...]; of an output with a vector a token [samples, length, ...], 0 at padding.
    """
    token_ids, padding_mask = (np.asarray(inputs[name], np.int32) for name in ("token_ids", "padding_mask"))
    samples, longest = token_ids.shape
    by_token = len(model.output.shape) == 3
    tail = tuple(model.output.shape)[2 if by_token else 1 :]
    outputs = np.zeros((samples, longest, *tail) if by_token else (samples, *tail), np.float32)
    sequences = [range(length) for length in padding_mask.sum(axis=1)]
    batch_size = min(batch_size, max(samples, 1))
    for length, rows in rows_by_length(sequences, padded_lengths(longest)):
        for batch in batches(rows, batch_size):
            # A partial batch is filled with copies of its last sample, so every length has one shape only.
            filled = [*batch, *[batch[-1]] * (batch_size - len(batch))]
            part = {"token_ids": token_ids[filled, :length], "padding_mask": padding_mask[filled, :length]}
            found = ops.convert_to_numpy(ops.cast(model.predict_on_batch(part), "float32"))[: len(batch)]
            if by_token:
                outputs[batch, :length] = found * padding_mask[batch, :length, None]
            else:
                outputs[batch] = found
            progress(len(batch))
    return outputs
