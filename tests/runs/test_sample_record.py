"""The records that a step is said to have read are those that its batch holds."""

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.data.masking import Masking
from infoxlm_keras.data.records import parse_token_lists
from infoxlm_keras.data.streams import MonolingualStream, TLMStream, XLCOStream
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.reports.language_probabilities import language_probabilities_of
from infoxlm_keras.reports.skipped_samples import describe_samples
from infoxlm_keras.runs.sample_record import samples_of_steps


def stream_of(kind, inputs, tokenizer, **options):
    manifest = read_manifest(inputs / "data", "mmlm" if kind is MonolingualStream else "bitext")
    return manifest, kind(manifest, 4, tokenizer.vocabulary_size, seed=3, masking=Masking(0.15, 0.0, 0.0), **options)


def token_counts(manifest, run, features):
    """How often each id occurs in the named records."""
    counts = np.zeros(300, int)
    for name, shards in run["records"].items():
        stream = next(known for known in manifest.streams if (known.name, known.length) == (name, run["length"]))
        for shard, records in shards.items():
            stored = list(tf.data.TFRecordDataset(manifest.shard_path(stream.shards[int(shard)])))
            parsed = parse_token_lists(tf.stack([stored[record] for record in records]), features)
            for tokens in parsed.values():
                counts += np.bincount(tokens.flat_values.numpy(), minlength=300)
    return counts


@pytest.mark.parametrize("step", [1, 4, 30])
def test_blocks(inputs, tokenizer, step):
    """Nothing is hidden here (all chosen tokens are kept), so a batch's ids are its records' ids."""
    manifest, stream = stream_of(MonolingualStream, inputs, tokenizer)
    batch = next(stream.dataset(step - 1).as_numpy_iterator())
    [run] = samples_of_steps([stream], step, step)["mmlm"]
    assert (run["first_sample"], run["last_sample"]) == (4 * (step - 1), 4 * step - 1)
    seen = np.bincount(batch["token_ids"][batch["padding_mask"] == 1], minlength=300)
    np.testing.assert_array_equal(token_counts(manifest, run, ["token_ids"]), seen)


@pytest.mark.parametrize("step", [1, 7])
def test_pairs_joined_by_two(inputs, tokenizer, step):
    manifest, stream = stream_of(XLCOStream, inputs, tokenizer)
    batch = next(stream.dataset(step - 1).as_numpy_iterator())
    [run] = samples_of_steps([stream], step, step)["xlco"]
    assert sum(len(records) for shards in run["records"].values() for records in shards.values()) == 2 * 4
    seen = sum(np.bincount(batch[f"{side}_token_ids"].reshape(-1), minlength=300) for side in ("query", "key"))
    # But for <s>, <pad> and </s>, which are not stored.
    np.testing.assert_array_equal(token_counts(manifest, run, ["source_ids", "target_ids"])[3:], seen[3:])


def test_several_steps_are_one_range_and_one_line(inputs, tokenizer):
    _, stream = stream_of(TLMStream, inputs, tokenizer)
    samples = samples_of_steps([stream], 3, 5)
    assert describe_samples(samples) == "tlm samples 8..19 of length 30 (en-de 12)"
    assert describe_samples({}) == "unknown samples"


def test_effective_probabilities_follow_the_exponent(inputs, tokenizer):
    manifest, stream = stream_of(MonolingualStream, inputs, tokenizer, language_exponent=0.5)
    found = language_probabilities_of([stream], steps=10)["mmlm"]
    weights = {known.name: known.records**0.5 for known in manifest.streams}
    for name, weight in weights.items():
        assert found[name]["probability"] == pytest.approx(weight / sum(weights.values()), abs=1e-8)
        assert found[name]["epochs"] == pytest.approx(40 * found[name]["probability"] / found[name]["records"])
