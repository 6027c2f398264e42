"""Prepared records and the sample corpus as data sets of TensorFlow Datasets."""

import pathlib
import sys
import tempfile

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from infoxlm_keras.commands import build_bitext, build_monolingual, write_tfds_metadata
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.sample_corpus import tfds_builder as builder
from infoxlm_keras.sample_corpus.alignment import Row
from infoxlm_keras.sample_corpus.storage import write_rows
from running import refused, run, tree
from sample_text import sentences


@pytest.fixture(scope="module")
def data_dir(tokenizer_dir, tmp_path_factory):
    """Records of both kinds with TFDS's metadata."""
    directory = tmp_path_factory.mktemp("tfds")
    (directory / "text").mkdir()
    for language in ("de", "ru"):
        text = "\n".join(sentences(language, 60))
        (directory / f"text/{language}.txt").write_text(text, encoding="utf-8")
    pairs = zip(sentences("en", 60), sentences("de", 60, start=3), strict=True)
    (directory / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    common = ("--tokenizer", tokenizer_dir, "--output_dir", directory / "data", "--processes", 1)
    small = ("--shard_megabytes", 0.001)
    run(build_monolingual.main, "--input", directory / "text", "--sequence_length", 32, *common, *small)
    run(build_bitext.main, "--input", directory / "en-de.tsv", "--lengths", 8, 16, 32, "--max_length", 32, *common)
    run(write_tfds_metadata.main, "--data_dir", directory / "data")
    return directory / "data"


def stored(data_dir, kind, name, length, features):
    """The records of a stream as lists of lists, as TensorFlow reads them."""
    manifest = read_manifest(data_dir, kind)
    (stream,) = [s for s in manifest.streams if (s.name, s.length) == (name, length)]
    parse = {feature: tf.io.RaggedFeature(tf.int64) for feature in features}
    records = tf.data.TFRecordDataset([manifest.shard_path(shard) for shard in stream.shards])
    parsed = (tf.io.parse_single_example(record, parse) for record in records)
    return [[example[feature].numpy().tolist() for feature in features] for example in parsed]


def as_lists(dataset, features):
    return [[example[feature].numpy().tolist() for feature in features] for example in dataset]


def test_blocks_load_with_tfds(data_dir):
    expected = stored(data_dir, "mmlm", "de", 32, ["token_ids"])
    assert len(list((data_dir / "mmlm/de").glob("*.tfrecord"))) > 1
    loaded = tfds.load("mmlm/de", data_dir=data_dir, split="de", shuffle_files=False)
    assert as_lists(loaded, ["token_ids"]) == expected
    opened = tfds.builder_from_directory(data_dir / "mmlm/de")
    assert opened.info.splits["de"].num_examples == len(expected)
    assert as_lists(opened.as_dataset(split="de"), ["token_ids"]) == expected


def test_pairs_load_with_tfds_bucket_by_bucket(data_dir):
    features = ["source_ids", "target_ids"]
    lengths = [stream.length for stream in read_manifest(data_dir, "bitext").streams]
    every = []
    for length in lengths:
        expected = stored(data_dir, "bitext", "en-de", length, features)
        loaded = tfds.load("bitext/en-de", data_dir=data_dir, split=f"length-{length:03d}")
        assert as_lists(loaded, features) == expected
        every += expected
    opened = tfds.builder_from_directory(data_dir / "bitext/en-de").as_dataset(split="all")
    assert sorted(as_lists(opened, features)) == sorted(every) and len(every) == 60


def test_records_must_be_there(tmp_path, capsys):
    message = refused(capsys, write_tfds_metadata.main, "--data_dir", tmp_path)
    assert str(tmp_path) in message and "infoxlm build-monolingual" in message


def test_without_tfds_the_extra_is_named(data_dir, monkeypatch, capsys):
    before = tree(data_dir)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = refused(capsys, write_tfds_metadata.main, "--data_dir", data_dir)
    assert 'pip install "infoxlm_keras[tfds]"' in message
    assert tree(data_dir) == before


def test_the_bundled_corpus_is_registered():
    names = {config.name for config in builder.InfoxlmSampleCorpus.BUILDER_CONFIGS}
    assert len(names) == 17 and {"en-de", "en-zh"} <= names
    with tempfile.TemporaryDirectory() as folder:
        made = tfds.builder("infoxlm_sample_corpus/en-hi", data_dir=folder)
        assert isinstance(made, builder.InfoxlmSampleCorpus)
        generated = dict(made._generate_examples(builder.BUNDLED_CORPUS / "heldout"))
    assert len(generated) == 350
    assert all(example["translation"]["hi"] and example["translation"]["en"] for example in generated.values())


def small_corpus():
    """A folder in the sample corpus' layout: four training paragraphs, three of them in German, two held out."""
    folder = tempfile.TemporaryDirectory()
    english, german = sentences("en", 6), sentences("de", 6)
    rows = [Row(f"page{n // 2}", english[n], {"de": german[n]} if n != 1 else {}) for n in range(6)]
    write_rows(pathlib.Path(folder.name) / "train", rows[:4], ["de"])
    write_rows(pathlib.Path(folder.name) / "heldout", rows[4:], ["de"])
    return folder


class SampleCorpusTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own test of a builder, on a small corpus."""

    DATASET_CLASS = builder.InfoxlmSampleCorpus
    BUILDER_CONFIG_NAMES_TO_TEST = ["en-de"]
    SPLITS = {"train": 3, "test": 2}
    SKIP_TF1_GRAPH_MODE = True

    @classmethod
    def setUpClass(cls):
        cls.folder = small_corpus()
        cls.EXAMPLE_DIR = cls.folder.name
        cls.bundled = builder.InfoxlmSampleCorpus.corpus
        builder.InfoxlmSampleCorpus.corpus = pathlib.Path(cls.folder.name)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        builder.InfoxlmSampleCorpus.corpus = cls.bundled
        cls.folder.cleanup()
        super().tearDownClass()
