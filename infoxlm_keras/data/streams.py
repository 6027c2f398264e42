"""The three streams MMLM, TLM and XLCO as `tf.data.Dataset`s that start at any step (TensorFlow).

Batch number s of a stream is a pure function of (seed, s): languages and length buckets follow
`StratifiedSchedule`, records `RecordOrder`, masks and flips `stateless_random`. Every batch of TLM and XLCO comes
from one length bucket, the same for both at a step, so there are only as many shapes as buckets.
"""

import numpy as np
import tensorflow as tf

from infoxlm_keras.data.masking import Masking, mask_tokens, padding_mask
from infoxlm_keras.data.order import MODULUS, STRIDE, RecordOrder, StratifiedSchedule, language_probabilities
from infoxlm_keras.data.records import parse_token_lists, record_dataset
from infoxlm_keras.data.sequences import mixup_contrast, plain_contrast, translation_pairs
from infoxlm_keras.data.stateless_random import random_key, tf_fold, tf_random_permutation, tf_uniform
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import PAD_ID


class LanguageMixture:
    """Records drawn from several streams of one shape, by language probability.

    Args:
        manifest: `Manifest`, for the shards' paths.
        streams: list of `Stream`s of one length.
        probabilities: float array [len(streams)], the share of each.
        key: int, see `random_key`.
    """

    def __init__(self, manifest, streams, probabilities, key):
        self.manifest = manifest
        self.streams = streams
        self.schedule = StratifiedSchedule(probabilities, random_key(key, "language"))
        self.orders = [
            RecordOrder([shard.records for shard in stream.shards], random_key(key, stream.name, stream.length))
            for stream in streams
        ]
        self._key = key

    def records(self, start):
        """tf.data.Dataset of serialized records from draw number `start` on."""
        drawn = self.schedule.counts(start)
        datasets = [
            record_dataset([str(self.manifest.shard_path(shard)) for shard in stream.shards], order, int(count))
            for stream, order, count in zip(self.streams, self.orders, drawn, strict=True)
        ]
        if len(datasets) == 1:
            return datasets[0]
        choices = _choices(self.schedule, start)
        return tf.data.Dataset.choose_from_datasets(datasets, choices, stop_on_empty_dataset=False)

    def samples(self, start, count):
        """List of (stream name, epoch, shard, record) of the draws `start`..`start + count`, for checks and audits."""
        ranks = self.schedule.counts(start)
        found = []
        for choice in self.schedule.draw(start, count):
            found.append((self.streams[choice].name, *self.orders[choice].record(int(ranks[choice]))))
            ranks[choice] += 1
        return found


