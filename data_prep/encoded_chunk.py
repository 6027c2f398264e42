"""What a worker makes of a chunk; the same for blocks and pairs, so that one builder collects both."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class EncodedChunk:
    """Records of a chunk of input, and what must be counted about them.

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
    """

    records: list
    lengths: np.ndarray
    tokens: np.ndarray
    unknown_tokens: np.ndarray
    sentences: int
    dropped: dict
    identities: list | None = None
    dropped_samples: dict = dataclasses.field(default_factory=dict)
    near_identities: list | None = None


def ragged_counts(flags, offsets):
    """int64 [rows]: the true values of `flags` (bool [n]) in each row `offsets[i]:offsets[i + 1]`."""
    return np.diff(np.concatenate([[0], np.cumsum(flags)])[offsets])


def ragged_offsets(lengths):
    """int64 [rows + 1]: where rows of `lengths` (int [rows]) begin when laid end to end."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
