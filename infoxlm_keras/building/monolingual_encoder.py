"""A chunk of monolingual text -> MMLM records: the pure function that workers run."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.building.encoded_chunk import EncodedChunk, ragged_counts, ragged_offsets, units_read
from infoxlm_keras.building.input_account import SAMPLES
from infoxlm_keras.building.packing import pack_sentences, sentences_of_blocks
from infoxlm_keras.records.example_codec import encode_examples, frame_record
from infoxlm_keras.text.cleaning import Cleaning
from infoxlm_keras.text.cleaning.identity import text_digest
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.reader import Reader


@dataclasses.dataclass(frozen=True)
class MonolingualEncoder:
    """Encodes and packs the sentences of a chunk; a chunk's last block is as short as its text.

    Record: feature `token_ids`, a whole block `<s> s1 </s> s2 </s> ...` of at most `sequence_length` ids.

    Args:
        tokenizer: `Tokenizer`.
        sequence_length: int, most tokens of a block.
        break_documents: bool, end a block where a document ends.
        cleaning: `Cleaning` or None, applied to what is read.
        deduplicate: bool, whether `__call__` gets the flags of repeated sentences.
    """

    tokenizer: Tokenizer
    sequence_length: int
    break_documents: bool = False
    cleaning: Cleaning | None = None
    deduplicate: bool = False

    def digests(self, reader: Reader, chunk: Chunk) -> Array:
        """uint64 [sentences]: equal for equal sentences; blank lines have none."""
        lines, *_ = self._read(reader, chunk)
        return np.frombuffer(b"".join(text_digest(line) for line in lines if line), np.uint64)

    def __call__(self, reader: Reader, chunk: Chunk, repeated: Array | None = None) -> EncodedChunk:
        """`EncodedChunk` of one of `reader`'s chunks, without the sentences where `repeated` (bool) is true."""
        lines, dropped, samples, evaluation, read = self._read(reader, chunk)
        blank = lines.count("")
        if repeated is not None:
            lines, samples["duplicate"] = _leave_out(lines, repeated)
            dropped["duplicate"] += int(repeated.sum())
        sentences = [line for line in lines if line]
        token_ids, lengths = self.tokenizer.encode_ragged(sentences)
        kept = lengths > 0
        document_ends = _document_ends(lines, kept) if self.break_documents else ()
        blocks, offsets = pack_sentences(token_ids, lengths[kept], self.sequence_length, document_ends)
        # Text that normalisation removes altogether, such as control characters.
        dropped["empty"] += int((~kept).sum())
        near_duplicates = self.cleaning and self.cleaning.near_duplicates
        return EncodedChunk(
            records=[frame_record(example) for example in encode_examples({"token_ids": (blocks, offsets)})],
            lengths=np.full(len(offsets) - 1, self.sequence_length),
            tokens=np.diff(offsets),
            unknown_tokens=ragged_counts(blocks == UNKNOWN_ID, offsets),
            sentences=int(kept.sum()),
            dropped=dict(dropped),
            dropped_samples={reason: texts[:SAMPLES] for reason, texts in samples.items()},
            near_identities=near_duplicates.keys(blocks, offsets) if near_duplicates else None,
            read=read,
            evaluation=evaluation,
            passed_over={"blank": blank} if blank else {},
            record_sentences=sentences_of_blocks(blocks, offsets, lengths[kept], self.sequence_length)
            if near_duplicates
            else None,
        )

    def _read(self, reader, chunk):
        """(lines, dropped, samples, evaluation, units read) of a chunk, cleaned; "" ends a document."""
        lines = reader.read(chunk)
        read = units_read(reader, chunk, lines)
        dropped, samples, evaluation = collections.Counter(getattr(lines, "dropped", {})), {}, {}
        if self.cleaning:
            cleaned = self.cleaning.sentences(reader.name, lines)
            lines, samples, evaluation = cleaned.lines, dict(cleaned.samples), cleaned.evaluation
            dropped.update(cleaned.dropped)
        return lines, dropped, samples, evaluation, read


def _leave_out(lines, repeated):
    """(lines without the repeated sentences, those): `repeated` is bool [lines that are not blank]."""
    flags = np.zeros(len(lines), bool)
    flags[[index for index, line in enumerate(lines) if line]] = repeated
    kept = [line for line, flag in zip(lines, flags.tolist(), strict=True) if not flag]
    return kept, [line for line, flag in zip(lines, flags.tolist(), strict=True) if flag]


def _document_ends(lines, kept):
    """How many kept sentences come before each blank line; without 0 and without repeats."""
    blank = np.array([not line for line in lines], bool)
    sentences_before = np.cumsum(~blank)[blank]
    ends = ragged_offsets(kept)[sentences_before]
    return np.unique(ends[ends > 0])