class MonolingualStream:
    """MMLM batches: blocks of one language each, languages drawn with exponent alpha.

    Args:
        manifest: `Manifest` of kind "mmlm".
        batch_size: int, blocks a batch.
        vocabulary_size: int, of the tokenizer that made the records.
        seed: int.
        language_exponent: float in 0..1, alpha of `language_probabilities` over records.
        masking: `Masking`.
    """

    name = "mmlm"

    def __init__(self, manifest, batch_size, vocabulary_size, seed, language_exponent=0.7, masking=None):
        self.batch_size = batch_size
        self.length = manifest.sequence_length
        self.vocabulary_size = vocabulary_size
        self.masking = masking or Masking()
        self.key = random_key(seed, self.name)
        self.probabilities = language_probabilities([stream.records for stream in manifest.streams], language_exponent)
        self.mixture = LanguageMixture(manifest, list(manifest.streams), self.probabilities, self.key)

    def dataset(self, start_step=0):
        """Batches from number `start_step` on: `padding_mask` and what `mask_tokens` gives."""

        def collate(number, serialized):
            token_ids = parse_token_lists(serialized, ["token_ids"])["token_ids"]
            token_ids = token_ids.to_tensor(default_value=PAD_ID, shape=[None, self.length])
            token_ids = tf.ensure_shape(token_ids, [self.batch_size, self.length])
            indices = number * self.batch_size + tf.range(self.batch_size, dtype=tf.int64)
            masked = mask_tokens(token_ids, indices, self.masking, self.vocabulary_size, random_key(self.key, "mask"))
            return {**masked, "padding_mask": padding_mask(token_ids)}

        batches = self.mixture.records(start_step * self.batch_size).batch(self.batch_size, drop_remainder=True)
        return _numbered(batches, start_step).map(collate, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


class BitextStream:
    """Batches of translation pairs, each from one length bucket; base of TLM and XLCO.

    Args:
        manifest: `Manifest` of kind "bitext".
        batch_size: int, samples a batch.
        vocabulary_size: int.
        seed: int.
        language_exponent: float in 0..1, over the pairs of each language.
        masking: `Masking`.
        longest: int or None. Buckets above it are left out (their pairs are not read).
    """

    name = None
    pairs_per_sample = 1

    def __init__(
        self, manifest, batch_size, vocabulary_size, seed, language_exponent=0.7, masking=None, longest=None
    ):
        self.batch_size = batch_size
        self.vocabulary_size = vocabulary_size
        self.masking = masking or Masking()
        self.key = random_key(seed, self.name)
        names = sorted({stream.name for stream in manifest.streams})
        totals = [sum(s.records for s in manifest.streams if s.name == name) for name in names]
        self.probabilities = dict(zip(names, language_probabilities(totals, language_exponent), strict=True))
        totals = dict(zip(names, totals, strict=True))

        self.lengths, self.mixtures, shares = [], [], []
        for length in sorted({stream.length for stream in manifest.streams if stream.records}):
            if longest is not None and length > longest:
                continue
            streams = [stream for stream in manifest.streams if stream.length == length and stream.records]
            weights = np.array([self.probabilities[s.name] * s.records / totals[s.name] for s in streams])
            self.lengths.append(length)
            shares.append(weights.sum())
            key = random_key(self.key, length)
            self.mixtures.append(LanguageMixture(manifest, streams, weights / weights.sum(), key))
        if not self.lengths:
            raise InputError(f"{self.name}: no pairs are left with longest = {longest}; raise it")
        # Not the task's own key: TLM and XLCO take the same bucket at the same step.
        self.bucket_schedule = StratifiedSchedule(np.array(shares) / sum(shares), random_key(seed, "bucket"))

    def bucket(self, step):
        """(index of the bucket of batch `step`, number of earlier batches from it)."""
        choice = int(self.bucket_schedule.draw(step, 1)[0])
        return choice, int(self.bucket_schedule.counts(step)[choice])

    def dataset(self, start_step=0):
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

        def collate(number, serialized):
            # Neighbours in the schedule differ in a regular way: mix them before samples are made of them.
            shuffled = tf.gather(serialized, tf_random_permutation(tf_fold(random_key(key, "batch"), number), pairs))
            parsed = parse_token_lists(shuffled, ["source_ids", "target_ids"])
            indices = number * self.batch_size + tf.range(self.batch_size, dtype=tf.int64)
            return self.collate(parsed["source_ids"], parsed["target_ids"], indices, key, self.lengths[index])

        batches = self.mixtures[index].records(start * pairs).batch(pairs, drop_remainder=True)
        return _numbered(batches, start).map(collate, num_parallel_calls=2, deterministic=True)

    def collate(self, source, target, indices, key, length):
        """One batch from ragged int32 [pairs, None] `source` and `target`; `indices` number its samples."""
        raise NotImplementedError


class TLMStream(BitextStream):
    """TLM batches: `<s> src </s> tgt </s>` and, for a fair half, `<s> tgt </s> src </s>`, masked on both sides."""

    name = "tlm"

    def collate(self, source, target, indices, key, length):
        flip = tf_uniform(random_key(key, "direction"), indices) < 0.5
        token_ids = translation_pairs(source, target, flip, 2 * length + 3)
        masked = mask_tokens(token_ids, indices, self.masking, self.vocabulary_size, random_key(key, "mask"))
        return {**masked, "padding_mask": padding_mask(token_ids)}


class XLCOStream(BitextStream):
    """XLCO batches: `query_token_ids`, `query_padding_mask`, `key_token_ids`, `key_padding_mask`.

    Args:
        mixup: bool, join two pairs on each side (the paper's mixup contrast).
        mask_inputs: bool, hide tokens on both sides as MMLM does, without a loss on them (reference behaviour).
        others: see `BitextStream`.
    """

    name = "xlco"

    def __init__(self, *arguments, mixup=True, mask_inputs=True, **options):
        self.mixup = mixup
        self.mask_inputs = mask_inputs
        self.pairs_per_sample = 2 if mixup else 1
        super().__init__(*arguments, **options)

    def collate(self, source, target, indices, key, length):
        coins = tf.stack([tf_uniform(random_key(key, "coin", coin), indices) < 0.5 for coin in range(3)], axis=1)
        if self.mixup:
            queries, keys = mixup_contrast(source, target, coins, 2 * length + 3)
        else:
            queries, keys = plain_contrast(source, target, coins[:, 2], length + 2)
        batch = {"query_padding_mask": padding_mask(queries), "key_padding_mask": padding_mask(keys)}
        for side, token_ids in (("query", queries), ("key", keys)):
            if self.mask_inputs:
                mask_key = random_key(key, "mask", side)
                masked = mask_tokens(token_ids, indices, self.masking, self.vocabulary_size, mask_key)
                token_ids = masked["token_ids"]
            batch[f"{side}_token_ids"] = token_ids
        return batch


def joined_dataset(streams, start_step=0):
    """`{stream name: its batch}` a step, from step `start_step` on, prefetched; for `InfoXLMPretrainer.fit`."""
    datasets = {stream.name: stream.dataset(start_step) for stream in streams}
    options = tf.data.Options()
    options.deterministic = True
    return tf.data.Dataset.zip(datasets).with_options(options).prefetch(tf.data.AUTOTUNE)


def _choices(schedule, start):
    """The schedule's draws from `start` on as a dataset of int64 scalars, computed in blocks."""
    block = 4096

    def draw(number):
        indices = (tf.range(block, dtype=tf.int64) + number * block + start) % MODULUS
        points = (indices * STRIDE + schedule.offset) % MODULUS
        return tf.searchsorted(tf.constant(schedule.edges), points, side="right", out_type=tf.int64)

    return tf.data.Dataset.range(tf.int64.max).map(draw).unbatch()


def _numbered(batches, start):
    return tf.data.Dataset.zip(tf.data.Dataset.range(start, tf.int64.max), batches)
