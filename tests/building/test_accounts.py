"""Accounts of builds: all that was read is kept, dropped for a reason or passed over; anything else is an error."""

import json
import pathlib
import tempfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from corpus_files import json_lines, margins, moses, tmx, translations, write_files
from infoxlm_keras.building import spills
from infoxlm_keras.building.input_account import (
    SourceCounts,
    check_account,
    check_any_left,
    check_counts,
    check_streams,
    manifest_source,
)
from infoxlm_keras.building.packing import pack_sentences, sentences_of_blocks
from infoxlm_keras.commands import build_bitext, build_monolingual, build_with_beam
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import Stream, read_manifest
from infoxlm_keras.text.readers import MonolingualText, TabSeparatedPairs, chunks
from infoxlm_keras.tokenizer import END_ID
from running import refused, run
from sample_text import sentences

PAIRS = list(zip(sentences("en", 40), sentences("de", 40), strict=True))
LINE = st.sampled_from(["", " ", "Haus", "Haus am Fluss", "\x07", "ein sehr sehr sehr langer Satz mit vielen Wörtern"])
COLUMNS = st.lists(st.tuples(LINE, LINE), max_size=12)


def balance(source):
    return source.sentences + sum(source.dropped.values()) + sum(source.passed_over.values())


def build(main, folder, inputs, tokenizer_dir, *options):
    output = pathlib.Path(folder) / "data"
    common = ("--tokenizer", tokenizer_dir, "--output_dir", output, "--processes", 1, "--overwrite")
    run(main, "--input", *inputs, *common, *options)
    return output


