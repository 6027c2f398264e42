"""Computes sentence vectors: the pooled hidden states of an encoder, for any number of texts."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.encoder import hidden_states_model
from infoxlm_keras.models.pooling import check_pooling, pool
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.tokenizer import Tokenizer

SPECIAL_TOKENS = 2  # <s> and </s>


def checked_length(backbone: "keras_hub.models.XLMRobertaBackbone", max_length: int | None, shortest: int) -> int:
    """int: `max_length`, or the encoder's positions for None.

    Raises:
        InputError: if it is not in `shortest`..positions.
    """
    longest = backbone.max_sequence_length
    max_length = longest if max_length is None else max_length
    if not shortest <= max_length <= longest:
        raise InputError(f"max_length = {max_length}: must be in {shortest}..{longest}, the encoder's positions")
    return max_length


class TextEmbedder:
    """Turns texts into pooled hidden states. Create it once and call it often: it compiles each shape only once.

    A text is padded to the smallest of a few fixed lengths that holds it, independently of the batch. Its vector
    therefore does not depend on the other texts or their order.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone` of L layers.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        layers: hidden states to return, indices in 0..L (0 = embeddings, l = after Transformer layer l); None: all.
            Layers above the highest are not computed.
        pooling: "cls", "mean" or "max", see `infoxlm_keras.models.pool`.
        batch_size: int, texts a forward pass.
        max_length: int, tokens a text with `<s>` and `</s>`; longer texts are cut. None: the encoder's positions.

    Raises:
        InputError: for a setting out of range.

    Example:
    ```python
    embedder = TextEmbedder(model.backbone, model.tokenizer, layers=[8])
    vectors = embedder(["Guten Morgen", "Good morning"])  # float32 [1, 2, dim]
    ```
    """

    def __init__(
        self,
        backbone: "keras_hub.models.XLMRobertaBackbone",
        tokenizer: "Tokenizer",
        layers: Sequence[int] | None = None,
        pooling: str = "mean",
        batch_size: int = 64,
        max_length: int | None = None,
    ) -> None:
        check_pooling(pooling)
        max_length = checked_length(backbone, max_length, SPECIAL_TOKENS + 1)
        if batch_size < 1:
            raise InputError(f"batch_size = {batch_size}: must be at least 1")
        self.layers = list(range(backbone.num_layers + 1) if layers is None else layers)
        if not self.layers:
            raise InputError("layers = []: give at least one hidden state")
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.batch_size = batch_size
        self.max_length = max_length
        self.dim = backbone.hidden_dim
        self._model = _pooled_model(backbone, self.layers, pooling)

    def __call__(self, texts: Iterable[str], progress: Callable[[int], object] | None = None) -> Array:
        """Vectors of `texts`.

        Args:
            texts: list of str.
            progress: optional function that is called with the number of texts just embedded.

        Returns:
            float32 [len(layers), len(texts), dim], not normalised.
        """
        texts = list(texts)
        vectors = np.empty((len(self.layers), len(texts), self.dim), np.float32)
        sequences = [
            [START_ID, *token_ids[: self.max_length - SPECIAL_TOKENS], END_ID]
            for token_ids in self.tokenizer.encode(texts)
        ]
        batch_size = min(self.batch_size, len(texts))
        for length, rows in rows_by_length(sequences, padded_lengths(self.max_length)):
            for batch in batches(rows, batch_size):
                # A partial batch is filled with copies of its last text, so every length has one shape only.
                filled = [*batch, *[batch[-1]] * (batch_size - len(batch))]
                token_ids, padding_mask = pad([sequences[row] for row in filled], length)
                output = self._model.predict_on_batch({"token_ids": token_ids, "padding_mask": padding_mask})
                vectors[:, batch] = np.swapaxes(output[: len(batch)], 0, 1)  # [batch, layers, dim] before
                if progress is not None:
                    progress(len(batch))
        return vectors


def embed_texts(
    backbone: "keras_hub.models.XLMRobertaBackbone",
    tokenizer: "Tokenizer",
    texts: Iterable[str],
    layers: Sequence[int] | None = None,
    pooling: str = "mean",
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Array:
    """Vectors of `texts` in one call; arguments as of `TextEmbedder` and its `__call__`.

    Returns:
        float32 [len(layers), len(texts), dim].
    """
    return TextEmbedder(backbone, tokenizer, layers, pooling, batch_size, max_length)(texts, progress)


def padded_lengths(max_length: int) -> list[int]:
    """The lengths that sequences are padded to, ascending: 8, 12, 16, 24, 32, 48, ... and `max_length`."""
    powers = itertools.takewhile(lambda length: length < max_length, (2**power for power in itertools.count(3)))
    lengths = {bound for power in powers for bound in (power, power * 3 // 2) if bound < max_length}
    return [*sorted(lengths), max_length]


def pad(sequences: Sequence[Sequence[int]], length: int) -> tuple[Array, Array]:
    """Sequences as one array.

    Args:
        sequences: list of lists of int, none longer than `length`.
        length: int.

    Returns:
        (token_ids, padding_mask): int32 [batch, length] each, padded with `<pad>` and 0.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    padding_mask = np.arange(length) < lengths[:, None]
    token_ids = np.full(padding_mask.shape, PAD_ID, np.int32)
    token_ids[padding_mask] = list(itertools.chain.from_iterable(sequences))
    return token_ids, padding_mask.astype(np.int32)


def _pooled_model(backbone, layers, pooling):
    """keras.Model from the backbone's inputs to its pooled hidden states, float32 [batch, layers, dim]."""
    states = hidden_states_model(backbone, layers).outputs
    padding_mask = backbone.input["padding_mask"]
    vectors = ops.stack([pool(state, padding_mask, pooling) for state in states], axis=1)
    model = keras.Model(backbone.input, vectors, name="pooled_hidden_states")
    if keras.backend.backend() == "tensorflow":
        # XLA compiles for a second or more per padded length; forward passes alone do not regain that time.
        model.jit_compile = False
    return model


def rows_by_length(sequences: Sequence[Sequence[int]], lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yields (length, rows): the sequences that are padded to `length`; the longest first, to fail early."""
    bounds = np.searchsorted(lengths, [len(sequence) for sequence in sequences])
    for bound in range(len(lengths) - 1, -1, -1):
        rows = np.flatnonzero(bounds == bound).tolist()
        if rows:
            yield lengths[bound], rows


def batches(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yields `rows` in lists of `size`; the last may be shorter."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
