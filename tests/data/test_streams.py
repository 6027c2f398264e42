"""The three streams: their content, and that batch s is a pure function of (seed, s)."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.data.records import parse_token_lists
from infoxlm_keras.data.sequences import mixup_contrast
from infoxlm_keras.data.streams import MonolingualStream, TLMStream, XLCOStream, joined_dataset
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import read_manifest
from running import run
from sample_text import sentences

LENGTHS = (8, 16, 32, 64)


@pytest.fixture(scope="module")
def data_dir(tokenizer_dir, tmp_path_factory):
    """Records of three languages and two pairs, in several small shards."""
    root = tmp_path_factory.mktemp("streams")
    (root / "text").mkdir()
    (root / "pairs").mkdir()
    english = sentences("en", 300)
    for language, count in (("en", 300), ("de", 120), ("zh", 60)):
        (root / "text" / f"{language}.txt").write_text("\n".join(sentences(language, count)) + "\n")
    for language, count in (("de", 300), ("zh", 90)):
        pairs = zip(english, sentences(language, count), strict=False)
        (root / "pairs" / f"en-{language}.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
    common = ["--tokenizer", tokenizer_dir, "--output_dir", root / "data", "--processes", 1]
    run(build_monolingual.main, "--input", root / "text", *common, "--sequence_length", 32, "--shard_megabytes", 0.003)
    arguments = ["--lengths", *LENGTHS, "--max_length", LENGTHS[-1], "--shard_megabytes", 0.003]
    run(build_bitext.main, "--input", root / "pairs", *common, *arguments)
    return root / "data"


def monolingual(data_dir, tokenizer, **options):
    return MonolingualStream(read_manifest(data_dir, "mmlm"), 4, tokenizer.vocabulary_size, **{"seed": 3, **options})


def bitext(kind, data_dir, tokenizer, **options):
    return kind(read_manifest(data_dir, "bitext"), 6, tokenizer.vocabulary_size, **{"seed": 3, **options})


def batches(stream, start, count):
    return list(itertools.islice(stream.dataset(start).as_numpy_iterator(), count))


def equal(first, second):
    return all(
        set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(first, second, strict=True)
    )


def stored_records(manifest, stream, names):
    """All records of a stream by (shard, number), read plainly."""
    records = {}
    for shard, description in enumerate(stream.shards):
        serialized = list(tf.data.TFRecordDataset(manifest.shard_path(description)))
        parsed = parse_token_lists(tf.stack(serialized), names)
        for number in range(len(serialized)):
            records[shard, number] = tuple(tuple(parsed[name][number].numpy()) for name in names)
    return records


def unmasked(batch, prefix=""):
    """Token ids with the masked ones put back."""
    token_ids = batch[f"{prefix}token_ids"].copy()
    for row in range(len(token_ids)):
        for position, token_id, weight in zip(
            batch["mask_positions"][row], batch["mask_ids"][row], batch["mask_weights"][row], strict=True
        ):
            if weight:
                token_ids[row, position] = token_id
    return token_ids


@pytest.mark.parametrize("name", ["mmlm", "tlm", "xlco"])
@pytest.mark.parametrize("start", [1, 61])
def test_a_stream_that_starts_late_goes_on_as_the_whole_one(name, start, data_dir, tokenizer):
    stream = {
        "mmlm": lambda: monolingual(data_dir, tokenizer),
        "tlm": lambda: bitext(TLMStream, data_dir, tokenizer),
        "xlco": lambda: bitext(XLCOStream, data_dir, tokenizer),
    }[name]()
    whole = batches(stream, 0, start + 5)
    assert equal(whole[start:], batches(stream, start, 5))


def test_another_seed_gives_other_batches(data_dir, tokenizer):
    first = batches(bitext(XLCOStream, data_dir, tokenizer), 0, 3)
    assert not equal(first, batches(bitext(XLCOStream, data_dir, tokenizer, seed=4), 0, 3))


def test_mmlm_batches_hold_the_records_that_arithmetic_names(data_dir, tokenizer):
    stream = monolingual(data_dir, tokenizer)
    manifest = read_manifest(data_dir, "mmlm")
    stored = {s.name: stored_records(manifest, s, ["token_ids"]) for s in manifest.streams}
    assert any(len(s.shards) > 1 for s in manifest.streams)
    expected = [stored[name][shard, number][0] for name, _, shard, number in stream.mixture.samples(0, 4 * 50)]
    for step, batch in enumerate(batches(stream, 0, 50)):
        restored = unmasked(batch)
        for row in range(4):
            record = expected[4 * step + row]
            assert tuple(restored[row][: len(record)]) == record
            assert np.all(restored[row][len(record) :] == 1)
        assert np.array_equal(batch["padding_mask"], restored != 1)


def test_every_record_comes_once_an_epoch_in_every_language(data_dir, tokenizer):
    stream = monolingual(data_dir, tokenizer)
    manifest = read_manifest(data_dir, "mmlm")
    seen = collections.defaultdict(collections.Counter)
    for name, epoch, shard, number in stream.mixture.samples(0, 1000):
        seen[name, epoch][shard, number] += 1
    for language in manifest.streams:
        assert seen[language.name, 0] == collections.Counter(list(stored_records(manifest, language, ["token_ids"])))


def test_tlm_has_both_directions_and_both_sides_in_full(data_dir, tokenizer):
    stream = bitext(TLMStream, data_dir, tokenizer)
    manifest = read_manifest(data_dir, "bitext")
    known = {}
    for s in manifest.streams:
        for source, target in stored_records(manifest, s, ["source_ids", "target_ids"]).values():
            known[(0, *source, 2, *target, 2)] = "forward"
            known[(0, *target, 2, *source, 2)] = "backward"
    directions = collections.Counter()
    for batch in batches(stream, 0, 100):
        for row in unmasked(batch):
            directions[known[tuple(row[row != 1])]] += 1
    # 600 fair coins: standard deviation 12.
    assert abs(directions["forward"] - 300) < 60 and sum(directions.values()) == 600


def test_tlm_and_xlco_take_the_same_bucket_and_keep_static_widths(data_dir, tokenizer):
    streams = [bitext(TLMStream, data_dir, tokenizer), bitext(XLCOStream, data_dir, tokenizer)]
    widths = set()
    for batch in itertools.islice(joined_dataset(streams).as_numpy_iterator(), 60):
        width = batch["tlm"]["token_ids"].shape[1]
        assert batch["xlco"]["query_token_ids"].shape == batch["xlco"]["key_token_ids"].shape == (6, width)
        widths.add(width)
    assert widths <= {2 * length + 3 for length in LENGTHS} and len(widths) > 1


def test_batches_are_spread_over_buckets_and_languages_by_probability(data_dir, tokenizer):
    stream = bitext(TLMStream, data_dir, tokenizer, language_exponent=0.0)
    drawn = collections.Counter()
    for bucket, mixture in enumerate(stream.mixtures):
        number = int(stream.bucket_schedule.counts(3000)[bucket]) * 6
        for source, count in zip(mixture.parts, mixture.schedule.counts(number), strict=True):
            drawn[source.name] += int(count)
    # Exponent 0: both pairs alike, though one is three times as large.
    assert abs(drawn["en-de"] / 18000 - 0.5) < 0.01


def ragged(*rows):
    return tf.ragged.constant([list(row) for row in rows], tf.int32)


def test_mixup_makes_all_eight_arrangements_with_right_boundaries():
    source, target = ragged([10, 11], [20]), ragged([30], [40, 41, 42])
    c1, d1, c2, d2 = (10, 11), (20,), (30,), (40, 41, 42)
    seen = set()
    for coins in itertools.product([False, True], repeat=3):
        queries, keys = mixup_contrast(source, target, tf.constant([coins]), length=9)
        side_a = (0, *d1, 2, *c1, 2) if coins[0] else (0, *c1, 2, *d1, 2)
        side_b = (0, *d2, 2, *c2, 2) if coins[1] else (0, *c2, 2, *d2, 2)
        query, key = (side_b, side_a) if coins[2] else (side_a, side_b)
        found = tuple(tuple(int(t) for t in row[0] if t != 1) for row in (queries.numpy(), keys.numpy()))
        assert found == (query, key)
        seen.add(found)
    assert len(seen) == 8


def test_all_arrangements_occur_equally_and_the_positive_is_the_translation(data_dir, tokenizer):
    stream = bitext(XLCOStream, data_dir, tokenizer, mask_inputs=False)
    manifest = read_manifest(data_dir, "bitext")
    translation = collections.defaultdict(set)
    sources = set()
    for s in manifest.streams:
        for source, target in stored_records(manifest, s, ["source_ids", "target_ids"]).values():
            translation[source].add(target)
            translation[target].add(source)
            sources.add(source)

    def halves(row):
        ends = np.flatnonzero(row == 2)
        return tuple(row[1 : ends[0]]), tuple(row[ends[0] + 1 : ends[1]])

    swapped, query_is_source, total = 0, 0, 0
    for batch in batches(stream, 0, 120):
        for query, key in zip(batch["query_token_ids"], batch["key_token_ids"], strict=True):
            first, second = halves(query)
            straight = halves(key)[0] in translation[first] and halves(key)[1] in translation[second]
            crossed = halves(key)[0] in translation[second] and halves(key)[1] in translation[first]
            assert straight or crossed
            swapped += crossed and not straight
            query_is_source += first in sources
            total += 1
    # 720 fair coins: standard deviation 13.
    assert abs(swapped - total / 2) < 5 * 13.5 and abs(query_is_source - total / 2) < 5 * 13.5


def test_a_probability_of_masking_that_changes_is_that_of_the_step_in_every_bucket(data_dir, tokenizer):
    """A bucket numbers its own batches; its share tells their step to within a few."""
    masking = Masking(0.5, final_probability=0.1, steps=60)
    stream = bitext(TLMStream, data_dir, tokenizer, masking=masking)
    found = collections.defaultdict(list)
    for step, batch in enumerate(batches(stream, 0, 60)):
        share = batch["mask_weights"].sum() / (unmasked(batch) > 2).sum()
        found[batch["token_ids"].shape[1]].append((step, share - (0.5 - 0.4 * step / 59)))
    assert len(found) > 2
    for length, deviations in found.items():
        assert np.abs(np.mean([share for _, share in deviations])) < 0.05, length
    assert equal(batches(bitext(TLMStream, data_dir, tokenizer, masking=masking), 40, 3), batches(stream, 40, 3))


def test_masking_of_contrast_inputs_is_a_switch(data_dir, tokenizer):
    plain = batches(bitext(XLCOStream, data_dir, tokenizer, mask_inputs=False), 0, 10)
    hidden = batches(bitext(XLCOStream, data_dir, tokenizer, masking=Masking(mask_share=1.0, random_share=0.0)), 0, 10)
    for without, with_masks in zip(plain, hidden, strict=True):
        for side in ("query_token_ids", "key_token_ids"):
            masked = with_masks[side] == tokenizer.mask_id
            assert masked.any() and not (without[side] == tokenizer.mask_id).any()
            assert np.array_equal(without[side][~masked], with_masks[side][~masked])


def test_without_mixup_a_sample_is_one_pair(data_dir, tokenizer):
    stream = bitext(XLCOStream, data_dir, tokenizer, mixup=False, mask_inputs=False)
    for batch in batches(stream, 0, 5):
        assert np.all((batch["query_token_ids"] == 2).sum(axis=1) == 1)


def test_longest_leaves_longer_buckets_out(data_dir, tokenizer):
    stream = bitext(TLMStream, data_dir, tokenizer, longest=16)
    assert stream.lengths and max(stream.lengths) <= 16
    with pytest.raises(InputError, match="longest = 1"):
        bitext(TLMStream, data_dir, tokenizer, longest=1)
