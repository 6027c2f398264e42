"""The result of encoding a chunk, with the same fields for blocks and for pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.text.readers.chunks import count_lines
from infoxlm_keras.text.readers.moses import MosesPairs
from infoxlm_keras.text.readers.plain_text import MonolingualText
from infoxlm_keras.text.readers.tab_separated import MarginPairs, TabSeparatedPairs

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.reader import Reader

LINE_READERS = (MonolingualText, MosesPairs, TabSeparatedPairs, MarginPairs)


@dataclasses.dataclass
class EncodedChunk:
    """The records of a chunk of input, with their counts.

    Attributes:
        records: list of bytes, serialized and framed.
        lengths: int array [records], the stream of each: its block length or bucket bound.
        tokens: int array [records], token ids stored in each.
        unknown_tokens: int array [records], how many of these are the unknown id.
        sentences: int, sentences or pairs that the records hold.
        dropped: dict of reason (str) to number of sentences or pairs left out.
        identities: list of bytes (8 each), a digest of each record's text; None where equal records are kept.
        dropped_samples: dict of reason (str) to list of str, some of what was left out.
        near_identities: list of tuples of bytes, keys of each record; one that shares any key with an earlier record
            that is kept is a near duplicate of it. None where near duplicates are kept.
        read: int, sentences or pairs that the reader gave or left out; None if that is all of the above.
        passed_over: dict of reason to number of those that are no text, such as blank lines between documents.
        evaluation: dict of the path of an evaluation file to number of sentences or pairs left out because of it.
        sides: list of bytes, what the sides of each record are known by, eight bytes each key; None where that does
            not matter.
        record_sentences: int array [records], how many of `sentences` end in each; None where it is one.
    """

    records: list[bytes]
    lengths: Array
    tokens: Array
    unknown_tokens: Array
    sentences: int
    dropped: dict[str, int]
    identities: list[bytes] | None = None
    dropped_samples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    near_identities: list[tuple[bytes, ...]] | None = None
    read: int | None = None
    passed_over: dict[str, int] = dataclasses.field(default_factory=dict)
    evaluation: dict[str, int] = dataclasses.field(default_factory=dict)
    record_sentences: Array | None = None
    sides: list[bytes] | None = None

    def __post_init__(self) -> None:
        if self.read is None:
            self.read = self.sentences + sum(self.dropped.values()) + sum(self.passed_over.values())


def units_read(reader: Reader, chunk: Chunk, texts: Sequence[Any]) -> int:
    """int: how many sentences or pairs a chunk holds.

    Args:
        reader: a reader.
        chunk: one of its `Chunk`s.
        texts: what `reader.read(chunk)` gave.

    For formats with one sentence or pair per line, the count comes from the bytes of the chunk, not from the reader.
    """
    if isinstance(reader, LINE_READERS):
        return count_lines(chunk.bodies[0])
    return len(texts) + sum(getattr(texts, "dropped", {}).values())


def ragged_counts(flags: Array, offsets: Array) -> Array:
    """int64 [rows]: the true values of `flags` (bool [n]) in each row `offsets[i]:offsets[i + 1]`."""
    return np.diff(np.concatenate([[0], np.cumsum(flags)])[offsets])


def ragged_offsets(lengths: Array) -> Array:
    """int64 [rows + 1]: where rows of `lengths` (int [rows]) begin when laid end to end."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
