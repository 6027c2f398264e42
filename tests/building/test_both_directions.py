"""Pairs given in both directions are one corpus: repeats are found across them, held-out pairs stay held out."""

import pytest
import tensorflow as tf

from infoxlm_keras.building import spills
from infoxlm_keras.building.repeated_records import reversed_names
from infoxlm_keras.commands import build_bitext, build_with_beam
from infoxlm_keras.data.split import stream_parts
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import chunks
from running import run, tree
from sample_text import sentences

PAIRS = list(zip(sentences("en", 90), sentences("de", 90), strict=True))


def write(folder, name, pairs):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))


def backwards(pairs):
    return [(target, source) for source, target in pairs]


def build(folder, output, tokenizer_dir, *options, processes=1):
    run(
        build_bitext.main,
        *("--input", folder, "--tokenizer", tokenizer_dir, "--output_dir", output, "--processes", processes),
        *options,
    )
    return read_manifest(output, "bitext")


def sources(manifest):
    """dict of name to (pairs kept, duplicates, near duplicates)."""
    return {
        source.name: (source.sentences, source.dropped["duplicate"], source.dropped.get("near_duplicate"))
        for source in manifest.sources
    }


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Many chunks and runs."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 700)
    monkeypatch.setattr(spills, "RUN_BYTES", 2000)


@pytest.mark.parametrize("names", [("en-de", "de-en"), ("eng-deu", "de-en"), ("en-zh_Hant", "zh_Hant-en")])
def test_repeats_are_found_across_directions(names, tmp_path, tokenizer_dir):
    write(tmp_path / "in", names[0], PAIRS[:40])
    write(tmp_path / "in", names[1], backwards(PAIRS[20:60]))
    found = sources(build(tmp_path / "in", tmp_path / "out", tokenizer_dir))
    first, second = sorted(found)
    assert found[first][:2] == (40, 0) and found[second][:2] == (20, 20)


def test_what_is_in_both_directions_leaves_one_of_them(tmp_path, tokenizer_dir):
    write(tmp_path / "in", "en-de", PAIRS[:40])
    write(tmp_path / "in", "de-en", backwards(PAIRS[:40]))
    manifest = build(tmp_path / "in", tmp_path / "out", tokenizer_dir)
    assert sources(manifest) == {"de-en": (40, 0, None), "en-de": (0, 40, None)}
    assert {stream.name for stream in manifest.streams} == {"de-en"}
    assert not (tmp_path / "out/bitext/en-de").exists()


def test_near_duplicates_are_found_across_directions(tmp_path, tokenizer_dir):
    long = [(f"{PAIRS[n][0]} {PAIRS[n + 1][0]}" * 2, f"{PAIRS[n][1]} {PAIRS[n + 1][1]}" * 2) for n in range(30)]
    write(tmp_path / "in", "en-de", [(f"{source}!", target) for source, target in long])
    write(tmp_path / "in", "de-en", backwards(long))
    found = sources(build(tmp_path / "in", tmp_path / "out", tokenizer_dir, "--near_duplicates"))
    assert found["de-en"][0] >= 28 and found["en-de"][0] + found["en-de"][2] == 30 and found["en-de"][2] > 25


def records(data_dir, split, validation_records):
    """Set of the pairs of a split, as token ids in the order of the languages' codes."""
    manifest = read_manifest(data_dir, "bitext")
    pairs = []
    for part in stream_parts(manifest, split, validation_records):
        order = slice(None, None, 1 if part.name == "de-en" else -1)
        for path, first, size in zip(part.paths, part.firsts, part.sizes, strict=True):
            for record in tf.data.TFRecordDataset(path).skip(int(first)).take(int(size)):
                example = tf.train.Example.FromString(record.numpy())
                sides = [
                    tuple(example.features.feature[f"{side}_ids"].int64_list.value) for side in ("source", "target")
                ]
                pairs.append(tuple(sides[order]))
    return pairs


def test_held_out_pairs_are_in_no_other_stream(tmp_path, tokenizer_dir):
    write(tmp_path / "in", "en-de", PAIRS[:70])
    write(tmp_path / "in", "de-en", backwards(PAIRS[30:]))
    build(tmp_path / "in", tmp_path / "out", tokenizer_dir)
    training, held_out = (records(tmp_path / "out", split, 3) for split in ("train", "validation"))
    assert len(held_out) > 3 and len(training) + len(held_out) == len({*training, *held_out}) == 90


def test_one_direction_is_built_as_ever_and_beam_builds_both_alike(tmp_path, tokenizer_dir):
    assert reversed_names(["en-de", "de-fr", "fr-en"]) == frozenset()
    assert reversed_names(["en-de", "de-en", "en-de", "en-fr"]) == {"en-de"}
    write(tmp_path / "in", "en-de", PAIRS[:40] + PAIRS[:5])
    write(tmp_path / "in", "de-en", backwards(PAIRS[20:60]))
    write(tmp_path / "in", "en-fr", PAIRS[:10])
    options = ("--near_duplicates", "--shard_megabytes", 0.001)
    build(tmp_path / "in", tmp_path / "local", tokenizer_dir, *options)
    build(tmp_path / "in", tmp_path / "parallel", tokenizer_dir, *options, processes=2)
    beam = ("--runner", "DirectRunner", "--direct_running_mode", "in_memory", "--processes", 1)
    run(
        build_with_beam.main,
        *("bitext", "--input", tmp_path / "in", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "beam"),
        *options,
        *beam,
    )
    assert tree(tmp_path / "parallel") == tree(tmp_path / "local") == tree(tmp_path / "beam")
    # Nothing of the other pairs' records depends on the two directions.
    (tmp_path / "in/de-en.tsv").unlink()
    (tmp_path / "in/en-de.tsv").unlink()
    build(tmp_path / "in", tmp_path / "alone", tokenizer_dir, *options)
    french = {path: data for path, data in tree(tmp_path / "local").items() if path.startswith("bitext/en-fr/")}
    assert french == {path: data for path, data in tree(tmp_path / "alone").items() if "en-fr/" in path}
