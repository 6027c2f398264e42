"""The streams of the pretext tasks as `tf.data.Dataset`s that start at any step (TensorFlow).

Batch number s of a stream is a pure function of (seed, s). `StratifiedSchedule` chooses languages and length buckets,
`RecordOrder` records, and `stateless_random` masks and flips. Every batch of pairs comes from one length
bucket, the same for all tasks at a step, so the number of shapes is the number of buckets. Each stream has two splits,
"train" and "validation", without a common record (`infoxlm_keras.data.split`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.data.masking import Masking, mask_tokens, padding_mask
from infoxlm_keras.data.order import MODULUS, STRIDE, RecordOrder, StratifiedSchedule
from infoxlm_keras.data.record_reader import RecordReader
from infoxlm_keras.data.records import parse_token_lists
from infoxlm_keras.data.sequences import mixup_contrast, plain_contrast, translation_pairs
from infoxlm_keras.data.sharding import shard_batch
from infoxlm_keras.data.split import StreamPart, stream_parts
from infoxlm_keras.errors import InputError
from infoxlm_keras.language_sampling import stream_probabilities
from infoxlm_keras.records.manifest import Manifest
from infoxlm_keras.stateless_random import random_key, tf_fold, tf_random_bits, tf_random_permutation, tf_uniform
from infoxlm_keras.tokenizer import PAD_ID

# Nothing that is mapped over a data set branches on tensors, and a rewrite of its source takes a second in each run.
_as_it_is = tf.autograph.experimental.do_not_convert

_BLOCK = 2048  # records per read: the records of one language in it are read together


class LanguageMixture:
    """Records drawn from several streams of one shape, by language probability.

    Args:
        parts: list of `StreamPart`s of one length.
        probabilities: float array [len(parts)], the share of each.
        key: int, see `random_key`.
    """

    def __init__(self, parts: Sequence[StreamPart], probabilities: Sequence[float] | Array, key: int) -> None:
        self.parts = parts
        self.schedule = StratifiedSchedule(probabilities, random_key(key, "language"))
        self.readers = [
            RecordReader(part, RecordOrder(part.sizes, random_key(key, part.name, part.length))) for part in parts
        ]
        # (number of the next draw, occurrences of each choice before it): cheaper to keep than to count again.
        self._counted = (0, self.schedule.counts(0))

    def dataset(self, start: int, batch_size: int) -> tf.data.Dataset:
        """tf.data.Dataset of string [batch_size], serialized records from draw number `start` on, without end."""
        batches = max(1, _BLOCK // batch_size)

        def read(number):
            block = batches * batch_size
            return self.records(start + int(number) * block, block).reshape(batches, batch_size)

        @_as_it_is
        def read_block(number):
            return tf.ensure_shape(tf.numpy_function(read, [number], tf.string), [batches, batch_size])

        return tf.data.Dataset.range(tf.int64.max).map(read_block).unbatch()

    def records(self, start: int, count: int) -> Array:
        """Object array [count] of bytes: the serialized records of draws `start`..`start + count`."""
        counted, ranks = self._counted
        ranks = ranks.copy() if counted == start else self.schedule.counts(start)
        choices = self.schedule.draw(start, count)
        records = np.empty(count, object)
        for choice in np.unique(choices):
            places = np.flatnonzero(choices == choice)
            records[places] = self.readers[choice].read(int(ranks[choice]), len(places))
            ranks[choice] += len(places)
        self._counted = (start + count, ranks)
        return records

    def samples(self, start: int, count: int) -> list[tuple[str, int, int, int]]:
        """List of (stream name, epoch, shard, record) of the draws `start`..`start + count`, for checks and audits.

        Shards are numbered as in the manifest, records as they lie in the shard.
        """
        ranks = self.schedule.counts(start)
        found = []
        for choice in self.schedule.draw(start, count):
            part = self.parts[choice]
            epoch, shard, record = self.readers[choice].order.record(int(ranks[choice]))
            found.append((part.name, epoch, part.first_shard + shard, int(part.firsts[shard]) + record))
            ranks[choice] += 1
        return found


class MaskingStream:
    """Base of the streams that hide tokens to be predicted."""

    masking: Masking
    vocabulary_size: int

    def masked(
        self, token_ids: tf.Tensor, indices: tf.Tensor, key: int, samples_per_step: float
    ) -> dict[str, tf.Tensor]:
        """What `mask_tokens` makes of `token_ids`, int32 [batch, length], and `padding_mask`; see there."""
        masked = mask_tokens(
            token_ids, indices, self.masking, self.vocabulary_size, random_key(key, "mask"), samples_per_step
        )
        return {**masked, "padding_mask": padding_mask(token_ids)}


class WithDraws(MaskingStream):
    """Adds `sample_uniforms`, float32 [batch, predictions] in [0, 1): one number a prediction, of the sample alone."""

    def masked(
        self, token_ids: tf.Tensor, indices: tf.Tensor, key: int, samples_per_step: float
    ) -> dict[str, tf.Tensor]:
        batch = super().masked(token_ids, indices, key, samples_per_step)
        row_keys = tf.expand_dims(tf_random_bits(random_key(key, "draw"), indices), 1)
        slots = tf.expand_dims(tf.range(batch["mask_ids"].shape[1], dtype=tf.int64), 0)
        return {**batch, "sample_uniforms": tf_uniform(row_keys, slots)}


class MonolingualStream(MaskingStream):
    """MMLM batches: blocks of one language each, languages drawn with exponent alpha.

    Args:
        manifest: `Manifest` of kind "mmlm".
        batch_size: int, blocks a batch.
        vocabulary_size: int, of the tokenizer that made the records.
        seed: int.
        language_exponent: float in 0..1, alpha of `language_probabilities` over records.
        masking: `Masking`.
        split: "train" or "validation".
        validation_records: int, held out of each language; see `infoxlm_keras.data.split`.
    """

    name = "mmlm"

    def __init__(
        self,
        manifest: Manifest,
        batch_size: int,
        vocabulary_size: int,
        seed: int,
        language_exponent: float = 0.7,
        masking: Masking | None = None,
        split: str = "train",
        validation_records: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self.length = manifest.sequence_length
        self.vocabulary_size = vocabulary_size
        self.masking = masking or Masking()
        self.key = _split_key(random_key(seed, self.name), split)
        parts = stream_parts(manifest, split, validation_records)
        totals = _total_records(manifest)
        probabilities = stream_probabilities(totals, language_exponent)
        self.probabilities = _normalized([probabilities[part.name] for part in parts])
        self.mixture = LanguageMixture(parts, self.probabilities, self.key)

    def dataset(self, start_step: int = 0) -> tf.data.Dataset:
        """Batches from number `start_step` on: `padding_mask` and what `mask_tokens` gives."""

        @_as_it_is
        def collate(number, serialized):
            token_ids = parse_token_lists(serialized, ["token_ids"])["token_ids"]
            token_ids = token_ids.to_tensor(default_value=PAD_ID, shape=[None, self.length])
            token_ids = tf.ensure_shape(token_ids, [self.batch_size, self.length])
            indices = number * self.batch_size + tf.range(self.batch_size, dtype=tf.int64)
            return self.masked(token_ids, indices, self.key, self.batch_size)

        batches = self.mixture.dataset(start_step * self.batch_size, self.batch_size)
        return _numbered(batches, start_step).map(collate, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


class BitextStream(MaskingStream):
    """Batches of translation pairs, each from one length bucket; base of TLM, TRTD and XLCO.

    Args:
        manifest: `Manifest` of kind "bitext".
        batch_size: int, samples a batch.
        vocabulary_size: int.
        seed: int.
        language_exponent: float in 0..1, over the records of each pair of languages, of both directions together.
        masking: `Masking`.
        longest: int or None. Buckets above it are left out (their pairs are not read).
        split: "train" or "validation".
        validation_records: int, held out of each pair of languages and bucket; see `infoxlm_keras.data.split`.
    """

    name: str  # the task's name; subclasses set it
    pairs_per_sample = 1

    def __init__(
        self,
        manifest: Manifest,
        batch_size: int,
        vocabulary_size: int,
        seed: int,
        language_exponent: float = 0.7,
        masking: Masking | None = None,
        longest: int | None = None,
        split: str = "train",
        validation_records: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self.vocabulary_size = vocabulary_size
        self.masking = masking or Masking()
        self.key = _split_key(random_key(seed, self.name), split)
        totals = _total_records(manifest)
        self.probabilities = stream_probabilities(totals, language_exponent)
        records = {(stream.name, stream.length): stream.records for stream in manifest.streams}
        all_parts = stream_parts(manifest, split, validation_records)

        self.lengths, self.mixtures, shares = [], [], []
        for length in sorted({part.length for part in all_parts}):
            if longest is not None and length > longest:
                continue
            parts = [part for part in all_parts if part.length == length]
            weights = np.array([self.probabilities[p.name] * records[p.name, length] / totals[p.name] for p in parts])
            self.lengths.append(length)
            shares.append(weights.sum())
            self.mixtures.append(LanguageMixture(parts, _normalized(weights), random_key(self.key, length)))
        if not self.lengths:
            raise InputError(f"{self.name}: no pairs are left with longest = {longest}; raise it")
        # The key does not contain the task, so that TLM and XLCO take the same bucket at the same step.
        self.bucket_shares = _normalized(shares)
        self.bucket_schedule = StratifiedSchedule(self.bucket_shares, random_key(seed, "bucket"))

    def bucket(self, step: int) -> tuple[int, int]:
        """(index of the bucket of batch `step`, number of earlier batches from it)."""
        choice = int(self.bucket_schedule.draw(step, 1)[0])
        return choice, int(self.bucket_schedule.counts(step)[choice])

    def dataset(self, start_step: int = 0) -> tf.data.Dataset:
        """Batches from number `start_step` on; see `collate` of the subclass for their content."""
        earlier = self.bucket_schedule.counts(start_step)
        buckets = [self._bucket_dataset(index, int(count)) for index, count in enumerate(earlier)]
        if len(buckets) == 1:
            return buckets[0]
        choices = _choices(self.bucket_schedule, start_step)
        return tf.data.Dataset.choose_from_datasets(buckets, choices, stop_on_empty_dataset=False)

    def _bucket_dataset(self, index, start):
        pairs = self.batch_size * self.pairs_per_sample
        key = random_key(self.key, self.lengths[index], "sample")

        @_as_it_is
        def collate(number, serialized):
            # The schedule alternates languages regularly: shuffle the pairs before samples are made of them.
            shuffled = tf.gather(serialized, tf_random_permutation(tf_fold(random_key(key, "batch"), number), pairs))
            parsed = parse_token_lists(shuffled, ["source_ids", "target_ids"])
            indices = number * self.batch_size + tf.range(self.batch_size, dtype=tf.int64)
            batch = self.collate(parsed["source_ids"], parsed["target_ids"], indices, key, self.lengths[index])
            return {name: tf.ensure_shape(values, [self.batch_size, None]) for name, values in batch.items()}

        batches = self.mixtures[index].dataset(start * pairs, pairs)
        return _numbered(batches, start).map(collate, num_parallel_calls=2, deterministic=True)

    def samples_per_step(self, length: int) -> float:
        """Samples of the bucket `length` that a step has on average; the schedule keeps close to it."""
        return self.batch_size * float(self.bucket_shares[self.lengths.index(length)])

    def collate(
        self, source: tf.RaggedTensor, target: tf.RaggedTensor, indices: tf.Tensor, key: int, length: int
    ) -> dict[str, tf.Tensor]:
        """One batch from ragged int32 [pairs, None] `source` and `target`; `indices` number its samples."""
        raise NotImplementedError


class TLMStream(BitextStream):
    """TLM batches: `<s> src </s> tgt </s>` and, for a fair half, `<s> tgt </s> src </s>`, masked on both sides."""

    name = "tlm"

    def collate(
        self, source: tf.RaggedTensor, target: tf.RaggedTensor, indices: tf.Tensor, key: int, length: int
    ) -> dict[str, tf.Tensor]:
        flip = tf_uniform(random_key(key, "direction"), indices) < 0.5
        token_ids = translation_pairs(source, target, flip, 2 * length + 3)
        return self.masked(token_ids, indices, key, self.samples_per_step(length))


class MRTDStream(WithDraws, MonolingualStream):
    """MRTD batches: MMLM's, with `sample_uniforms`."""

    name = "mrtd"


