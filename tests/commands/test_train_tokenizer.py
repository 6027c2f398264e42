"""Sampling of sentences and training of the vocabulary."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.commands import train_tokenizer
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.text.readers import MonolingualText, chunks
from infoxlm_keras.text.vocabulary import count_sentences, sample_indices, sample_sentences, sample_sizes
from running import refused, run, tree
from sample_text import sentences

COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 10_000), min_size=1)


@pytest.fixture
def text_dir(tmp_path):
    """Three languages of unequal size."""
    directory = tmp_path / "text"
    directory.mkdir()
    for language, count in (("de", 300), ("ru", 100), ("zh", 50)):
        (directory / f"{language}.txt").write_text("\n".join(sentences(language, count)), encoding="utf-8")
    return directory


def train(text_dir, output_dir, *flags):
    run(train_tokenizer.main, "--input", text_dir, "--output_dir", output_dir, *flags)
    return json.loads((output_dir / "vocabulary.json").read_text(encoding="utf-8"))


def test_vocabulary_size_counts_every_id(text_dir, tmp_path):
    report = train(text_dir, tmp_path / "out", "--vocabulary_size", 160)
    tokenizer = load_tokenizer(tmp_path / "out")
    assert tokenizer.vocabulary_size == report["vocabulary_size"] == 160
    assert tokenizer.processor.get_piece_size() == 158
    assert report["fingerprint"] == tokenizer.fingerprint
    assert sorted(os.listdir(tmp_path / "out")) == ["vocabulary.json", "vocabulary.spm"]
    (ids,) = tokenizer.encode(["das Haus am Fluss"])
    assert min(ids) > 3 and max(ids) < 159
    assert tokenizer.decode(ids) == "das Haus am Fluss"


def test_the_report_counts_unknown_tokens_by_language(text_dir, tmp_path):
    report = train(text_dir, tmp_path / "out", "--vocabulary_size", 105, "--character_coverage", 0.98)
    tokenizer = load_tokenizer(tmp_path / "out")
    assert [report["languages"][language]["sentences"] for language in ("de", "ru", "zh")] == [300, 100, 50]
    for language, count in (("de", 300), ("ru", 100), ("zh", 50)):
        ids = [token for line in tokenizer.encode(sentences(language, count)) for token in line]
        assert report["languages"][language]["unknown_rate"] == pytest.approx(ids.count(3) / len(ids), abs=1e-6)
    assert report["languages"]["zh"]["unknown_rate"] > 0.1 > report["languages"]["de"]["unknown_rate"]


def test_byte_fallback_leaves_nothing_unknown(text_dir, tmp_path):
    train(text_dir, tmp_path / "out", "--vocabulary_size", 420, "--byte_fallback")
    (ids,) = load_tokenizer(tmp_path / "out").encode(["ελληνικά 日本語"])
    assert 3 not in ids


def test_a_seed_gives_the_same_vocabulary(text_dir, tmp_path):
    settings = ("--vocabulary_size", 150, "--sentences", 150)
    train(text_dir, tmp_path / "a", *settings)
    train(text_dir, tmp_path / "b", *settings)
    train(text_dir, tmp_path / "c", *settings, "--seed", 1)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert tree(tmp_path / "a")["vocabulary.spm"] != tree(tmp_path / "c")["vocabulary.spm"]


def test_the_sample_follows_the_exponent(text_dir, tmp_path):
    flags = ("--vocabulary_size", 130, "--sentences", 90)
    even = train(text_dir, tmp_path / "even", *flags, "--exponent", 0)
    assert [row["sampled"] for row in even["languages"].values()] == [30, 30, 30]
    natural = train(text_dir, tmp_path / "natural", *flags, "--exponent", 1)
    assert [row["sampled"] for row in natural["languages"].values()] == [60, 20, 10]


def test_known_sample_sizes():
    # Weights 10, 5, 1 of 16; then b is exhausted and what it lacks goes to a and c as 10 to 1.
    assert sample_sizes({"a": 10_000, "b": 2_500, "c": 100}, 1600, 0.5) == {"a": 1000, "b": 500, "c": 100}
    assert sample_sizes({"a": 1000, "b": 1000}, 500, 0.7) == {"a": 250, "b": 250}
    assert sample_sizes({"a": 1000, "b": 10}, 500, 0.0) == {"a": 490, "b": 10}
    assert sample_sizes({"a": 10, "b": 10}, 500, 0.7) == {"a": 10, "b": 10}


@given(COUNTS, st.integers(1, 50_000), st.floats(0, 1))
def test_sample_sizes_add_up_and_never_exceed_what_there_is(counts, total, exponent):
    sizes = sample_sizes(counts, total, exponent)
    assert all(0 <= sizes[language] <= count for language, count in counts.items())
    wanted = min(total, sum(counts.values()))
    assert wanted - len(counts) <= sum(sizes.values()) <= wanted


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 2**64 - 1))
def test_sample_indices_are_different_and_spread(first, second, key):
    size, count = sorted((first, second))
    indices = sample_indices(count, size, key)
    assert len(indices) == size
    assert np.all(np.diff(indices) > 0)
    for part, index in enumerate(indices):
        assert part * count // size <= index < (part + 1) * count // size


def test_every_sentence_is_sampled_equally_often():
    drawn = np.concatenate([sample_indices(20, 4, key) for key in range(4000)])
    assert np.all(np.abs(np.bincount(drawn, minlength=20) - 800) < 5 * np.sqrt(800))


def test_samples_are_the_sentences_at_the_indices(text_dir, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 500)
    readers = [MonolingualText("de", (str(text_dir / "de.txt"),))]
    counts = count_sentences(readers)
    assert counts == {"de": 300}
    sample = sample_sentences(readers, counts, {"de": 40}, seed=5)["de"]
    everything = sentences("de", 300)
    places = [everything.index(sentence) for sentence in sample]
    assert len(sample) == 40 and places == sorted(places)
    assert sample_sentences(readers, counts, {"de": 300}, seed=5)["de"] == everything
    assert sample_sentences(readers, counts, {"de": 40}, seed=6)["de"] != sample


def test_a_vocabulary_larger_than_the_text_allows_is_refused_with_the_limit(text_dir, tmp_path, capsys):
    arguments = ("--input", text_dir, "--output_dir", tmp_path / "out", "--vocabulary_size")
    message = refused(capsys, train_tokenizer.main, *arguments, 20_000)
    assert "--vocabulary_size 20000: is more than the text allows, which is " in message
    assert os.listdir(tmp_path) == ["text"]
    most = int(message.split("which is ")[1].split(";")[0])
    train(text_dir, tmp_path / "out", "--vocabulary_size", most)
    arguments = ("--input", text_dir, "--output_dir", tmp_path / "more", "--vocabulary_size")
    assert f"which is {most}" in refused(capsys, train_tokenizer.main, *arguments, most + 1)


def test_a_vocabulary_smaller_than_the_alphabet_is_refused_with_the_limit(text_dir, tmp_path, capsys):
    arguments = ("--input", text_dir, "--output_dir", tmp_path / "out", "--vocabulary_size")
    message = refused(capsys, train_tokenizer.main, *arguments, 40)
    assert "--vocabulary_size 40: is less than the text's characters alone need, which is " in message
    least = int(message.split("which is ")[1].split(";")[0])
    train(text_dir, tmp_path / "out", "--vocabulary_size", least)


def test_a_vocabulary_is_replaced_only_when_asked(text_dir, tmp_path, capsys):
    train(text_dir, tmp_path / "out", "--vocabulary_size", 150)
    before = tree(tmp_path / "out")
    arguments = ("--input", text_dir, "--output_dir", tmp_path / "out", "--vocabulary_size", 160)
    message = refused(capsys, train_tokenizer.main, *arguments)
    assert str(tmp_path / "out") in message and "--overwrite" in message
    assert tree(tmp_path / "out") == before
    run(train_tokenizer.main, *arguments, "--overwrite")
    assert load_tokenizer(tmp_path / "out").vocabulary_size == 160
    (tmp_path / "out/thesis.txt").write_text("precious")
    message = refused(capsys, train_tokenizer.main, *arguments, "--overwrite")
    assert "holds thesis.txt, which would be deleted" in message


GOOD = b"das Haus am Fluss\n"
# name: (file content or None, other arguments, parts of the message)
BAD = {
    "missing file": (None, {}, ("de.txt: no such file",)),
    "empty file": (b"", {}, ("de.txt: holds no text",)),
    "blank lines only": (b"\n\n", {}, ("de.txt: holds no text",)),
    "broken UTF-8": (GOOD + b"\xff\n", {}, ("de.txt: line 2: is not UTF-8",)),
    "NUL": (GOOD + b"\0\n", {}, ("de.txt: line 2: holds a NUL byte",)),
    "no sentences wanted": (GOOD, {"sentences": 0}, ("--sentences 0", "at least 1")),
    "coverage too low": (GOOD, {"character_coverage": 0.97}, ("--character_coverage 0.97", "0.98 to 1")),
    "coverage above one": (GOOD, {"character_coverage": 1.5}, ("--character_coverage 1.5", "0.98 to 1")),
    "exponent above one": (GOOD, {"exponent": 2}, ("--exponent 2", "0 to 1")),
    "no room for a piece": (GOOD, {"vocabulary_size": 5}, ("--vocabulary_size 5", "at least 6")),
    "control characters only": (b"\x07\n", {}, ("--vocabulary_size 30",)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name, tmp_path, capsys):
    content, changed, parts = BAD[name]
    path = tmp_path / "de.txt"
    if content is not None:
        path.write_bytes(content)
    settings = {"input": path, "vocabulary_size": 30, "output_dir": tmp_path / "deep/out", **changed}
    flags = [item for key, value in settings.items() for item in (f"--{key}", value)]
    message = refused(capsys, train_tokenizer.main, *flags)
    for part in parts:
        assert part in message
    assert not (tmp_path / "deep").exists()


def test_every_option_is_explained(capsys):
    with pytest.raises(SystemExit) as exit:
        train_tokenizer.main(["--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    for option in ("--input", "--vocabulary_size", "--output_dir", "--sentences", "--byte_fallback", "--seed"):
        assert option in text
    assert "infoxlm train-tokenizer --input" in text
