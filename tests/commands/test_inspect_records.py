"""The inspection of prepared records, against TensorFlow's parser and plain counting."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.commands import build_bitext, build_monolingual, inspect_records
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.example_codec import encode_examples, frame_record
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.records.statistics import parse_example
from running import refused, run, tree
from sample_text import sentences


@pytest.fixture(scope="module")
def data_dir(tokenizer_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("inspect")
    (root / "text").mkdir()
    (root / "pairs").mkdir()
    for language, count in (("en", 200), ("de", 50)):
        (root / "text" / f"{language}.txt").write_text("\n".join(sentences(language, count)) + "\n")
    pairs = zip(sentences("en", 120), sentences("de", 120), strict=True)
    (root / "pairs/en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
    common = ["--tokenizer", tokenizer_dir, "--output_dir", root / "data", "--processes", 1]
    run(build_monolingual.main, "--input", root / "text", *common, "--sequence_length", 32, "--shard_megabytes", 0.003)
    run(build_bitext.main, "--input", root / "pairs", *common, "--lengths", 16, 32, 64, "--max_length", 64)
    return root / "data"


def token_lists(data_dir, kind, names):
    """(stream, list of tuples of token lists) of every stream, by TensorFlow."""
    manifest = read_manifest(data_dir, kind)
    for stream in manifest.streams:
        records = tf.data.TFRecordDataset([manifest.shard_path(shard) for shard in stream.shards])
        rows = []
        for record in records.as_numpy_iterator():
            parsed = tf.train.Example.FromString(record).features.feature
            rows.append(tuple(list(parsed[name].int64_list.value) for name in names))
        yield stream, rows


def test_the_report_is_what_plain_counting_finds(data_dir, tmp_path):
    flags = ["--records", 0, "--language_exponent", 0.5, "--output_dir", tmp_path / "out"]
    run(inspect_records.main, data_dir, *flags)
    found = json.loads((tmp_path / "out/inspection.json").read_text(encoding="utf-8"))
    assert sorted(tree(tmp_path / "out")) == [
        "bitext_languages.png", "bitext_lengths.png", "inspection.json", "mmlm_languages.png", "mmlm_lengths.png",
    ]  # fmt: skip

    mmlm = found["mmlm"]
    streams = {stream.name: rows for stream, rows in token_lists(data_dir, "mmlm", ["token_ids"])}
    roots = {name: len(rows) ** 0.5 for name, rows in streams.items()}
    for name, rows in streams.items():
        row, lengths = mmlm["languages"][name], [len(tokens) for (tokens,) in rows]
        assert (row["records"], row["tokens"]) == (len(rows), sum(lengths))
        assert row["length_percentiles"]["50"] == np.percentile(lengths, 50)
        assert row["unknown_rate"] == pytest.approx(sum(t.count(3) for (t,) in rows) / sum(lengths))
        assert row["sampling_probability"] == pytest.approx(roots[name] / sum(roots.values()))
        assert row["share"] == pytest.approx(len(rows) / mmlm["records"])
    expected = sum(roots[n] * np.mean([len(t) for (t,) in rows]) for n, rows in streams.items()) / sum(roots.values())
    assert mmlm["expected_padding_waste"] == pytest.approx(1 - expected / 32)

    bitext, filled, positions, total = found["bitext"], 0, 0, 0
    for stream, rows in token_lists(data_dir, "bitext", ["source_ids", "target_ids"]):
        tokens = [len(source) + len(target) + 3 for source, target in rows]
        width = 2 * stream.length + 3
        waste = bitext["buckets"][str(stream.length)]["padding_waste"]
        assert waste == pytest.approx(1 - np.mean(tokens) / width)
        filled, positions, total = filled + sum(tokens), positions + width * len(rows), total + len(rows)
    assert bitext["records"] == total
    # One pair of languages: batches are drawn from buckets in proportion to their pairs.
    assert bitext["expected_padding_waste"] == pytest.approx(1 - filled / positions)


def test_samples_are_shown_as_text(data_dir, capsys):
    run(inspect_records.main, data_dir, "--samples", 2, "--records", 5)
    text = capsys.readouterr().out
    pairs = set(zip(sentences("en", 120), sentences("de", 120), strict=True))
    shown = [line.split(": ", 1)[1].split("  |  ") for line in text.splitlines() if line.startswith("  en-de: ")]
    assert len(shown) == 2 and all(tuple(pair) in pairs for pair in shown)


@pytest.mark.parametrize("place", ["data/mmlm", ".", "link", "copy", "data/bitext/../mmlm"])
def test_one_kind_may_be_given_itself(data_dir, tmp_path, place, monkeypatch, capsys):
    shutil.copytree(data_dir, tmp_path / "data")
    shutil.copytree(data_dir / "mmlm", tmp_path / "copy")
    (tmp_path / "link").symlink_to("data/mmlm")
    monkeypatch.chdir(tmp_path / "data/mmlm" if place == "." else tmp_path)
    run(inspect_records.main, place)
    text = capsys.readouterr().out
    assert "mmlm: " in text and "bitext: " not in text
    assert [manifest.kind for manifest in inspect_records.find_manifests(tmp_path / "data")] == ["mmlm", "bitext"]


def test_a_manifest_of_something_else_is_named(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text('{"name": "web application"}')
    assert "manifest.json: format is None, but infoxlm_keras/mmlm" in refused(capsys, inspect_records.main, tmp_path)


def test_an_output_that_cannot_be_is_refused_before_the_records_are_read(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inspect_records, "read_all", None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("of years")
    everything = (inspect_records.main, data_dir, "--records", 0, "--output_dir")
    assert "out: is not empty" in refused(capsys, *everything, tmp_path / "out")
    assert "holds other files (thesis.txt)" in refused(capsys, *everything, tmp_path / "out", "--overwrite")
    assert "is read from it" in refused(capsys, *everything, data_dir, "--overwrite")


LISTS = st.lists(st.one_of(st.integers(0, 300_000), st.integers(-(2**63), 2**63 - 1)), max_size=60)


@given(LISTS, LISTS)
def test_examples_are_parsed_back(source, target):
    lists = {"source_ids": source, "target_ids": target}
    columns = {name: (np.array(values, np.int64), [0, len(values)]) for name, values in lists.items()}
    (data,) = encode_examples(columns)
    parsed = parse_example(data)
    assert {name: values.tolist() for name, values in parsed.items()} == lists


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"not an example", b"\x0a\x04\x0a\x02\x12\x00"])
def test_other_bytes_are_refused(data):
    with pytest.raises(InputError, match="no tf.train.Example"):
        parse_example(data)


def test_bad_input_is_refused(data_dir, tmp_path, capsys):
    assert "holds no mmlm/manifest.json, bitext/manifest.json or manifest.json" in refused(
        capsys, inspect_records.main, tmp_path
    )
    assert "--language_exponent 2" in refused(capsys, inspect_records.main, data_dir, "--language_exponent", 2)
    assert "must not be negative" in refused(capsys, inspect_records.main, data_dir, "--records", -1)


def test_a_damaged_shard_is_named_with_its_offset(data_dir, tmp_path, capsys):
    shutil.copytree(data_dir, tmp_path / "data")
    manifest = read_manifest(tmp_path / "data", "mmlm")
    path = manifest.shard_path(manifest.streams[0].shards[0])
    data = bytearray(pathlib.Path(path).read_bytes())
    data[20] ^= 1
    pathlib.Path(path).write_bytes(data)
    message = refused(capsys, inspect_records.main, tmp_path / "data", "--output_dir", tmp_path / "out")
    assert f"{path}: is damaged at byte 0 (record 0)" in message
    assert not (tmp_path / "out").exists()


def test_a_record_of_another_schema_is_refused(data_dir, tmp_path, capsys):
    shutil.copytree(data_dir, tmp_path / "data")
    manifest = read_manifest(tmp_path / "data", "mmlm")
    shard = manifest.streams[0].shards[0]
    (record,) = encode_examples({"words": (np.arange(3), [0, 3])})
    frame = frame_record(record)
    with open(manifest.shard_path(shard), "wb") as file:
        file.write(frame + bytes(shard.bytes - len(frame)))
    message = refused(capsys, inspect_records.main, tmp_path / "data")
    assert "record at byte 0 lacks token_ids" in message
