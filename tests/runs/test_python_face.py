"""From Python alone: lists of texts to records, to batches, to a trained model."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import infoxlm_keras
from infoxlm_keras import (
    TLM,
    XLCO,
    EncoderSize,
    InfoXLMPretrainer,
    build_masked_lm,
    build_optimizer,
    load_config,
    training_dataset,
    write_records,
)
from infoxlm_keras.data.streams import joined_dataset
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.runs.training_records import TrainingRecords
from repository import REPOSITORY
from running import tree
from sample_text import sentences

PAIRS = list(zip(sentences("en", 60), sentences("de", 60), strict=True))


def first(dataset):
    return next(iter(dataset.take(1)))


def assert_equal_batches(one, other):
    one, other = (keras.tree.map_structure(np.asarray, batch) for batch in (one, other))
    keras.tree.map_structure(np.testing.assert_array_equal, one, other)


def test_the_data_set_is_that_of_a_run(inputs):
    config = load_config(inputs / "config.yaml")
    streams = TrainingRecords(inputs / "data", config).streams()
    for start in (0, 3):
        (batch,) = first(training_dataset(inputs / "data", config, start_step=start))
        assert_equal_batches(batch, first(joined_dataset(streams, start)))
    (by_path,) = first(training_dataset(inputs / "data", inputs / "config.yaml"))
    assert_equal_batches(by_path, first(joined_dataset(streams, 0)))
    with pytest.raises(InputError, match="manifest.json"):
        training_dataset(inputs / "nowhere", config)


@pytest.mark.parametrize("start", [-3, 3.5, True, "1"])
def test_a_start_that_is_no_number_of_steps_is_refused(inputs, start):
    with pytest.raises(InputError, match="start_step = .*: must be a whole number of steps"):
        training_dataset(inputs / "data", inputs / "config.yaml", start_step=start)


def test_lists_give_the_records_of_files(tokenizer, tokenizer_dir, tmp_path):
    from infoxlm_keras.commands import build_bitext
    from running import run

    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS), encoding="utf-8")
    settings = ["--tokenizer", tokenizer_dir, "--max_length", 30, "--lengths", 30, "--truncate"]
    run(build_bitext.main, "--input", tmp_path / "pairs", "--output_dir", tmp_path / "files", *settings)
    options = {"max_length": 30, "lengths": [30], "truncate": True, "processes": 1}
    write_records(tmp_path / "lists", tokenizer, {("en", "de"): PAIRS}, bitext_options=options)
    # Byte for byte, but for the manifest, which names the files that were read.
    files, lists = (
        {name: content for name, content in tree(tmp_path / folder).items() if not name.endswith("manifest.json")}
        for folder in ("files", "lists")
    )
    assert files == lists and len(files) == 2
    assert read_manifest(tmp_path / "lists", "bitext").tokenizer.fingerprint == tokenizer.fingerprint


def test_a_list_of_pairs_is_trained_on(tokenizer, tmp_path):
    options = {"max_length": 30, "processes": 1}
    manifests = write_records(
        tmp_path / "records",
        tokenizer,
        pairs={("en", "de"): PAIRS},
        sentences={"en": [pair[0] for pair in PAIRS]},
        bitext_options={**options, "lengths": [30], "truncate": True},
        monolingual_options={"sequence_length": 32, "processes": 1},
    )
    assert set(manifests) == {"bitext", "mmlm"}
    config = load_config("tiny", ["tasks=[tlm,xlco]", "tlm.batch_size=4", "xlco.batch_size=4"])
    size = EncoderSize(num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=64)
    masked_lm = build_masked_lm(size, tokenizer.vocabulary_size)
    pretrainer = InfoXLMPretrainer(masked_lm, [TLM(), XLCO(queue_length=8)])
    pretrainer.compile(optimizer=build_optimizer(learning_rate=1e-2, total_steps=10))
    before = masked_lm.get_weights()
    result = pretrainer.fit(training_dataset(tmp_path / "records", config), steps_per_epoch=3, verbose=0)
    assert np.isfinite(result.history["loss"][0])
    assert any(np.abs(a - b).max() > 0 for a, b in zip(before, masked_lm.get_weights(), strict=True))


def test_texts_with_tabs_breaks_and_quotes_are_one_record_each(tokenizer, tmp_path):
    odd = [('the "house"\tand\nthe river', "das 'Haus'\\n"), ("the wood {a}", "der Wald\r\nund der Fluss")]
    options = {"processes": 1, "lengths": [100], "max_length": 100}
    (manifest,) = write_records(tmp_path, tokenizer, {("en", "de"): odd}, bitext_options=options).values()
    assert sum(stream.records for stream in manifest.streams) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": {("en", "de"): []}}, r"pairs\[\('en', 'de'\)\]: is empty; leave it out"),
        ({}, "no texts"),
        ({"pairs": {("en", "de"): ["ab"]}}, r"pairs\['en', 'de'\]\[0\] = 'ab': must be \(source, target\)"),
        ({"pairs": {("en", "de"): [("a", "b"), ("a", None)]}}, r"\[1\]: None is a NoneType, not a str"),
        ({"pairs": {("en", "de"): [("a", "\ud800")]}}, "lone surrogate"),
        ({"sentences": {"en": [b"a"]}}, r"sentences\['en'\]\[0\]: b'a' is a bytes"),
        ({"sentences": {"en": "Hello world"}}, r"sentences\['en'\]: is a str; give a list"),
        ({"sentences": ["a"]}, "sentences: is a list; give a dict"),
        ({"sentences": {"xx-nothing": ["a"]}}, "'xx-nothing' is no code of a language"),
        ({"sentences": {"en": ["a"], "eng": ["b"]}}, "two lists are of en"),
        ({"pairs": PAIRS}, "pairs: is a list; give a dict, pairs={"),
        ({"pairs": {"en-de": PAIRS}}, r"the key 'en-de' must be \(source language, target language\)"),
        ({"pairs": {("en", "en"): PAIRS}}, "both sides are of the language en"),
        ({"sentences": {"en": ["a"]}, "monolingual_options": {"length": 3}}, "the builder has no such option"),
        # Checked although there are no pairs.
        ({"sentences": {"en": ["a"]}, "bitext_options": {"lenghts": [3]}}, "the builder has no such option"),
        ({"pairs": {("en", "de"): PAIRS}, "bitext_options": {"max_length": "64"}}, "'64': must be of type int"),
        ({"pairs": {("en", "de"): PAIRS}, "bitext_options": {"max_length": True}}, "True: must be of type int"),
        ({"pairs": {("en", "de"): PAIRS}, "bitext_options": {"lengths": 64}}, "64: must be a list"),
        ({"pairs": {("en", "de"): PAIRS}, "bitext_options": {"output_dir": "x"}}, "as the argument output_dir"),
    ],
)
def test_what_is_no_text_is_refused(tokenizer, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        write_records(tmp_path / "records", tokenizer, **arguments)
    assert not (tmp_path / "records").exists()


SCRIPT = """
import sys
from infoxlm_keras import load_tokenizer, write_records
print("SCRIPT STARTS", flush=True)
pairs = [(f"the house {n}", f"das Haus {n}") for n in range(40)]
write_records(sys.argv[1], load_tokenizer(sys.argv[2]), {("en", "de"): pairs}, bitext_options={"processes": 2})
"""


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_script_without_a_guard_runs_once(way, tokenizer_dir, tmp_path):
    """Worker processes must not run the user's script again."""
    (tmp_path / "script.py").write_text(SCRIPT)
    script = tmp_path / "script.py" if way == "file" else "-"
    process = subprocess.run(
        [sys.executable, script, tmp_path / "records", tokenizer_dir],
        input=SCRIPT if way == "standard input" else None,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0 and "Traceback" not in process.stderr, process.stderr
    assert process.stdout.count("SCRIPT STARTS") == 1
    assert (tmp_path / "records/bitext/manifest.json").exists()


def test_public_names():
    for name in ("training_dataset", "write_records"):
        assert name in infoxlm_keras.__all__
