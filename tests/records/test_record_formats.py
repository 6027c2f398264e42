"""Prepared records in the hands of other readers: tf.io.parse_example and the `tfrecord` package (TFDS: test_tfds)."""

import json
import re
import subprocess
import sys

import pytest
import tensorflow as tf

from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.records.manifest import read_manifest
from repository import REPOSITORY
from running import run
from sample_text import sentences

DOCUMENT = REPOSITORY / "docs/records.md"
FEATURES = {"mmlm": ("token_ids",), "bitext": ("source_ids", "target_ids")}


@pytest.fixture(scope="module")
def data_dir(tokenizer_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("formats")
    (directory / "de.txt").write_text("\n".join(sentences("de", 40)), encoding="utf-8")
    pairs = zip(sentences("en", 40), sentences("de", 40, start=3), strict=True)
    (directory / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    common = ("--tokenizer", tokenizer_dir, "--output_dir", directory / "data", "--processes", 1)
    run(build_monolingual.main, "--input", directory / "de.txt", "--sequence_length", 24, *common)
    run(build_bitext.main, "--input", directory / "en-de.tsv", "--lengths", 8, 16, 32, "--max_length", 32, *common)
    return directory / "data"


def expected(tokenizer, kind):
    """What the records must hold, sorted."""
    if kind == "bitext":
        sides = (tokenizer.encode(sentences("en", 40)), tokenizer.encode(sentences("de", 40, start=3)))
        return sorted(list(pair) for pair in zip(*sides, strict=True))
    blocks = [[0]]
    for sentence in tokenizer.encode(sentences("de", 40)):
        if len(blocks[-1]) + len(sentence) + 1 > 24:
            blocks.append([0])
        blocks[-1] += [*sentence, 2]
    return sorted([block] for block in blocks)


def shards(data_dir, kind):
    manifest = read_manifest(data_dir, kind)
    return [manifest.shard_path(shard) for stream in manifest.streams for shard in stream.shards]


@pytest.mark.parametrize("kind", FEATURES)
def test_tensorflow_parses_them(kind, data_dir, tokenizer):
    features = {name: tf.io.RaggedFeature(tf.int64) for name in FEATURES[kind]}
    batches = tf.data.TFRecordDataset(shards(data_dir, kind)).batch(7)
    found = []
    for batch in batches.map(lambda serialized: tf.io.parse_example(serialized, features)):
        found += zip(*(batch[name].to_list() for name in FEATURES[kind]), strict=True)
    assert sorted(map(list, found)) == expected(tokenizer, kind)


# In a process of its own: the package brings TensorFlow's messages itself, and both at once are an error.
TFRECORD_PROGRAM = """
import json, sys
from tfrecord.reader import tfrecord_loader

found = {}
for kind, (features, paths) in json.loads(sys.argv[1]).items():
    found[kind] = []
    for path in paths:
        for example in tfrecord_loader(path, None, dict.fromkeys(features, "int")):
            found[kind].append([example[name].tolist() for name in features])
print(json.dumps(found))
"""


def test_the_tfrecord_package_reads_them(data_dir, tokenizer):
    given = json.dumps({kind: (features, shards(data_dir, kind)) for kind, features in FEATURES.items()})
    done = subprocess.run([sys.executable, "-c", TFRECORD_PROGRAM, given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for kind in FEATURES:
        assert sorted(found[kind]) == expected(tokenizer, kind)


def test_the_document_names_what_is_written(data_dir):
    text = DOCUMENT.read_text()
    for kind, features in FEATURES.items():
        manifest = (data_dir / kind / "manifest.json").read_text()
        for key in re.findall(r'"([a-z_0-9]+)":', manifest.split('"dropped":')[0]):
            assert f"`{key}`" in text, key
        for feature in features:
            assert f"| {kind} | `{feature}` |" in text
