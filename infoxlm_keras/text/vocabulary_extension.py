"""Adds pieces to the vocabulary of a trained model: new text needs fewer tokens, and every old piece keeps its id."""

import dataclasses
import math
import struct
from collections.abc import Sequence

import numpy as np

from infoxlm_keras.errors import InputError
from infoxlm_keras.sentencepiece_proto import UNIGRAM, parse_model
from infoxlm_keras.text.vocabulary import train_sentencepiece
from infoxlm_keras.tokenizer import FIRST_PIECE_ID, UNKNOWN_ID, Tokenizer

# SentencePiece's own: how much less likely than the rarest piece an unknown character is.
UNKNOWN_PENALTY = 10.0
# How SentencePiece writes a space.
SPACE = "▁"
SPECIAL_TEXT = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# Candidates learned for each piece wanted: the old vocabulary has many of them already.
CANDIDATES_PER_PIECE = 2
MORE_CANDIDATES = 2_000


@dataclasses.dataclass(frozen=True)
class NewPiece:
    """A piece that is added.

    Attributes:
        piece: str, with ▁ for a space.
        score: float, its log-probability in the extended model.
        old_ids: tuple of int, the ids that the old tokenizer splits it into.
    """

    piece: str
    score: float
    old_ids: tuple[int, ...]


class Segmenter:
    """The best split of a piece into the pieces of a unigram model, by its scores (Kudo 2018, Viterbi).

    SentencePiece itself puts a space before any text; a piece from the middle of a word must be split without.

    Args:
        tokenizer: `Tokenizer`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        processor = tokenizer.processor
        self.pieces, self.bytes = {}, {}
        for number in range(processor.get_piece_size()):
            if processor.is_byte(number):
                self.bytes[int(processor.id_to_piece(number)[1:-1], 16)] = number + 1
            elif number + 1 >= FIRST_PIECE_ID and not processor.is_control(number) and not processor.is_unused(number):
                self.pieces[processor.id_to_piece(number)] = (number + 1, processor.get_score(number))
        scores = [score for _, score in self.pieces.values()]
        self.lowest, self.highest = min(scores), max(scores)
        self.longest = max(map(len, self.pieces))

    def split(self, text: str) -> tuple[tuple[int, ...], float]:
        """(ids, score): tuple of int, token ids of the best split of `text`, and the sum of their scores."""
        best: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, ())]
        for end in range(1, len(text) + 1):
            options: list[tuple[float, int, tuple[int, ...]]] = []
            for start in range(max(0, end - self.longest), end):
                if (found := self.pieces.get(text[start:end])) is not None:
                    options.append((best[start][0] + found[1], start, (found[0],)))
            if text[end - 1] not in self.pieces:
                score = best[end - 1][0] + self.lowest - UNKNOWN_PENALTY
                options.append((score, end - 1, self._spelled(text[end - 1])))
            best.append(max(options))
        ids: list[int] = []
        end = len(text)
        while end:
            _, start, last = best[end]
            ids[:0] = last
            end = start
        # As SentencePiece shows it: a run of unknown characters is one token.
        shown = [token_id for token_id, before in zip(ids, [None, *ids], strict=False)
                 if token_id != UNKNOWN_ID or before != UNKNOWN_ID]  # fmt: skip
        return tuple(shown), best[len(text)][0]

    def _spelled(self, character):
        if not self.bytes:
            return (UNKNOWN_ID,)
        return tuple(self.bytes[byte] for byte in character.encode())


def learn_pieces(
    tokenizer: Tokenizer, sentences: Sequence[str], number: int, character_coverage: float = 0.9995
) -> list[NewPiece]:
    """New pieces for `sentences`, the likeliest first.

    They come from a unigram model trained on the sentences alone. Its log-probabilities are shifted to the scale of
    the old model by the median difference over the pieces that both have, and kept within the old model's range (so
    an unknown character costs what it did). A piece that would lose against its own old split is left out: it would
    never be used.

    Args:
        tokenizer: `Tokenizer`, the old one.
        sentences: list of str in the new language.
        number: int > 0.
        character_coverage: float, as of `train_sentencepiece`.

    Returns:
        list of `number` `NewPiece`s.

    Raises:
        InputError: if the text yields fewer, or the old model is no unigram model.
    """
    if parse_model(tokenizer.proto).trainer_spec.model_type != UNIGRAM:
        raise InputError(
            f"{tokenizer.source}: is no unigram model; scores of others are no probabilities, so new pieces cannot be "
            "weighed against old ones"
        )
    size = CANDIDATES_PER_PIECE * number + MORE_CANDIDATES
    trained = Tokenizer(train_sentencepiece(sentences, size, character_coverage, size_is_limit=True))
    old, new = Segmenter(tokenizer), Segmenter(trained)
    shared = [old.pieces[piece][1] - score for piece, (_, score) in new.pieces.items() if piece in old.pieces]
    # Without a piece in common: as if the new text were a share of all text in proportion to its pieces.
    shift = float(np.median(shared)) if shared else math.log(number / (number + len(old.pieces)))
    found = []
    for piece, (_, score) in sorted(new.pieces.items(), key=lambda item: (-item[1][1], item[0])):
        if piece in old.pieces or piece in SPECIAL_TEXT or not _stays(piece, tokenizer):
            continue
        ids, split_score = old.split(piece)
        score = float(np.float32(np.clip(score + shift, old.lowest, old.highest)))
        if score > split_score:
            found.append(NewPiece(piece, score, ids))
    if len(found) < number:
        raise InputError(
            f"--add {number}: the text yields only {len(found)} pieces that are new and would be used; "
            "lower it, or give more text"
        )
    return found[:number]


def _stays(piece, tokenizer):
    """Whether a text with `piece` still holds it once `tokenizer` has normalised it (to lower case, for instance)."""
    normalized = tokenizer.processor.normalize(piece.replace(SPACE, " "))
    return normalized.replace(" ", SPACE).strip(SPACE) == piece.strip(SPACE)


def extend_proto(proto: bytes, pieces: Sequence[NewPiece]) -> bytes:
    """A SentencePiece model with `pieces` after its own ones.

    Fields of a protocol buffer that come again are joined (repeated ones) or replaced (numbers), so that what is added
    stands behind the old bytes, which stay as they are.

    Args:
        proto: bytes, the old model.
        pieces: list of `NewPiece`s.

    Returns:
        bytes.
    """
    old_size = Tokenizer(proto).processor.get_piece_size()
    added = [_field(1, _field(1, new.piece.encode()) + b"\x15" + struct.pack("<f", new.score)) for new in pieces]
    # ModelProto.trainer_spec.vocab_size, for readers that show it.
    size = _field(2, b"\x20" + _varint(old_size + len(pieces)))
    return bytes(proto) + b"".join(added) + size


def _field(number, body):
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