class TRTDStream(WithDraws, TLMStream):
    """TRTD batches: TLM's, with `sample_uniforms`."""

    name = "trtd"


class XLCOStream(BitextStream):
    """XLCO batches: `query_token_ids`, `query_padding_mask`, `key_token_ids`, `key_padding_mask`.

    Args:
        mixup: bool, join two pairs on each side (the paper's mixup contrast).
        mask_inputs: bool, hide tokens on both sides as MMLM does, without a loss on them (reference behaviour).
        others: see `BitextStream`.
    """

    name = "xlco"

    def __init__(self, *arguments: Any, mixup: bool = True, mask_inputs: bool = True, **options: Any) -> None:
        self.mixup = mixup
        self.mask_inputs = mask_inputs
        self.pairs_per_sample = 2 if mixup else 1
        super().__init__(*arguments, **options)

    def collate(
        self, source: tf.RaggedTensor, target: tf.RaggedTensor, indices: tf.Tensor, key: int, length: int
    ) -> dict[str, tf.Tensor]:
        coins = tf.stack([tf_uniform(random_key(key, "coin", coin), indices) < 0.5 for coin in range(3)], axis=1)
        if self.mixup:
            queries, keys = mixup_contrast(source, target, coins, 2 * length + 3)
        else:
            queries, keys = plain_contrast(source, target, coins[:, 2], length + 2)
        batch = {"query_padding_mask": padding_mask(queries), "key_padding_mask": padding_mask(keys)}
        for side, token_ids in (("query", queries), ("key", keys)):
            if self.mask_inputs:
                mask_key = random_key(key, "mask", side)
                rate = self.samples_per_step(length)
                masked = mask_tokens(token_ids, indices, self.masking, self.vocabulary_size, mask_key, rate)
                token_ids = masked["token_ids"]
            batch[f"{side}_token_ids"] = token_ids
        return batch


