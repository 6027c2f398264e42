"""The builders as a Beam pipeline (DirectRunner): the same shards and manifest as the local builders."""

import sys

import numpy as np
import pytest

from infoxlm_keras.building import bitext_encoder as bitext
from infoxlm_keras.building import spills
from infoxlm_keras.commands import build_bitext, build_monolingual, build_with_beam
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import chunks
from running import refused, run, tree
from sample_text import sentences

RUNNER = ("--runner", "DirectRunner", "--direct_running_mode", "in_memory")


@pytest.fixture
def small(monkeypatch):
    """Many chunks and runs."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 700)
    monkeypatch.setattr(spills, "RUN_BYTES", 2000)


@pytest.fixture
def text_dir(tmp_path):
    directory = tmp_path / "text"
    directory.mkdir()
    for language, count in (("de", 70), ("ru", 30)):
        lines = sentences(language, count)
        (directory / f"{language}.txt").write_text("\n".join(lines + ["", *lines[4:9]]), encoding="utf-8")
    return directory


@pytest.fixture
def pair_dirs(tmp_path):
    """Two folders with repeated pairs within and across their files."""
    pairs = list(zip(sentences("en", 90), sentences("de", 90, start=3), strict=True))
    pairs.insert(20, ("same", "same"))
    for folder, chosen in (("a", pairs[:60] + pairs[3:9]), ("b", pairs[50:])):
        (tmp_path / folder).mkdir()
        text = "".join(f"{source}\t{target}\n" for source, target in chosen)
        (tmp_path / folder / "en-de.tsv").write_text(text, encoding="utf-8")
    return [tmp_path / "a", tmp_path / "b"]


def common(tokenizer_dir, output):
    return ("--tokenizer", tokenizer_dir, "--output_dir", output, "--shard_megabytes", 0.001, "--processes", 1)


@pytest.mark.parametrize("flags", [(), ("--deduplicate", "--break_documents")], ids=["all", "without repeats"])
def test_blocks_equal_the_local_build(flags, text_dir, tokenizer_dir, tmp_path, small):
    arguments = ("--input", text_dir, "--sequence_length", 32, *flags)
    run(build_monolingual.main, *arguments, *common(tokenizer_dir, tmp_path / "local"))
    run(build_with_beam.main, "monolingual", *arguments, *common(tokenizer_dir, tmp_path / "beam"), *RUNNER)
    local = tree(tmp_path / "local")
    assert sum(path.endswith(".tfrecord") for path in local) > 2
    assert tree(tmp_path / "beam") == local


def test_pairs_equal_the_local_build(pair_dirs, tokenizer_dir, tmp_path, small):
    arguments = ("--input", *pair_dirs, "--lengths", 8, 16, 32, "--max_length", 32)
    run(build_bitext.main, *arguments, *common(tokenizer_dir, tmp_path / "local"))
    run(build_with_beam.main, "bitext", *arguments, *common(tokenizer_dir, tmp_path / "beam"), *RUNNER)
    first, second = read_manifest(tmp_path / "beam", "bitext").sources
    assert (first.dropped["duplicate"], second.dropped["duplicate"], first.dropped["identical"]) == (6, 10, 1)
    assert tree(tmp_path / "beam") == tree(tmp_path / "local")


def test_near_duplicates_equal_the_local_build(pair_dirs, tokenizer_dir, tmp_path, small, monkeypatch):
    encode = bitext.BitextEncoder.__call__

    def with_keys(self, reader, chunk):
        """Keys that chains of records share: neighbours in length, and in the sum of their bytes."""
        encoded = encode(self, reader, chunk)
        encoded.near_identities = [
            (b"length %d" % (len(record) // 2), b"sum %d" % (sum(record[12:-4]) // 40)) for record in encoded.records
        ]
        return encoded

    monkeypatch.setattr(bitext.BitextEncoder, "__call__", with_keys)
    arguments = ("--input", *pair_dirs, "--lengths", 8, 16, 32, "--max_length", 32)
    run(build_bitext.main, *arguments, *common(tokenizer_dir, tmp_path / "local"))
    run(build_with_beam.main, "bitext", *arguments, *common(tokenizer_dir, tmp_path / "beam"), *RUNNER)
    manifest = read_manifest(tmp_path / "local", "bitext")
    assert sum(source.dropped["near_duplicate"] for source in manifest.sources) > 20
    assert sum(stream.records for stream in manifest.streams) == sum(source.sentences for source in manifest.sources)
    assert tree(tmp_path / "beam") == tree(tmp_path / "local")


def test_bad_input_is_refused_and_leaves_nothing(text_dir, tokenizer_dir, tmp_path, capsys):
    (text_dir / "de.txt").write_bytes(b"good\n\xff\n")
    arguments = ("--input", text_dir, *common(tokenizer_dir, tmp_path / "data"), *RUNNER)
    message = refused(capsys, build_with_beam.main, "monolingual", *arguments)
    assert f"{text_dir / 'de.txt'}: line 2: is not UTF-8" in message and "while running" not in message
    assert not (tmp_path / "data").exists()


def test_without_beam_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    given = ["bitext", "--input", "a", "--tokenizer", "b", "--output_dir", "c"]
    assert 'pip install "infoxlm_keras[beam]"' in refused(capsys, build_with_beam.main, *given)
    run(build_with_beam.main, "bitext", "--help")
    assert "--held_out" in capsys.readouterr().out


def test_shards_that_no_record_fell_to_are_written(tmp_path):
    from infoxlm_keras.building import beam_pipeline

    (tmp_path / "de").mkdir()
    parts = [((0, 0), np.array([5], np.uint64), 3, 1, [b"record"])]
    line = beam_pipeline.write_gathered(("de", 32, 0, 2), parts, "mmlm", str(tmp_path))
    beam_pipeline.write_list([line], str(tmp_path / beam_pipeline.SHARDS))
    beam_pipeline.write_list([], str(tmp_path / beam_pipeline.SOURCES))
    (stream,), _ = beam_pipeline.read_results(tmp_path, "mmlm", [])
    assert [shard.records for shard in stream.shards] == [1, 0]
    assert [(tmp_path / shard.path).read_bytes() for shard in stream.shards] == [b"record", b""]
