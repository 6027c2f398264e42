"""Manifests that are wrong in every way JSON allows, and records that are not what their manifest says."""

import copy
import json
import shutil
import struct

import numpy as np
import pytest

from infoxlm_keras.commands import build_bitext, build_monolingual, inspect_records
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.example_codec import encode_examples, frame_record
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.records.statistics import decode_varints, read_stream
from infoxlm_keras.records.tfrecord import masked_crc, read_frames, read_window
from running import refused, run
from sample_text import sentences

ODD = [None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x" * 5000, "\0", [], {}, [[[[]]]], {"a": {}}]


@pytest.fixture(scope="module")
def data_dir(tokenizer_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    (root / "de.txt").write_text("\n".join(sentences("de", 60)) + "\n")
    pairs = zip(sentences("en", 40), sentences("de", 40), strict=True)
    (root / "en-de.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    common = ["--tokenizer", tokenizer_dir, "--output_dir", root / "data", "--processes", 1]
    run(build_monolingual.main, "--input", root / "de.txt", *common, "--sequence_length", 32)
    run(build_bitext.main, "--input", root / "en-de.tsv", *common, "--lengths", 16, 32, "--max_length", 32)
    return root / "data"


def places(value, place=()):
    """Every place in a JSON value, as a tuple of keys."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*place, key))


def replaced(value, place, item):
    value = copy.deepcopy(value)
    if not place:
        return item
    owner = value
    for key in place[:-1]:
        owner = owner[key]
    owner[place[-1]] = item
    return value


@pytest.mark.parametrize("kind", ["mmlm", "bitext"])
def test_any_value_of_another_kind_is_refused(kind, data_dir, tmp_path):
    shutil.copytree(data_dir / kind, tmp_path / kind)
    path = tmp_path / kind / "manifest.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    accepted, tried = [], 0
    for place in places(value):
        for item in ODD:
            path.write_text(json.dumps(replaced(value, place, item)), encoding="utf-8")
            tried += 1
            try:
                read_manifest(tmp_path, kind)
            except InputError as error:
                assert str(path) in str(error) or str(tmp_path) in str(error)
                assert "\n" not in str(error) and len(str(error)) < 1000
            else:
                accepted.append((place, item))
    assert tried > 500
    # What was accepted is of the kind that the place has, or free: settings of the build, and texts for people.
    for place, item in accepted:
        free = "created_by" in place or type(item) is type(_at(value, place))
        assert free or item is None and place[-1] in ("sha256", "read"), (place, item)


def _at(value, place):
    for key in place:
        value = value[key]
    return value


OUTSIDE = ["../../secret", "/etc/passwd", "de/../../../x", "~/secret", "", ".", "de/\0", "..", "C:\\secret", "a/.."]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("place", [("streams", 0, "shards", 0, "path"), ("tokenizer", "file")])
def test_a_path_that_leaves_the_directory_is_refused(place, name, data_dir, tmp_path):
    shutil.copytree(data_dir / "mmlm", tmp_path / "mmlm")
    path = tmp_path / "mmlm/manifest.json"
    path.write_text(json.dumps(replaced(json.loads(path.read_text()), place, name)))
    with pytest.raises(InputError, match=r"manifest.json: is not a complete manifest .*not a path inside"):
        read_manifest(tmp_path, "mmlm")


TEXTS = {
    "nested": "[" * 200_000,
    "nested objects": '{"format":' * 100_000,
    "a number without end": '{"format": 1' + "0" * 20_000 + "}",
    "no UTF-8": b"\xff\xfe{}",
    "cut": None,
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_json_is_one_message(name, data_dir, tmp_path, capsys):
    shutil.copytree(data_dir / "mmlm", tmp_path / "mmlm")
    path = tmp_path / "mmlm/manifest.json"
    text = TEXTS[name] or path.read_bytes()[:-300]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert str(path) in refused(capsys, inspect_records.main, tmp_path)


def test_streams_that_come_twice_are_refused(data_dir, tmp_path):
    shutil.copytree(data_dir / "mmlm", tmp_path / "mmlm")
    path = tmp_path / "mmlm/manifest.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"streams": value["streams"] * 2}))
    with pytest.raises(InputError, match="not each stream once"):
        read_manifest(tmp_path, "mmlm")


def change_shard(data_dir, tmp_path, change):
    """(path of the first shard of a copy, its manifest) after `change` (bytes -> bytes), sizes put right."""
    shutil.copytree(data_dir / "mmlm", tmp_path / "mmlm")
    manifest_path = tmp_path / "mmlm/manifest.json"
    value = json.loads(manifest_path.read_text())
    shard = value["streams"][0]["shards"][0]
    path = tmp_path / "mmlm" / shard["path"]
    path.write_bytes(change(path.read_bytes()))
    shard["bytes"] = path.stat().st_size
    manifest_path.write_text(json.dumps(value))
    return path, read_manifest(tmp_path, "mmlm")


def frame_bounds(data):
    bounds, place = [0], 0
    while place < len(data):
        place += 16 + struct.unpack_from("<Q", data, place)[0]
        bounds.append(place)
    return bounds


def test_every_cut_of_a_shard_is_named_with_its_offset(data_dir, tmp_path):
    path, manifest = change_shard(data_dir, tmp_path, lambda data: data)
    data = path.read_bytes()
    bounds = frame_bounds(data)
    for cut in sorted({*range(0, len(data), 61), *bounds[:-1], len(data) - 1}):
        for end in (b"", bytes(len(data) - cut)):
            path.write_bytes(data[:cut] + end)
            offset = max(bound for bound in bounds if bound <= cut)
            with pytest.raises(InputError) as caught:
                read_stream(manifest, manifest.streams[0], None, 0)
            whole = cut in bounds and not end
            expected = f"{path}: holds" if whole else f"{path}: is damaged at byte {offset} "
            assert str(caught.value).startswith(expected), (cut, end[:1])


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**15, 10**6])
def test_a_huge_length_with_a_right_checksum_is_refused_before_it_is_read(length, data_dir, tmp_path):
    header = struct.pack("<Q", length)
    header += struct.pack("<I", masked_crc(header))
    path, _ = change_shard(data_dir, tmp_path, lambda data: header + data[12:])
    for read in (lambda: list(read_frames(str(path))), lambda: read_window(str(path), 0, 1)):
        with pytest.raises(InputError, match=r"damaged at byte 0 .record 0.: the file ends [0-9]+ bytes before"):
            read()
    with pytest.raises(InputError, match=r"damaged at byte 0"):
        read_window(str(path), 3, 1)


BAD_RECORDS = {
    "an id beyond the vocabulary": ({"token_ids": (np.array([0, 5, 256, 2]), [0, 4])}, "holds token id 256"),
    "a negative id": ({"token_ids": (np.array([0, -5, 2]), [0, 3])}, "holds token id -5"),
    "another feature": ({"words": (np.array([0, 2]), [0, 2])}, "lacks token_ids"),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_records_that_do_not_fit_are_named_with_file_and_offset(name, data_dir, tmp_path, capsys):
    features, message = BAD_RECORDS[name]
    (record,) = encode_examples(features)
    bounds = []

    def second_replaced(data):
        bounds.extend(frame_bounds(data))
        return data[: bounds[1]] + frame_record(record) + data[bounds[2] :]

    path, _ = change_shard(data_dir, tmp_path, second_replaced)
    error = refused(capsys, inspect_records.main, tmp_path)
    assert f"{path}: record at byte {bounds[1]} " in error and message in error


@pytest.mark.parametrize("data", [b"nonsense", b"\x0a\xff", b"\x0a\x02\x0a\x00", bytes(50)])
def test_a_record_that_is_no_example_is_named_with_file_and_offset(data, data_dir, tmp_path, capsys):
    path, _ = change_shard(data_dir, tmp_path, lambda shard: frame_record(data) + shard)
    assert f"{path}: record at byte 0" in refused(capsys, inspect_records.main, tmp_path)


def test_all_records_are_counted_against_the_manifest(data_dir, tmp_path, capsys):
    def first_twice(data):
        return data[: frame_bounds(data)[1]] + data

    path, manifest = change_shard(data_dir, tmp_path, first_twice)
    records = manifest.streams[0].records
    error = refused(capsys, inspect_records.main, tmp_path, "--records", 0)
    assert f"{path}: holds {records + 1} records, but its manifest says {records}" in error


def test_tokens_are_counted_against_the_manifest(data_dir, tmp_path, capsys):
    shutil.copytree(data_dir / "bitext", tmp_path / "bitext")
    path = tmp_path / "bitext/manifest.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps(replaced(value, ("streams", 0, "tokens"), value["streams"][0]["tokens"] + 1)))
    error = refused(capsys, inspect_records.main, tmp_path, "--records", 0)
    assert f"{path}: stream en-de of length" in error


def test_another_tokenizer_than_that_of_the_records_is_noticed(data_dir, tmp_path, capsys):
    shutil.copytree(data_dir / "mmlm", tmp_path / "mmlm")
    path = tmp_path / "mmlm/tokenizer/vocabulary.spm"
    # A field that readers do not know, so that the model still loads.
    path.write_bytes(path.read_bytes() + b"\xf2\x7d\x01x")
    assert "were made with another tokenizer" in refused(capsys, inspect_records.main, tmp_path)


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", b"\xff" * 11 + b"\x01"])
def test_a_number_that_does_not_end_is_no_number(data):
    with pytest.raises(IndexError):
        decode_varints(data)