def joined_dataset(
    streams: Sequence[BatchStream], start_step: int = 0, shard: tuple[int, int] = (0, 1), accumulation_steps: int = 1
) -> tf.data.Dataset:
    """`{stream name: its batch}` a step, from step `start_step` on, prefetched; for `InfoXLMPretrainer.fit`.

    Args:
        streams: list of streams with different names.
        start_step: int.
        shard: (index, count). Worker `index` of `count` gets its share of every global batch; see `shard_batch`.
        accumulation_steps: int, micro-batches in a global batch.

    Returns:
        tf.data.Dataset of dicts, endless.

    Raises:
        InputError: if batches cannot be divided by `count`.
    """
    datasets = {stream.name: stream.dataset(start_step) for stream in streams}
    options = tf.data.Options()
    options.deterministic = True
    # They find nothing to change in these streams, and opening takes a quarter longer with them.
    options.experimental_optimization.apply_default_optimizations = False
    joined = tf.data.Dataset.zip(datasets)
    index, count = shard
    if count > 1:
        joined = joined.map(_as_it_is(lambda batch: shard_batch(batch, index, count, accumulation_steps)))
    return joined.with_options(options).prefetch(tf.data.AUTOTUNE)


def _split_key(key, split):
    # Training keeps the stream's own key; validation draws languages, masks and flips for itself.
    return key if split == "train" else random_key(key, split)


def _total_records(manifest):
    """dict of language (pair) to its records in all lengths and splits, sorted."""
    totals = dict.fromkeys(sorted(stream.name for stream in manifest.streams), 0)
    for stream in manifest.streams:
        totals[stream.name] += stream.records
    return totals


def _normalized(weights):
    weights = np.asarray(weights, np.float64)
    return weights / weights.sum()


def _choices(schedule, start):
    """The schedule's draws from `start` on as a dataset of int64 scalars, computed in blocks."""
    block = 4096

    @_as_it_is
    def draw(number):
        indices = (tf.range(block, dtype=tf.int64) + number * block + start) % MODULUS
        points = (indices * STRIDE + schedule.offset) % MODULUS
        return tf.searchsorted(tf.constant(schedule.edges), points, side="right", out_type=tf.int64)

    return tf.data.Dataset.range(tf.int64.max).map(draw).unbatch()


def _numbered(batches, start):
    return tf.data.Dataset.zip(tf.data.Dataset.range(start, tf.int64.max), batches)
