"""A chunk of monolingual text -> MMLM records: the pure function that workers run."""

import collections
import dataclasses

import numpy as np

from data_prep.cleaning import Cleaning
from data_prep.encoded_chunk import EncodedChunk, ragged_counts, ragged_offsets
from data_prep.examples import encode_examples, frame_record
from data_prep.packing import pack_sentences
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer


@dataclasses.dataclass(frozen=True)
class MonolingualEncoder:
    """Encodes and packs the sentences of a chunk; a chunk's last block is as short as its text.

    Record: feature `token_ids`, a whole block `<s> s1 </s> s2 </s> ...` of at most `sequence_length` ids.

    Args:
        tokenizer: `Tokenizer`.
        sequence_length: int, most tokens of a block.
        break_documents: bool, end a block where a document ends.
        cleaning: `Cleaning` or None, applied to what is read.
    """

    tokenizer: Tokenizer
    sequence_length: int
    break_documents: bool = False
    cleaning: Cleaning | None = None

    def __call__(self, reader, chunk):
        """`EncodedChunk` of one of `reader`'s chunks."""
        lines = reader.read(chunk)
        dropped, samples = collections.Counter(getattr(lines, "dropped", {})), {}
        if self.cleaning:
            cleaned = self.cleaning.sentences(reader.name, lines)
            lines, samples = cleaned.lines, cleaned.samples
            dropped.update(cleaned.dropped)
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
            dropped_samples=samples,
            near_identities=near_duplicates.keys(blocks, offsets) if near_duplicates else None,
        )


def _document_ends(lines, kept):
    """How many kept sentences come before each blank line; without 0 and without repeats."""
    blank = np.array([not line for line in lines], bool)
    sentences_before = np.cumsum(~blank)[blank]
    ends = ragged_offsets(kept)[sentences_before]
    return np.unique(ends[ends > 0])
