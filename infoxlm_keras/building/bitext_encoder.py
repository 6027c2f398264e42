"""A chunk of pairs -> pair records in length buckets: the pure function that workers run."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.building.encoded_chunk import EncodedChunk, ragged_counts, ragged_offsets, units_read
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.example_codec import encode_examples, frame_record
from infoxlm_keras.text.cleaning import Cleaning
from infoxlm_keras.text.cleaning.evaluation_text import folded
from infoxlm_keras.text.cleaning.identity import text_digest
from infoxlm_keras.text.readers.packed import passed_over_among
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.reader import Reader

# Why pairs are left out, in the order of the checks; `duplicate` is found when chunks come together.
REASONS = ("empty", "identical", "too_long", "length_ratio", "duplicate")


@dataclasses.dataclass(frozen=True)
class BitextEncoder:
    """Encodes the pairs of a chunk, drops those unfit for training, and assigns each pair to a length bucket.

    Record: features `source_ids` and `target_ids`, without special tokens.

    Args:
        tokenizer: `Tokenizer`.
        lengths: tuple of int, ascending; a pair goes into the smallest bucket that holds its longer side.
        max_length: int <= lengths[-1], most tokens a side.
        max_length_ratio: float or None, maximum length ratio, longer side to shorter.
        truncate: bool, cut sides to `max_length` instead of dropping the pair.
        held_out: int, records that can be held out of each stream; 0 if their sides do not matter (see `held_out.py`).
        cleaning: `Cleaning` or None, applied to what is read.
        reversed_names: frozenset of str, pairs of languages whose duplicates are looked for with the sides swapped:
            see `infoxlm_keras.building.repeated_records.reversed_names`.
    """

    tokenizer: Tokenizer
    lengths: tuple[int, ...]
    max_length: int
    max_length_ratio: float | None = None
    truncate: bool = False
    cleaning: Cleaning | None = None
    reversed_names: frozenset[str] = frozenset()
    held_out: int = 0

    # Repeated pairs are found among the records.
    deduplicate = False

    def __call__(self, reader: Reader, chunk: Chunk) -> EncodedChunk:
        """`EncodedChunk` of one of `reader`'s chunks."""
        pairs = reader.read(chunk)
        read = units_read(reader, chunk, pairs)
        dropped, samples = dict.fromkeys(REASONS, 0) | dict(getattr(pairs, "dropped", {})), {}
        passed_over = passed_over_among(dropped)
        dropped = {reason: number for reason, number in dropped.items() if reason not in passed_over}
        evaluation = {}
        if self.cleaning:
            cleaned = self.cleaning.pairs(reader.name.split("-"), pairs)
            pairs, samples, evaluation = cleaned.pairs, cleaned.samples, cleaned.evaluation
            for reason, number in cleaned.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + number
        keep_identical = self.cleaning is not None and not self.cleaning.identical_sides
        texts = []
        for source, target in pairs:
            if not source or not target:
                dropped["empty"] += 1
            elif source == target and not keep_identical:
                dropped["identical"] += 1
            else:
                texts.append((source, target))
        sources = _Side(self.tokenizer, [source for source, _ in texts])
        targets = _Side(self.tokenizer, [target for _, target in texts])
        if self.truncate:
            sources.truncate(self.max_length)
            targets.truncate(self.max_length)
        kept = self._keep(sources.lengths, targets.lengths, dropped)
        sources.select(kept)
        targets.select(kept)
        longer = np.maximum(sources.lengths, targets.lengths)
        kept_texts = [texts[index] for index in np.flatnonzero(kept)]
        compared = [pair[::-1] for pair in kept_texts] if reader.name in self.reversed_names else kept_texts
        near_duplicates = self.cleaning and self.cleaning.near_duplicates
        features = {"source_ids": sources.ragged, "target_ids": targets.ragged}
        return EncodedChunk(
            records=[frame_record(example) for example in encode_examples(features)],
            lengths=np.array(self.lengths)[np.searchsorted(self.lengths, longer)],
            tokens=sources.lengths + targets.lengths,
            unknown_tokens=sources.unknown_tokens + targets.unknown_tokens,
            sentences=int(kept.sum()),
            dropped=dropped,
            identities=[text_digest(*pair) for pair in compared],
            dropped_samples=samples,
            near_identities=near_duplicates.text_keys(map("\n".join, compared)) if near_duplicates else None,
            read=read,
            evaluation=evaluation,
            passed_over=passed_over,
            sides=_side_keys(kept_texts, sources.ragged, targets.ragged) if self.held_out else None,
        )

    def _keep(self, source_lengths, target_lengths, dropped):
        """bool [pairs]; counts the others in `dropped` by the first rule that they break."""
        longer, shorter = np.maximum(source_lengths, target_lengths), np.minimum(source_lengths, target_lengths)
        kept = np.ones(len(longer), bool)
        rules = [("empty", shorter == 0), ("too_long", longer > self.max_length)]
        if self.max_length_ratio is not None:
            rules.append(("length_ratio", longer > self.max_length_ratio * shorter))
        for reason, broken in rules:
            dropped[reason] += int((kept & broken).sum())
            kept &= ~broken
        return kept


