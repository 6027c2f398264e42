"""Text to token ids in XLM-R's layout, with SentencePiece alone (no TensorFlow, no Keras).

    <s> = 0, <pad> = 1, </s> = 2, <unk> = 3, then SentencePiece id + 1, and <mask> = last.

This is fairseq's layout, which `xlm-roberta-base` has in Hugging Face and KerasHub. A model file of another layout is
refused on load.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import describe

if TYPE_CHECKING:
    import sentencepiece

START_ID, PAD_ID, END_ID, UNKNOWN_ID = 0, 1, 2, 3
FIRST_PIECE_ID = 4


class Tokenizer:
    """A SentencePiece model with XLM-R's ids.

    Args:
        proto: bytes. A serialized SentencePiece model, trained with `unk_id=0, bos_id=1, eos_id=2, pad_id=-1`.
        source: str. Where it came from, for messages.

    Attributes:
        vocabulary_size: int. Pieces + `<pad>` + `<mask>`; the number of rows of the embedding.
        mask_id: int. `vocabulary_size - 1`.
        fingerprint: str. `sha256:` + digest of `proto`, kept in manifests and presets.

    Raises:
        InputError: if `proto` is no SentencePiece model or has another layout of special pieces.
    """

    def __init__(self, proto: bytes, source: PathLike = "SentencePiece model") -> None:
        self.proto = bytes(proto)
        self.source = str(source)
        pieces = self.processor.get_piece_size()
        self.vocabulary_size = pieces + 2
        self.mask_id = self.vocabulary_size - 1
        self.fingerprint = "sha256:" + hashlib.sha256(self.proto).hexdigest()
        layout = (self.processor.unk_id(), self.processor.bos_id(), self.processor.eos_id(), self.processor.pad_id())
        if layout != (0, 1, 2, -1):
            raise InputError(
                f"{self.source}: has (unk, bos, eos, pad) = {layout}, but XLM-R's id layout needs (0, 1, 2, -1); "
                "train the model with infoxlm train-tokenizer"
            )
        if self.processor.piece_to_id("<mask>") != 0:
            raise InputError(f"{self.source}: has a piece <mask>; XLM-R's layout adds <mask> as the last id")

    @functools.cached_property
    def processor(self) -> sentencepiece.SentencePieceProcessor:
        """The `sentencepiece.SentencePieceProcessor` behind this tokenizer."""
        import sentencepiece

        try:
            return sentencepiece.SentencePieceProcessor(model_proto=self.proto)
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{self.source}: is not a SentencePiece model ({describe(error)})") from None

    @functools.cached_property
    def behaviour(self) -> str:
        """str, a digest of what the model does with text: equal for models of equal ids whose bytes differ."""
        from infoxlm_keras.sentencepiece_proto import behaviour

        return behaviour(self.proto)

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes get the bytes, and load the processor for themselves.
        return {key: value for key, value in self.__dict__.items() if key != "processor"}

    # A str is a sequence of str to a type checker; the first signature that fits counts.
    @overload
    def encode(self, lines: str) -> list[int]: ...  # type: ignore[overload-overlap]
    @overload
    def encode(self, lines: Iterable[str]) -> list[list[int]]: ...
    def encode(self, lines: str | Iterable[str]) -> list[int] | list[list[int]]:
        """Token ids of each line, without special tokens.

        Args:
            lines: str, or several: a list, tuple, array or generator. Valid Unicode (no lone surrogates).

        Returns:
            list of list of int: SentencePiece id + 1, with the unknown piece as 3; list of int for one str.

        Raises:
            InputError: if a line is no str or not valid Unicode (says which).

        Example:
        ```python
        tokenizer.encode("Open the file")  # [620, 18, 1043]
        tokenizer.encode(["Open the file", "Close it"])  # [[620, 18, 1043], [911, 52]]
        ```
        """
        if isinstance(lines, str):
            return self.encode([lines])[0]
        if isinstance(lines, bytes) or not isinstance(lines, Iterable):
            raise InputError(f"encode: {lines!r:.60} is a {type(lines).__name__}; give a str or a list of str")
        lines = list(lines)
        return [[piece + 1 if piece else UNKNOWN_ID for piece in ids] for ids in self._pieces(lines)]

    def encode_ragged(self, lines: Sequence[str]) -> tuple[Array, Array]:
        """`encode` as one flat array: no Python object a token, for whole files.

        Args:
            lines: list of str.

        Returns:
            (token_ids, lengths): int32 [tokens], the ids of all lines one after another; int64 [lines].
        """
        pieces = self._pieces(lines)
        lengths = np.fromiter(map(len, pieces), np.int64, count=len(pieces))
        flat = np.fromiter(itertools.chain.from_iterable(pieces), np.int32, count=int(lengths.sum()))
        return np.where(flat == 0, np.int32(UNKNOWN_ID), flat + np.int32(1)), lengths

    def _pieces(self, lines):
        try:
            return self.processor.encode(lines, num_threads=1)
        except TypeError:
            # SentencePiece says only that an element is not text; say which one and why.
            for index, line in enumerate(lines):
                if not isinstance(line, str):
                    raise InputError(
                        f"text number {index} is of type {type(line).__name__}, not str: {line!r:.60}"
                    ) from None
                if any("\ud800" <= character <= "\udfff" for character in line):
                    raise InputError(
                        f"text number {index} is not valid Unicode (a lone surrogate?): {ascii(line)[:60]}; "
                        'clean it with text.encode("utf-8", "replace").decode()'
                    ) from None
            raise

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of `token_ids` (list of int); special ids are left out, the unknown id shows as ` ⁇ `."""
        pieces = []
        for token_id in token_ids:
            if token_id == UNKNOWN_ID:
                pieces.append(0)
            elif FIRST_PIECE_ID <= token_id < self.mask_id:
                pieces.append(int(token_id) - 1)
        return self.processor.decode(pieces)
