"""`--held_out`: no side of a pair that is held out is in a pair that is trained on, in any language or direction."""

import functools
import random

import pytest
import tensorflow as tf

from infoxlm_keras.building import spills
from infoxlm_keras.commands import build_bitext, build_with_beam
from infoxlm_keras.config import load_config
from infoxlm_keras.data.split import held_out, stream_parts
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.runs.training_records import TrainingRecords
from infoxlm_keras.text.readers import chunks
from running import refused, run, tree
from sample_text import sentences


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Many chunks and runs."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1500)
    monkeypatch.setattr(spills, "RUN_BYTES", 4000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Pairs of which many share sides: both directions, three languages, several translations of a sentence."""
    folder, draw = tmp_path_factory.mktemp("corpus"), random.Random(3)
    english, german, russian = (sentences(language, 220) for language in ("en", "de", "ru"))
    texts = {"en": english, "de": german, "ru": russian}
    for name, count, shared in (("en-de", 260, 0.2), ("de-en", 120, 0.3), ("en-ru", 200, 0.1), ("ru-de", 90, 0.1)):
        source, target = name.split("-")
        lines = []
        for number in range(count):
            place = number % 220
            other = draw.randrange(220) if draw.random() < shared else place
            lines.append(f"{texts[source][place]}\t{texts[target][other]}\n")
        # Equal but for case and punctuation.
        lines += [line.upper().replace(".", "!") for line in lines[:: count // 8]]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def build(corpus, output, tokenizer_dir, *options, processes=1):
    arguments = ("--input", corpus, "--tokenizer", tokenizer_dir, "--output_dir", output, "--processes", processes)
    run(build_bitext.main, *arguments, "--lengths", 12, 24, 64, "--max_length", 64, *options)
    return read_manifest(output, "bitext")


def sides(manifest, split, number):
    """list of the pairs of a split: two tuples of token ids each."""
    pairs = []
    for part in stream_parts(manifest, split, number):
        for path, first, size in zip(part.paths, part.firsts, part.sizes, strict=True):
            pairs += pairs_of_shard(path)[int(first) : int(first + size)]
    return pairs


@functools.cache
def pairs_of_shard(path):
    """list of its pairs: two tuples of token ids each."""
    features = (
        tf.train.Example.FromString(record.numpy()).features.feature for record in tf.data.TFRecordDataset(path)
    )
    return [tuple(tuple(each[f"{side}_ids"].int64_list.value) for side in ("source", "target")) for each in features]


def shared(manifest, number):
    """How many pairs that are trained on have a side of one that is held out."""
    held = {side for pair in sides(manifest, "validation", number) for side in pair}
    assert held
    return sum(not held.isdisjoint(pair) for pair in sides(manifest, "train", number))


@pytest.mark.parametrize("options", [(), ("--near_duplicates",), ("--no_clean",), ("--shard_megabytes", 0.001)])
def test_no_side_is_on_both_sides_of_the_split(options, corpus, tmp_path, tokenizer_dir):
    plain = build(corpus, tmp_path / "plain", tokenizer_dir, *options)
    assert shared(plain, 8) > 10
    manifest = build(corpus, tmp_path / "out", tokenizer_dir, "--held_out", 8, *options)
    for number in range(1, 9):
        assert shared(manifest, number) == 0
    # Of every stream as many are held out as without.
    kept = {(stream.name, stream.length): stream.records for stream in manifest.streams}
    for stream in plain.streams:
        fewer = held_out(kept.get((stream.name, stream.length), 0), 8)
        assert fewer >= held_out(stream.records, 8) - 2
    # The account: every pair that is missing is counted, and no other was touched.
    for before, after in zip(plain.sources, manifest.sources, strict=True):
        assert before.sentences == after.sentences + after.dropped.get("held_out", 0)
        assert {**before.dropped, "held_out": 0} == {**after.dropped, "held_out": 0}
    assert sum(source.dropped.get("held_out", 0) for source in manifest.sources) > 10
    records = [{*sides(each, "train", 8), *sides(each, "validation", 8)} for each in (plain, manifest)]
    assert records[1] < records[0]


def test_the_number_of_processes_does_not_matter_and_a_build_resumes(corpus, tmp_path, tokenizer_dir, monkeypatch):
    from infoxlm_keras.building import local_build

    build(corpus, tmp_path / "one", tokenizer_dir, "--held_out", 5)
    build(corpus, tmp_path / "two", tokenizer_dir, "--held_out", 5, processes=2)
    with monkeypatch.context() as patch:
        patch.setattr(local_build.LocalBuild, "_write_shards", None)
        with pytest.raises(TypeError):
            build(corpus, tmp_path / "resumed", tokenizer_dir, "--held_out", 5)
    build(corpus, tmp_path / "resumed", tokenizer_dir, "--held_out", 5)
    assert tree(tmp_path / "one") == tree(tmp_path / "two") == tree(tmp_path / "resumed")


def test_without_shared_sides_the_records_are_those_without_the_option(tmp_path, tokenizer_dir):
    (tmp_path / "in").mkdir()
    pairs = zip(sentences("en", 120), sentences("de", 120), strict=True)
    (tmp_path / "in/en-de.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    build(tmp_path / "in", tmp_path / "plain", tokenizer_dir)
    build(tmp_path / "in", tmp_path / "held", tokenizer_dir, "--held_out", 10)
    plain, held = tree(tmp_path / "plain"), tree(tmp_path / "held")
    assert plain.pop("bitext/manifest.json") != held.pop("bitext/manifest.json")
    assert plain == held


def test_a_run_cannot_hold_out_more_than_was_asked_for(corpus, tmp_path, tokenizer_dir):
    build(corpus, tmp_path / "out", tokenizer_dir, "--held_out", 5)
    settings = ["tasks=[tlm,xlco]", "data.validation_records={}"]
    TrainingRecords(tmp_path / "out", load_config("demo", [setting.format(5) for setting in settings]))
    message = "validation_records = 6: .* was built with --held_out 5; hold out that many"
    with pytest.raises(InputError, match=message):
        TrainingRecords(tmp_path / "out", load_config("demo", [setting.format(6) for setting in settings]))


def test_what_cannot_be_asked_for(corpus, tmp_path, tokenizer_dir, capsys):
    common = ("--input", corpus, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "out", "--held_out")
    assert "--held_out -1: must be 0" in refused(capsys, build_bitext.main, *common, -1)
    assert "--held_out: Beam" in refused(capsys, build_with_beam.main, "bitext", *common, 5)
    assert not (tmp_path / "out").exists()