@hypothesis.given(st.lists(LINE, max_size=30), st.booleans(), st.booleans(), st.sampled_from([20, 1 << 21]))
@hypothesis.settings(max_examples=15, deadline=None)
def test_the_lines_of_a_text_are_all_accounted_for(tokenizer_dir, lines, clean, deduplicate, chunk_bytes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", chunk_bytes)
        content = "".join(f"{line}\n" for line in ["das Haus", *lines])
        write_files(pathlib.Path(folder), {"text/de.txt": content.encode()})
        options = [*([] if clean else ["--no_clean"]), *(["--deduplicate"] if deduplicate else [])]
        (source,) = read_manifest(
            build(build_monolingual.main, folder, [f"{folder}/text"], tokenizer_dir, *options), "mmlm"
        ).sources
    assert source.read == balance(source) == 1 + len(lines)
    assert source.passed_over.get("blank", 0) == sum(not line.strip() for line in lines)


@hypothesis.given(COLUMNS, st.booleans(), st.sampled_from([20, 1 << 21]))
@hypothesis.settings(max_examples=15, deadline=None)
def test_the_pairs_of_a_text_are_all_accounted_for(tokenizer_dir, pairs, clean, chunk_bytes):
    pairs = [("the house", "das Haus"), *pairs]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", chunk_bytes)
        files = {
            "en-de.tsv": "".join(f"{source}\t{target}\n" for source, target in pairs).encode(),
            "X.en-de.en": moses(pairs, 0),
            "X.en-de.de": moses(pairs, 1),
            "WikiMatrix.en-de.tsv": margins(pairs[:1], 1.2) + margins(pairs, 1.0),
            "a.en-de.jsonl": json_lines(translations(pairs)),
        }
        write_files(pathlib.Path(folder) / "pairs", files)
        options = ["--max_length", "8", *([] if clean else ["--no_clean"])]
        manifest = read_manifest(
            build(build_bitext.main, folder, [f"{folder}/pairs"], tokenizer_dir, *options), "bitext"
        )
    read = {source.file: source.read for source in manifest.sources}
    assert all(source.read == balance(source) for source in manifest.sources)
    assert read == {
        "en-de.tsv": len(pairs),
        "X.en-de.en + X.en-de.de": len(pairs),
        "WikiMatrix.en-de.tsv": len(pairs) + 1,
        "a.en-de.jsonl": len(pairs),
    }
    assert sum(stream.records for stream in manifest.streams) == sum(source.sentences for source in manifest.sources)


def test_units_of_other_languages_are_in_the_account(tmp_path, tokenizer_dir):
    units = [[("en", source), ("de", target)] for source, target in PAIRS[:3]] + [[("en", "x"), ("fr", "y")]]
    write_files(tmp_path, {"pairs/en-de.tmx": tmx(units)})
    output = build(build_bitext.main, tmp_path, [tmp_path / "pairs"], tokenizer_dir)
    (source,) = read_manifest(output, "bitext").sources
    assert (source.read, source.sentences, source.passed_over) == (4, 3, {"other_languages": 1})


def loses_a_line(read):
    def reads(self, chunk):
        return read(self, chunk)[:-1]

    return reads


@pytest.mark.parametrize(
    ("main", "reader", "files"),
    [
        (build_monolingual.main, MonolingualText, {"de.txt": moses(PAIRS, 1)}),
        (build_bitext.main, TabSeparatedPairs, {"en-de.tsv": "".join(f"{a}\t{b}\n" for a, b in PAIRS).encode()}),
    ],
)
def test_a_build_that_loses_a_line_is_refused(main, reader, files, tmp_path, tokenizer_dir, capsys, monkeypatch):
    write_files(tmp_path / "text", files)
    monkeypatch.setattr(reader, "read", loses_a_line(reader.read))
    command = ("--input", tmp_path / "text", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    message = refused(capsys, main, *command, "--processes", 1)
    assert "its account does not balance: 40 read, but 39 kept, 0 dropped and 0 passed over" in message
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_an_account_that_does_not_balance_is_an_error():
    reader = TabSeparatedPairs("en-de", ("a/en-de.tsv",))
    good = SourceCounts(sentences=3, dropped={"empty": 1}, read=6, passed_over={"blank": 2})
    check_account(reader, good)
    assert manifest_source(reader, good, {"a/en-de.tsv": None}).read == 6
    for bad in (
        SourceCounts(3, {"empty": 1}, read=5),
        SourceCounts(3, {"empty": 1}, read=3),
        SourceCounts(-1, {"empty": 1}, read=0),
        SourceCounts(2, {"empty": -1}, read=1),
    ):
        with pytest.raises(InputError, match="a/en-de.tsv: its account does not balance"):
            manifest_source(reader, bad, {"a/en-de.tsv": None})
    streams = [Stream("en-de", 16, 2, 9, 0, ()), Stream("en-de", 32, 1, 9, 0, ())]
    check_streams("bitext", streams, [reader], [good])
    with pytest.raises(InputError, match="en-de: .* there are -1 records more than pairs kept"):
        check_streams("bitext", streams[:1], [reader], [good])


def test_what_was_given_by_name_must_hold_something_and_one_of_a_folder_need_not():
    readers = [MonolingualText("de", ("a.txt",)), MonolingualText("de", ("b.txt",))]
    some, none, dropped = SourceCounts(3, read=3), SourceCounts(), SourceCounts(0, {"empty": 2}, read=2)
    check_counts(readers, [some, none], [True, False])
    check_counts(readers, [none, dropped], [False, False])
    check_counts(readers, [some, dropped], [True, True])
    for counts, explicit, message in (
        ([some, none], [True, True], "b.txt: is empty"),
        ([some, SourceCounts(read=2, passed_over={"blank": 2})], [True, True], "b.txt: holds no text"),
        ([dropped, dropped], [True, True], "a.txt and b.txt: nothing is left .4 empty dropped"),
    ):
        with pytest.raises(InputError, match=message):
            check_counts(readers, counts, explicit)
    check_any_left(readers, [none, some])
    with pytest.raises(InputError, match="a.txt and b.txt: nothing is left"):
        check_any_left(readers, [none, dropped])
    with pytest.raises(InputError, match="a.txt: is empty"):
        check_any_left(readers, [none, none])


@hypothesis.given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(3, 20))
def test_sentences_are_counted_in_the_block_where_they_end(lengths, sequence_length):
    # Token n of a sentence is its number, above all special ids.
    token_ids = np.repeat(np.arange(len(lengths)) + 100, lengths)
    blocks, offsets = pack_sentences(token_ids, lengths, sequence_length)
    counted = sentences_of_blocks(blocks, offsets, lengths, sequence_length)
    last_seen = {}
    for block in range(len(offsets) - 1):
        for token in blocks[offsets[block] : offsets[block + 1]].tolist():
            if token >= 100:
                last_seen[token] = block
    expected = np.bincount(list(last_seen.values()), minlength=len(offsets) - 1)
    np.testing.assert_array_equal(counted, expected)
    assert (blocks == END_ID).sum() >= len(lengths)


@pytest.mark.parametrize("run_bytes", [500, 16 << 20])
def test_near_duplicates_of_text_are_counted_in_sentences(run_bytes, tmp_path, tokenizer_dir, monkeypatch):
    monkeypatch.setattr(spills, "RUN_BYTES", run_bytes)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2000)
    block = "\n".join(sentences("de", 6)) + "\n\n"
    other = "\n".join(sentences("ru", 30)) + "\n"
    write_files(tmp_path, {"text/de.txt": (block * 3 + other).encode()})
    options = ("--near_duplicates", "--break_documents", "--sequence_length", 128)
    output = build(build_monolingual.main, tmp_path, [tmp_path / "text"], tokenizer_dir, *options)
    (source,) = read_manifest(output, "mmlm").sources
    assert source.dropped["near_duplicate"] == 12
    assert (source.read, source.passed_over, source.sentences) == (51, {"blank": 3}, 36)


def test_beam_keeps_the_same_accounts(tmp_path, tokenizer_dir, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 400)
    text = "\n".join(sentences("de", 6)) + "\n\n"
    files = {"de.txt": (text * 3 + "\x07\n").encode(), "fr.txt": b"", "ru.txt": b"\n", ".DS_Store": b"\0"}
    write_files(tmp_path / "text", files)
    options = ["--near_duplicates", "--break_documents", "--sequence_length", "128"]
    common = ["--input", tmp_path / "text", "--tokenizer", tokenizer_dir, "--processes", 1, *options]
    run(build_monolingual.main, *common, "--output_dir", tmp_path / "local")
    run(build_with_beam.main, "monolingual", *common, "--output_dir", tmp_path / "beam")
    manifests = [json.loads((tmp_path / name / "mmlm/manifest.json").read_text()) for name in ("local", "beam")]
    assert manifests[0]["sources"] == manifests[1]["sources"]
    assert (
        manifests[0]["passed_over"]
        == manifests[1]["passed_over"]
        == [{"file": ".DS_Store", "reason": "left by macOS"}]
    )
    assert [source["read"] for source in manifests[0]["sources"]] == [22, 0, 1]
