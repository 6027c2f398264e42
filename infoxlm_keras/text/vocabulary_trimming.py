"""Leaves pieces out of the vocabulary of a trained model: what stays keeps its order, and splits text as before."""

import collections
import itertools
from collections.abc import Iterable

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.sentencepiece_proto import NORMAL, RESERVED_PIECES, UNIGRAM, parse_model
from infoxlm_keras.tokenizer import FIRST_PIECE_ID, Tokenizer

# Sentences that are encoded at once.
SENTENCES = 10_000


class PieceCounts:
    """Counts how often each piece occurs in the text of each language.

    Args:
        tokenizer: `Tokenizer` of a unigram model.

    Attributes:
        by_language: dict of language to int64 [vocabulary], occurrences of each token id.
        sentences: dict of language to int.
        characters: set of str, the characters of the normalised text.
        required: set of int, token ids that stay however rare they are.

    Raises:
        InputError: for another kind of model, in which a piece is made of others that must be there.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if parse_model(tokenizer.proto).trainer_spec.model_type != UNIGRAM:
            raise InputError(
                f"{tokenizer.source}: is no unigram model, and pieces of other models are made of pieces, so none can "
                "be left out"
            )
        self.tokenizer = tokenizer
        self.by_language: dict[str, Array] = {}
        self.sentences: collections.Counter[str] = collections.Counter()
        self.characters: set[str] = set()
        self.required: set[int] = set()

    def add(self, language: str, sentences: Iterable[str]) -> None:
        """Counts the pieces of `sentences`, iterable of str, of which a block is held at a time."""
        sentences = iter(sentences)
        counts = self.by_language.setdefault(language, np.zeros(self.tokenizer.vocabulary_size, np.int64))
        while block := list(itertools.islice(sentences, SENTENCES)):
            token_ids, _ = self.tokenizer.encode_ragged(block)
            counts += np.bincount(token_ids, minlength=len(counts))
            self.sentences[language] += len(block)
            for text in self.tokenizer.processor.normalize(block):
                self.characters.update(text)

    def require(self, texts: Iterable[str]) -> None:
        """Keeps the pieces of `texts`, iterable of str, which stand before other text, with or without a space."""
        for text in texts:
            for form in (text, text.rstrip()):
                self.required.update(*self.tokenizer.encode([form]))
                self.characters.update(*self.tokenizer.processor.normalize([form]))

    @property
    def counts(self) -> Array:
        """int64 [vocabulary], the sum over all languages."""
        return sum(self.by_language.values(), np.zeros(self.tokenizer.vocabulary_size, np.int64))


def kept_ids(pieces: PieceCounts, min_count: int = 1, size: int | None = None) -> Array:
    """The ids that stay, ascending: int64, without `<mask>`, which is the last id of any vocabulary.

    Those of the special tokens, and of pieces

    1. that are no text (control pieces, bytes) or were defined by the user,
    2. of one character, if the text holds that character, so that no character becomes unknown,
    3. with the lowest score of all: what an unknown character costs is computed from it,
    4. of `pieces.required`,
    5. that occur at least `min_count` times; with `size`, the most frequent of them, the lower id of equals.

    Args:
        pieces: `PieceCounts`.
        min_count: int >= 1.
        size: int or None, ids of the trimmed vocabulary, `<mask>` included.

    Raises:
        InputError: for a `size` that is less than 1. to 4. need, or a number out of range.
    """
    if min_count < 1:
        raise InputError(f"--min_count {min_count}: must be at least 1")
    model = parse_model(pieces.tokenizer.proto).pieces
    normal = [number for number in range(RESERVED_PIECES, len(model)) if model[number].type == NORMAL]
    lowest = min(normal, key=lambda number: model[number].score, default=None)
    always = {*range(RESERVED_PIECES), *({lowest} if lowest is not None else ())}
    always.update(number for number in range(RESERVED_PIECES, len(model)) if model[number].type != NORMAL)
    always.update(number for number in normal if model[number].piece in pieces.characters)
    counts = pieces.counts
    # SentencePiece number n is token id n + 1, but for the first three; `<pad>` has no number.
    required = {token_id for token_id in pieces.required if token_id <= len(model)}
    fixed = {*range(FIRST_PIECE_ID), *required, *(number + 1 for number in always if number >= RESERVED_PIECES)}
    used = [number + 1 for number in normal if number + 1 not in fixed and counts[number + 1] >= min_count]
    used.sort(key=lambda token_id: (-counts[token_id], token_id))
    if size is not None:
        room = size - len(fixed) - 1
        if room < 0:
            raise InputError(
                f"--vocabulary_size {size}: is less than the special tokens and the text's characters need, which is "
                f"{len(fixed) + 1}"
            )
        used = used[:room]
    return np.array(sorted({*fixed, *used}), np.int64)


def trimmed_proto(proto: bytes, ids: Array) -> bytes:
    """The SentencePiece model with the pieces of the token `ids` (ascending, from `kept_ids`) alone, bytes.

    A text that the old model splits into pieces that stay is split into the same pieces: the best of all splits is the
    best of those that are left.
    """
    model = parse_model(proto)
    kept = {int(token_id) - 1 for token_id in ids if token_id >= FIRST_PIECE_ID} | set(range(RESERVED_PIECES))
    pieces = [piece for number, piece in enumerate(model.pieces) if number in kept]
    del model.pieces[:]
    model.pieces.extend(pieces)
    model.trainer_spec.vocab_size = len(pieces)
    return model.SerializeToString()
