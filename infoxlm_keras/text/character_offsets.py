"""Token ids of a text with the characters of the text that each token stands for, on every release of SentencePiece.

SentencePiece normalises (NFKC: one character may become several, several one, some none) before it cuts a text into
pieces, and its own offsets are characters in release 0.2.1 and bytes since 0.2.2. What all releases agree on is used
here: the pieces, which make up the normalised text, and the place in the text that each normalised character is from.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer

WORD_START = "\u2581"  # SentencePiece's sign for a space


@dataclasses.dataclass(frozen=True)
class TokenizedText:
    """A text as tokens.

    Attributes:
        text: str.
        token_ids: int32 [tokens], without special tokens; equal to `Tokenizer.encode(text)`.
        starts, ends: int32 [tokens]. Token n stands for the characters `text[starts[n] : ends[n]]`. A token that
            starts a word includes the space before it. Tokens that one character was normalised to (`½` as `1`, `⁄`,
            `2`) share that character. A token that stands for no character of the text has `starts[n] == ends[n]`.
    """

    text: str
    token_ids: Array
    starts: Array
    ends: Array
    spaces: frozenset[str]

    def __len__(self) -> int:
        return len(self.token_ids)

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """(first, last) token, both included, of the characters `text[start:end]`; None if no token stands for them.

        If the border of the characters lies inside a token, the token is a part of the result.
        """
        start, end = self._without_spaces(start, end)
        if start == end:
            return None
        touched = np.flatnonzero((self.starts < end) & (self.ends > start))
        return (int(touched[0]), int(touched[-1])) if len(touched) else None

    def characters_of(self, first: int, last: int) -> tuple[int, int]:
        """(start, end): the tokens `first` to `last` stand for `text[start:end]`, without white space around it."""
        return self._without_spaces(int(self.starts[first]), int(self.ends[last]))

    def _without_spaces(self, start, end):
        while start < end and self.text[start] in self.spaces:
            start += 1
        while start < end and self.text[end - 1] in self.spaces:
            end -= 1
        return start, end


def tokenize_with_offsets(tokenizer: Tokenizer, text: str) -> TokenizedText:
    """The tokens of `text` (str) and their characters.

    Raises:
        InputError: if the pieces of the tokenizer do not make up its normalised text.

    Example:
    ```python
    tokens = tokenize_with_offsets(tokenizer, "Der Fluss fließt")
    first, last = tokens.tokens_of(4, 9)
    tokens.characters_of(first, last)  # (4, 9)
    ```
    """
    (token_ids,) = tokenizer.encode([text])
    processor = tokenizer.processor
    pieces = processor.encode(text, out_type=str)
    normalized, sources = processor.normalize(text, with_offsets=True)
    widths = [len(character.encode()) for character in normalized]
    lengths = [
        1 if token_id != UNKNOWN_ID and processor.is_byte(token_id - 1) else len(piece.encode())
        for token_id, piece in zip(token_ids, pieces, strict=True)
    ]
    if sum(lengths) != sum(widths):
        raise InputError(
            f"{tokenizer.source}: its pieces are not the text that it normalises {text[:40]!r} to, so the places of "
            "tokens are unknown; use a SentencePiece model of type unigram or BPE"
        )
    if not normalized:
        nothing = np.zeros(0, np.int32)
        return TokenizedText(text, nothing, nothing, nothing, frozenset(text))
    starts_of, ends_of = _sources(text, normalized, sources)
    # The number of the character that each byte of the normalised text belongs to.
    character = np.repeat(np.arange(len(normalized)), widths)
    borders = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    starts, ends = starts_of[character[borders[:-1]]], ends_of[character[borders[1:] - 1]]
    return TokenizedText(text, np.array(token_ids, np.int32), starts, ends, spaces_among(tokenizer, text))


def spaces_among(tokenizer: Tokenizer, characters: Iterable[str]) -> frozenset[str]:
    """Those of `characters` (str, or iterable of str) that `tokenizer` normalises to a space or to nothing.

    Example:
    ```python
    spaces_among(tokenizer, "ein Haus")  # frozenset({" "})
    ```
    """
    signs = [sign for sign in set(characters) if not sign.isalnum()]
    normalized = tokenizer.processor.normalize(signs)
    return frozenset(sign for sign, text in zip(signs, normalized, strict=True) if not text.strip(WORD_START))


def _sources(text, normalized, sources):
    """First and last + 1 character of `text` that each character of `normalized` is from: two int32 arrays."""
    sources = np.array(sources, np.int32)
    starts, places = sources[:-1], np.arange(len(normalized))
    # A character lasts up to where the next one that has another source begins.
    last = np.where(np.diff(sources) > 0, places, len(normalized) - 1)
    ends = sources[np.minimum.accumulate(last[::-1])[::-1] + 1]
    if (
        len(normalized) > 1
        and normalized[0] == WORD_START
        and starts[0] == starts[1]
        and not text[starts[0]].isspace()
    ):
        # SentencePiece puts this space before the first word; it is not in the text.
        ends[0] = starts[0]
    return starts, ends
