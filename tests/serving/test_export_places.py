"""Exports under any path, on a disk that refuses, and after damage."""

import errno
import json
import os
import resource
import shutil
import subprocess
import types

import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.search.embedder import SavedModelEmbedder, newest_version
from infoxlm_keras.serving import export, export_embedding, read_warmup, server_files
from infoxlm_keras.serving.export import default_model_name
from infoxlm_keras.serving.saved_model import CHECKSUMS_FILE
from infoxlm_keras.system_errors import describe_os_error
from running import tree
from tiny_export import TEXTS, expected_vectors

# Brackets, wildcards, a byte that is no UTF-8, a line break, and what a shell or a markup language reads.
ODD_NAMES = [
    "run[lr=1e-3]",
    "[v2]",
    "a*?{b}",
    os.fsdecode(b"r\xff\xfe"),
    "line\nbreak",
    "grün 房子",
    "[/red]",
    "a\\b",
    "%s",
]


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.fixture(scope="module")
def expected(model):
    return expected_vectors(model, TEXTS, layer=1, pooling="mean")


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A version that is in order."""
    return export_embedding(model, tmp_path_factory.mktemp("whole"), verify=False).directory


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "1")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_of_a_folder(model, expected, name, tmp_path):
    output_dir = tmp_path / name / "serving"
    export = export_embedding(model, output_dir, verify=False)
    assert export.directory == output_dir / "1"
    np.testing.assert_allclose(SavedModelEmbedder(output_dir)(TEXTS), expected, rtol=0, atol=1e-5)
    assert len(read_warmup(export.directory)) == export.warmup_records > 0


@pytest.mark.slow
def test_an_odd_name_is_checked_in_a_fresh_process_too(model, tmp_path):
    export = export_embedding(model, tmp_path / ODD_NAMES[0] / ODD_NAMES[3] / "serving")
    assert export.max_difference < 1e-5


def test_a_folder_whose_name_no_server_takes_is_refused(model, tmp_path):
    for name in ODD_NAMES:
        with pytest.raises(InputError, match="model name .*: must be letters"):
            export_embedding(model, tmp_path / name, verify=False)
    assert list(tmp_path.iterdir()) == []


def test_links_stay_links(model, expected, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    export_embedding(model, tmp_path / "link", verify=False)
    export_embedding(model, tmp_path / "link", verify=False)
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == [
        "1",
        "2",
        "batching_parameters.txt",
        "models.config",
    ]
    np.testing.assert_allclose(SavedModelEmbedder(tmp_path / "link")(TEXTS), expected, rtol=0, atol=1e-5)


def test_links_to_nothing_are_refused(model, tmp_path):
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(InputError, match="link: is a symbolic link to nothing"):
        export_embedding(model, tmp_path / "link", verify=False)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises((InputError, OSError), match="loop"):
        export_embedding(model, tmp_path / "loop", verify=False)
    (tmp_path / "3").symlink_to("nothing")
    with pytest.raises(InputError, match="3: this version exists"):
        export_embedding(model, tmp_path, version=3, verify=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "link", "loop"]


def test_the_default_name_of_a_model(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert default_model_name(".") == "inner"
    assert default_model_name("..") == tmp_path.name
    assert default_model_name("../inner/new") == "new"


def test_a_limited_file_size_leaves_nothing(model, tmp_path):
    """Each file of an export may be the one that the disk refuses."""
    failed, (soft, hard) = 0, resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (1, 100, 1000, 4000, 12_000, 30_000, 80_000):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                export_embedding(model, tmp_path / "new" / "serving", verify=False)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        except OSError as error:
            assert error.errno == errno.EFBIG
            failed += 1
            assert list(tmp_path.iterdir()) == []
    assert failed >= 6


def test_the_room_for_the_weights_is_checked_before_they_are_written(model, whole, tmp_path, monkeypatch):
    """What is asked for is never more than the file takes, so that no export is refused that would fit."""
    taken = (whole / FILES[2]).stat().st_size
    asked = []
    monkeypatch.setattr(export, "check_sizes", lambda directory, sizes: asked.extend(sizes))
    export_embedding(model, tmp_path / "serving", verify=False)
    assert 0.8 * taken < sum(asked) <= taken
    monkeypatch.undo()
    monkeypatch.setattr(export, "_save", None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(total=1 << 30, free=taken // 2))
    with pytest.raises(OSError, match="No space left") as error:
        export_embedding(model, tmp_path / "new/serving", verify=False)
    assert error.value.errno == errno.ENOSPC and not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("part", [0.5, 1.0, 1.2, 1.6])
def test_a_file_system_that_is_really_full_leaves_nothing(model, whole, part, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    size = int(part * (whole / FILES[2]).stat().st_size)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this system lets root mount nothing")
    try:
        with pytest.raises(OSError) as error:
            export_embedding(model, place / "deep/serving", verify=False)
        assert error.value.errno == errno.ENOSPC and os.listdir(place) == []
        assert "no space left on device; free some space" in describe_os_error(error.value)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_server_file_that_cannot_be_written_leaves_nothing(model, tmp_path, monkeypatch):
    write = server_files.write_atomically

    def fail(path, text):
        if path.name == server_files.BATCHING_FILE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, text)

    monkeypatch.setattr(server_files, "write_atomically", fail)
    with pytest.raises(OSError, match="No space left"):
        export_embedding(model, tmp_path / "serving", verify=False)
    assert list(tmp_path.iterdir()) == []


FILES = ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]


@pytest.mark.parametrize("name", [*FILES, CHECKSUMS_FILE])
def test_a_damaged_export_is_told(copy, name):
    content = (copy / name).read_bytes()
    places = np.random.default_rng(23).integers(0, len(content), 12)
    flips = [content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :] for place in places]
    for damaged in (b"", content[: len(content) // 2], content + b"\0", *flips):
        (copy / name).write_bytes(damaged)
        with pytest.raises(InputError) as refusal:
            SavedModelEmbedder(copy)
        assert str(copy) in str(refusal.value) and "\n" not in str(refusal.value)
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises(InputError, match=name):
        SavedModelEmbedder(copy)


@pytest.mark.parametrize("name", FILES)
def test_an_export_of_an_older_release_opens_without_checksums(copy, expected, name):
    (copy / CHECKSUMS_FILE).unlink()
    np.testing.assert_allclose(SavedModelEmbedder(copy)(TEXTS), expected, rtol=0, atol=1e-5)
    content = (copy / name).read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\xff" * len(content)):
        (copy / name).write_bytes(damaged)
        with pytest.raises(InputError, match="is not a SavedModel that can be opened: .*; export the model again"):
            SavedModelEmbedder(copy)


def test_files_where_directories_belong(copy, tmp_path):
    shutil.rmtree(copy / "variables")
    (copy / "variables").write_text("text")
    with pytest.raises(InputError, match=r"variables\.data-00000-of-00001: no such file"):
        SavedModelEmbedder(copy)
    with pytest.raises(InputError, match="holds no SavedModel"):
        newest_version(copy / "variables")
    with pytest.raises(InputError, match="holds no SavedModel"):
        newest_version(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["[", "[]", "7", "\udcff", "[" * 100_000, '{"a": NaN'])
def test_damaged_facts_are_told(copy, text):
    (copy / "assets.extra" / "infoxlm.json").write_bytes(os.fsencode(text))
    with pytest.raises(InputError, match=r"infoxlm\.json: "):
        SavedModelEmbedder(copy)


def test_a_damaged_warm_up_file_is_told(copy):
    path = copy / "assets.extra" / "tf_serving_warmup_requests"
    content = path.read_bytes()
    flips = [content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :] for place in (0, 9, 100, 5000)]
    for damaged in (content[:-1], content[: len(content) // 2], b"text", *flips):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"tf_serving_warmup_requests: .* damaged; export the model again"):
            read_warmup(copy)
    (copy / CHECKSUMS_FILE).unlink()
    for damaged in (content[:-1], b"text", *flips):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="tf_serving_warmup_requests: .*; export the model again"):
            read_warmup(copy)


def test_the_checksums_are_of_all_files_but_the_facts(whole):
    listed = json.loads((whole / CHECKSUMS_FILE).read_text())["files"]
    assert set(listed) == set(tree(whole)) - {CHECKSUMS_FILE, "assets.extra/infoxlm.json"}
    assert {name: entry["bytes"] for name, entry in listed.items()} == {
        name: len(tree(whole)[name]) for name in listed
    }
