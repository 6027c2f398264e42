"""Writing, reading and checking `manifest.json`."""

import dataclasses
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import (
    Manifest,
    Shard,
    Source,
    SourceFile,
    Stream,
    TokenizerReference,
    check_tokenizer,
    read_manifest,
    write_manifest,
)

KINDS = {"mmlm": "build-monolingual", "bitext": "build-bitext"}


def example_manifest(kind="bitext", names=("en-de",), lengths=(16, 32)):
    streams = tuple(
        Stream(name, length, 3, 60, 1, (Shard(f"{name}/length-{length:03d}.tfrecord", 3, 5, "00ff"),))
        for name in names
        for length in lengths
    )
    return Manifest(
        kind=kind,
        seed=7,
        tokenizer=TokenizerReference("sha256:" + "ab" * 32, 16000, "tokenizer/vocabulary.spm"),
        lengths=tuple(lengths),
        streams=streams,
        sources=tuple(
            Source(
                name,
                f"{name}.tsv",
                6,
                {"empty": 0, "duplicate": 2},
                (SourceFile(f"{name}.tsv", 90, "11aa"),),
                {"duplicate": ("a house",)},
            )
            for name in names
        ),
        created_by={"package": "infoxlm_keras", "version": "0.1.0", "arguments": {"seed": 7}},
    )


def write_directory(data_dir, manifest):
    directory = data_dir / manifest.kind
    directory.mkdir(parents=True)
    write_manifest(directory, manifest)
    for stream in manifest.streams:
        for shard in stream.shards:
            (directory / shard.path).parent.mkdir(exist_ok=True)
            (directory / shard.path).write_bytes(b"x" * shard.bytes)
    return directory


@pytest.mark.parametrize(("kind", "lengths"), [("mmlm", (512,)), ("bitext", (16, 32))])
def test_reads_what_was_written(tmp_path, kind, lengths):
    manifest = example_manifest(kind, lengths=lengths)
    directory = write_directory(tmp_path, manifest)
    read = read_manifest(tmp_path, kind)
    assert read == dataclasses.replace(manifest, directory=directory)
    assert read.digest == "sha256:" + hashlib.sha256((directory / "manifest.json").read_bytes()).hexdigest()
    assert read.sequence_length == lengths[-1]
    assert read.shard_path(read.streams[0].shards[0]) == str(directory / f"en-de/length-{lengths[0]:03d}.tfrecord")


def test_the_file_follows_the_documented_layout(tmp_path):
    write_directory(tmp_path, example_manifest("mmlm", names=("de",), lengths=(512,)))
    value = json.loads((tmp_path / "mmlm/manifest.json").read_text())
    assert value == {
        "format": "infoxlm_keras/mmlm",
        "version": 2,
        "seed": 7,
        "tokenizer": {
            "fingerprint": "sha256:" + "ab" * 32,
            "vocabulary_size": 16000,
            "file": "tokenizer/vocabulary.spm",
        },
        "sequence_length": 512,
        "streams": [
            {
                "name": "de",
                "length": 512,
                "records": 3,
                "tokens": 60,
                "unknown_tokens": 1,
                "shards": [{"path": "de/length-512.tfrecord", "records": 3, "bytes": 5, "sha256": "00ff"}],
            }
        ],
        "sources": [
            {
                "name": "de",
                "file": "de.tsv",
                "sentences": 6,
                "dropped": {"empty": 0, "duplicate": 2},
                "files": [{"file": "de.tsv", "bytes": 90, "sha256": "11aa"}],
                "dropped_samples": {"duplicate": ["a house"]},
            }
        ],
        "created_by": {"package": "infoxlm_keras", "version": "0.1.0", "arguments": {"seed": 7}},
    }


def test_version_1_is_read(tmp_path):
    manifest = example_manifest()
    path = write_directory(tmp_path, manifest) / "manifest.json"
    value = json.loads(path.read_text())
    value["version"] = 1
    for source in value["sources"]:
        del source["files"], source["dropped_samples"]
    path.write_text(json.dumps(value))
    read = read_manifest(tmp_path, "bitext")
    assert (read.streams, read.lengths, read.seed) == (manifest.streams, manifest.lengths, manifest.seed)
    assert [(source.file, source.dropped["duplicate"], source.files) for source in read.sources] == [
        ("en-de.tsv", 2, ())
    ]