def _side_keys(texts, *sides):
    """List of bytes, one a pair: four keys of 8 bytes, of each side's text as it is compared and of its token ids.

    Other texts can have the same token ids where they were cut, or their characters are unknown.
    """
    keys = [[text_digest(folded(text)) for text in pair] for pair in texts]
    for token_ids, offsets in sides:
        bounds = itertools.pairwise(offsets.tolist())
        for row, (start, end) in zip(keys, bounds, strict=True):
            row.append(hashlib.blake2b(token_ids[start:end].tobytes(), digest_size=8).digest())
    return [b"".join(row) for row in keys]


class _Side:
    """Token ids of one side of many pairs, ragged."""

    def __init__(self, tokenizer, lines):
        self.token_ids, self.lengths = tokenizer.encode_ragged(lines)

    @property
    def ragged(self):
        return self.token_ids, ragged_offsets(self.lengths)

    @property
    def unknown_tokens(self):
        return ragged_counts(self.token_ids == UNKNOWN_ID, ragged_offsets(self.lengths))

    def truncate(self, most):
        places = np.arange(len(self.token_ids)) - np.repeat(ragged_offsets(self.lengths)[:-1], self.lengths)
        self.token_ids = self.token_ids[places < most]
        self.lengths = np.minimum(self.lengths, most)

    def select(self, kept):
        self.token_ids = self.token_ids[np.repeat(kept, self.lengths)]
        self.lengths = self.lengths[kept]


def bucket_bounds(lengths: Iterable[int], max_length: int) -> tuple[int, ...]:
    """The bucket bounds in use, tuple of int: `lengths` up to the first one that holds `max_length`.

    Raises:
        InputError: if they do not ascend from at least 1, or the last is below `max_length`.
    """
    lengths = [int(length) for length in lengths]
    if not lengths or lengths[0] < 1 or lengths != sorted(set(lengths)):
        given = " ".join(map(str, lengths))
        raise InputError(f"--lengths {given}: must be positive and ascending, for instance 16 32 64")
    if max_length < 1:
        raise InputError(f"--max_length {max_length}: must be at least 1")
    if lengths[-1] < max_length:
        raise InputError(
            f"--max_length {max_length}: is above the largest of --lengths, {lengths[-1]}; lower it, or add a length"
        )
    return tuple(lengths[: int(np.searchsorted(lengths, max_length)) + 1])


def check_length_ratio(max_length_ratio: float | None) -> None:
    """Raises `InputError` unless the ratio is None or at least 1."""
    if max_length_ratio is not None and not max_length_ratio >= 1:
        raise InputError(f"--max_length_ratio {max_length_ratio}: must be at least 1, for instance 3")
