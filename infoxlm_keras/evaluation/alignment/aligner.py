"""Links between the words of sentence pairs, from the similarity of their pieces' hidden states at every layer."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.alignment.methods import METHODS
from infoxlm_keras.evaluation.embedding import batches, checked_length, pad, padded_lengths, rows_by_length
from infoxlm_keras.models.encoder import hidden_states_model
from infoxlm_keras.tokenizer import END_ID, START_ID

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.tokenizer import Tokenizer

ENCODINGS = ("joint", "separate")
SIMILARITIES = ("dot", "cosine")
# `<s> source </s> target </s>`, and `<s> sentence </s>`.
JOINT_SPECIAL_TOKENS, SEPARATE_SPECIAL_TOKENS = 3, 2
SHORTEST = 1e-12


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The pieces of a sentence: each word is segmented by itself.

    Attributes:
        ids: list of int, token ids.
        words: int64 [pieces], the word of each piece, from 0.
        count: int, words of the sentence.
        empty: int, words that the tokenizer makes nothing of.
    """

    ids: list[int]
    words: Array
    count: int
    empty: int

    def cut(self, size: int) -> "Pieces":
        """The first `size` pieces."""
        return dataclasses.replace(self, ids=self.ids[:size], words=self.words[:size])


class WordAligner:
    """Links words by the similarity of their pieces: two words are linked if a piece of each is.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone` of L layers.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        layers: hidden states to use, indices in 0..L (0 = embeddings); None: all.
        encoding: "joint", the two sentences in one sequence `<s> source </s> target </s>`, as in TLM and by
            XLM-Align's authors; "separate", each in a sequence of its own, as in SimAlign.
        similarity: "dot" (XLM-Align) or "cosine", scaled to 0..1 (SimAlign), of two hidden states.
        batch_size: int, sequences a forward pass.
        max_length: int, tokens a sequence; None: the encoder's positions. The pieces of a longer pair are cut, so
            that both sides keep half of the space, and the longer side also what the shorter one does not need.

    Attributes:
        cut, empty: int, sentence pairs that were cut and words without a piece, of all calls.

    Raises:
        InputError: for a setting out of range.

    Example:
    ```python
    aligner = WordAligner(model.backbone, model.tokenizer, layers=[8])
    pairs = [(["the", "house"], ["la", "maison"])]
    for number, links in aligner(pairs, ["itermax"]):
        source_words, target_words = links["itermax"][0].nonzero()  # at the first of the layers
    ```
    """

    def __init__(
        self,
        backbone: "keras_hub.models.XLMRobertaBackbone",
        tokenizer: "Tokenizer",
        layers: Sequence[int] | None = None,
        encoding: str = "joint",
        similarity: str = "dot",
        batch_size: int = 16,
        max_length: int | None = None,
    ) -> None:
        for name, value, values in (("encoding", encoding, ENCODINGS), ("similarity", similarity, SIMILARITIES)):
            if value not in values:
                raise InputError(f"{name} = {value!r}: must be one of {', '.join(values)}")
        max_length = checked_length(backbone, max_length, JOINT_SPECIAL_TOKENS + 2)
        if batch_size < 1:
            raise InputError(f"batch_size = {batch_size}: must be at least 1")
        self.layers = list(range(backbone.num_layers + 1) if layers is None else layers)
        self.tokenizer = tokenizer
        self.encoding = encoding
        self.similarity = similarity
        self.batch_size = batch_size
        self.max_length = max_length
        self.cut = self.empty = 0
        self._model = _stacked_model(backbone, self.layers)

    def __call__(
        self,
        pairs: Sequence[tuple[Sequence[str], Sequence[str]]],
        methods: Sequence[str],
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[tuple[int, dict[str, list[Array]]]]:
        """Yields the links of each pair, the longest pairs first.

        Args:
            pairs: list of (words, words), two lists of str.
            methods: names of `METHODS`.
            progress: optional function that is called with the number of pairs just aligned.

        Yields:
            (number of the pair, {method: list of bool [source words, target words], one a layer}).
        """
        pieces = [(self._pieces(source), self._pieces(target)) for source, target in pairs]
        self.empty += sum(side.empty for pair in pieces for side in pair)
        kept = [self._fitted(source, target) for source, target in pieces]
        self.cut += sum(
            any(len(new.ids) < len(old.ids) for old, new in zip(before, after, strict=True))
            for before, after in zip(pieces, kept, strict=True)
        )
        for number, source, target in self._states(kept):
            yield number, self._links(source, target, kept[number], methods)
            if progress is not None:
                progress(1)

    def _pieces(self, words):
        encoded = self.tokenizer.encode(list(words))
        lengths = [len(ids) for ids in encoded]
        return Pieces(
            ids=[token_id for ids in encoded for token_id in ids],
            words=np.repeat(np.arange(len(lengths)), lengths),
            count=len(lengths),
            empty=lengths.count(0),
        )

    def _fitted(self, source, target):
        """Both sides, cut to the space of a sequence."""
        if self.encoding == "separate":
            space = self.max_length - SEPARATE_SPECIAL_TOKENS
            return source.cut(space), target.cut(space)
        space = self.max_length - JOINT_SPECIAL_TOKENS
        half = space // 2
        of_source = max(half, space - len(target.ids))
        return source.cut(of_source), target.cut(space - min(of_source, len(source.ids)))

    def _states(self, kept):
        """Yields (number of the pair, states of the source, of the target): float32 [layers, pieces, dim] each."""
        if self.encoding == "joint":
            rows = [[START_ID, *source.ids, END_ID, *target.ids, END_ID] for source, target in kept]
            for number, states in self._encoded(rows):
                first, second = (len(side.ids) for side in kept[number])
                yield number, states[:, 1 : 1 + first], states[:, 2 + first : 2 + first + second]
            return
        # Both sides of a few pairs at a time, so that the states of a pair are not kept for long.
        order = sorted(range(len(kept)), key=lambda number: -max(len(side.ids) for side in kept[number]))
        for numbers in batches(order, 8 * self.batch_size):
            rows = [[START_ID, *side.ids, END_ID] for number in numbers for side in kept[number]]
            states = {row: found[:, 1 : len(rows[row]) - 1].copy() for row, found in self._encoded(rows)}
            for place, number in enumerate(numbers):
                yield number, states[2 * place], states[2 * place + 1]

    def _encoded(self, rows):
        """Yields (row, float32 [layers, padded length, dim])."""
        for length, numbers in rows_by_length(rows, padded_lengths(self.max_length)):
            for batch in batches(numbers, self.batch_size):
                # A partial batch is filled with copies of its last row, so every length has one shape only.
                filled = [*batch, *[batch[-1]] * (self.batch_size - len(batch))]
                token_ids, padding_mask = pad([rows[number] for number in filled], length)
                output = self._model.predict_on_batch({"token_ids": token_ids, "padding_mask": padding_mask})
                yield from zip(batch, output, strict=False)

    def _links(self, source_states, target_states, pair, methods):
        source, target = pair
        found: dict[str, list[Array]] = {method: [] for method in methods}
        if self.similarity == "cosine":
            source_states, target_states = _unit(source_states), _unit(target_states)
        similarities = source_states @ target_states.swapaxes(1, 2)
        if self.similarity == "cosine":
            # From 0 to 1, as SimAlign's: itermax lowers values by a factor, which only counts as meant above 0.
            similarities = (1 + similarities) / 2
        for similarity in similarities:
            for method in methods:
                links = np.zeros((source.count, target.count), bool)
                if similarity.size:
                    rows, columns = METHODS[method](similarity).nonzero()
                    links[source.words[rows], target.words[columns]] = True
                found[method].append(links)
        return found


def _unit(states):
    return states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), SHORTEST)


def _stacked_model(backbone, layers):
    """keras.Model from the backbone's inputs to hidden states, float32 [batch, layers, length, dim]."""
    states = hidden_states_model(backbone, layers).outputs
    output = ops.stack([ops.cast(state, "float32") for state in states], axis=1)
    model = keras.Model(backbone.input, output, name="stacked_hidden_states")
    if keras.backend.backend() == "tensorflow":
        # As for `TextEmbedder`: forward passes alone do not regain the time that XLA compiles.
        model.jit_compile = False
    return model