def test_streams_are_sorted_by_name_and_length(tmp_path):
    manifest = example_manifest(names=("en-fr", "en-de"), lengths=(16, 128))
    shuffled = dataclasses.replace(manifest, streams=manifest.streams[::-1])
    write_directory(tmp_path, shuffled)
    streams = read_manifest(tmp_path, "bitext").streams
    assert [(s.name, s.length) for s in streams] == [("en-de", 16), ("en-de", 128), ("en-fr", 16), ("en-fr", 128)]


COUNTS = st.integers(0, 2**53)


@given(st.lists(st.tuples(st.integers(1, 10**9), COUNTS, COUNTS), min_size=1, max_size=5), st.integers(0, 2**31))
def test_any_counts_survive_writing_and_reading(tmp_path_factory, counts, seed):
    streams = tuple(
        Stream(f"l{number}", 512, records, tokens, unknown, (Shard("a/0", records, 5, "00"),))
        for number, (records, tokens, unknown) in enumerate(counts)
    )
    manifest = dataclasses.replace(example_manifest("mmlm", lengths=(512,)), streams=streams, seed=seed)
    data_dir = tmp_path_factory.mktemp("manifest")
    directory = write_directory(data_dir, manifest)
    assert read_manifest(data_dir, "mmlm") == dataclasses.replace(manifest, directory=directory)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_manifest_names_the_command_that_makes_it(tmp_path, kind):
    with pytest.raises(InputError, match=rf"{kind}/manifest.json: no such file; make .*{KINDS[kind]}"):
        read_manifest(tmp_path, kind)


def change(**values):
    return lambda manifest: manifest.update(values)


def without(*keys):
    def remove(value):
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return remove


BROKEN = {
    "other format": (change(format="infoxlm_keras/mmlm"), "format is 'infoxlm_keras/mmlm', but infoxlm_keras/bitext"),
    "other version": (change(version=3), "version is 3, but this package reads versions 1 and 2"),
    "no streams key": (without("streams"), "not a complete manifest .*'streams'"),
    "no tokenizer": (without("tokenizer", "fingerprint"), "not a complete manifest .*'fingerprint'"),
    "no shard size": (without("streams", 0, "shards", 0, "bytes"), "not a complete manifest .*'bytes'"),
    "streams of another type": (change(streams=3), "not a complete manifest"),
    "no streams": (change(streams=[]), "lists no streams"),
    "counts disagree": (lambda value: value["streams"][0].update(records=4), "says 4 records, its shards 3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_manifest_is_refused(tmp_path, name):
    break_it, message = BROKEN[name]
    path = write_directory(tmp_path, example_manifest()) / "manifest.json"
    value = json.loads(path.read_text())
    break_it(value)
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(tmp_path, "bitext")
    assert str(path) in str(caught.value) and "build-bitext" in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path, content):
    path = write_directory(tmp_path, example_manifest()) / "manifest.json"
    path.write_text(content)
    with pytest.raises(InputError, match="manifest.json"):
        read_manifest(tmp_path, "bitext")


def test_a_missing_shard_is_noticed(tmp_path):
    directory = write_directory(tmp_path, example_manifest())
    (directory / "en-de/length-032.tfrecord").unlink()
    with pytest.raises(
        InputError, match="length-032.tfrecord: is listed in manifest.json but is missing; copy it again"
    ):
        read_manifest(tmp_path, "bitext")


def test_a_shard_of_another_size_is_noticed(tmp_path):
    directory = write_directory(tmp_path, example_manifest())
    (directory / "en-de/length-016.tfrecord").write_bytes(b"xxx")
    with pytest.raises(InputError, match="length-016.tfrecord: has 3 bytes, but manifest.json says 5"):
        read_manifest(tmp_path, "bitext")


def test_records_of_another_tokenizer_are_refused(tmp_path, tokenizer):
    directory = write_directory(tmp_path, example_manifest())
    manifest = read_manifest(tmp_path, "bitext")
    with pytest.raises(InputError) as caught:
        check_tokenizer(manifest, tokenizer)
    for part in (str(directory), str(tokenizer.source), "tokenizer/vocabulary.spm", "build-bitext", "16000 ids"):
        assert part in str(caught.value)
    own = dataclasses.replace(manifest.tokenizer, fingerprint=tokenizer.fingerprint)
    check_tokenizer(dataclasses.replace(manifest, tokenizer=own), tokenizer)
