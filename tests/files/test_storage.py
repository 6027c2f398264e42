"""The door to object stores: what is read is what was written, and every trouble is one line in bounded time."""

import pathlib
import shutil
import subprocess
import sys
import time
import uuid

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile
from hypothesis import given
from hypothesis import strategies as st

import object_stores
from infoxlm_keras.commands import build_monolingual, inspect_records, pretrain
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import is_remote, object_ranges, read_json, staging, storage, write_json
from infoxlm_keras.files.atomic import new_directory
from infoxlm_keras.files.mirror import FLAG
from infoxlm_keras.files.staging import local_argument, local_copy
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.runs.directory import RunDirectory
from repository import REPOSITORY
from running import refused, run, tree
from sample_text import sentences

MISSING = "no such bucket, or no such object"


@pytest.fixture(scope="module", params=["s3", "gcs", "memory", "file"])
def store(request, tmp_path_factory):
    """The address of an empty bucket: in servers on the loopback, in this process's memory, and on this disk."""
    if request.param == "file":
        yield f"file://{tmp_path_factory.mktemp('bucket')}"
        return
    if request.param == "memory":
        yield "memory://bucket"
        return
    with getattr(object_stores, request.param)() as address:
        yield address


def test_what_is_an_address():
    addresses = ["gs://bucket", "s3://bucket/a", "memory://x", "file:///tmp/x"]
    others = ["hf://org/name", "kaggle://a/b/keras/c", "data/s3", "a=b", "", None, pathlib.Path("s3://bucket")]
    assert all(map(is_remote, addresses)) and not any(map(is_remote, others))


def test_objects_are_read_as_they_were_written(store, tmp_path):
    value = {"text": "größe", "numbers": [1, 2]}
    write_json(f"{store}/a/value.json", value)
    assert read_json(f"{store}/a/value.json") == value
    content = bytes(range(256)) * 4096
    (tmp_path / "part").mkdir()
    (tmp_path / "part/ä b.bin").write_bytes(content)
    storage.upload(f"{store}/a", tmp_path, ["part/ä b.bin"])
    assert {name: entry.size for name, entry in storage.listing(f"{store}/a").items()} == {
        "part/ä b.bin": len(content),
        "value.json": len(storage.read_bytes(f"{store}/a/value.json")),
    }
    # A folder, a file, and a file behind the name of a language; not what begins with the same name.
    write_json(f"{store}/ab/value.json", 1)
    copy = local_copy(f"{store}/a/")
    assert copy.name == "a" and (copy / "part/ä b.bin").read_bytes() == content and not (copy / "b").exists()
    assert local_copy(f"{store}/a/part/ä b.bin").read_bytes() == content
    name, equals, path = local_argument(f"de={store}/a/part/ä b.bin").partition("=")
    assert name == "de" and pathlib.Path(path).read_bytes() == content
    assert object_ranges.read_range(f"{store}/a/part/ä b.bin", 1000, 1010) == content[1000:1010]
    # The version of an object changes with its content, also at the same size.
    before = storage.listing(f"{store}/ab")
    write_json(f"{store}/ab/value.json", 2)
    assert storage.listing(f"{store}/ab") != before
    storage.remove(f"{store}/ab", ["value.json", "is not there"])
    assert storage.listing(f"{store}/ab") == {}
    storage.check_writable(f"{store}/ab")
    assert storage.listing(f"{store}/ab") == {}


def test_what_is_missing_is_named(store):
    with pytest.raises(InputError, match="nothing/here: .*no such object"):
        local_copy(f"{store}/nothing/here")
    with pytest.raises(InputError, match=MISSING):
        read_json(f"{store}/nothing.json")
    if not store.startswith(("memory", "file")):
        for use in (storage.listing, storage.check_writable, local_copy):
            with pytest.raises(InputError, match=f"{store}-of-others.*: {MISSING}"):
                use(f"{store}-of-others/run")


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    for number, name in enumerate(("../outside", "a/../../outside", "a//b", "./a")):
        address = f"memory://names{number}/folder"
        # The store's own client would make the name shorter.
        fsspec.filesystem("memory").store[f"/names{number}/folder/{name}"] = MemoryFile(
            None, f"/names{number}/folder/{name}", b"x"
        )
        with pytest.raises(InputError, match="folder: holds an object .*, which is no path below it"):
            local_copy(address)


def test_folders_are_made_on_a_disk_and_removed_when_they_are_empty(tmp_path, monkeypatch):
    """A file system's folders behave like a store's, which are parts of names."""
    monkeypatch.setenv(staging.VARIABLE, str(tmp_path / "staging"))
    target = tmp_path / "not/yet/here"
    for files in ({"config.json": "1", "a/b/c": "2", "d/e": "3"}, {"config.json": "4", "d/e": "3"}):
        with staging.output(f"file://{target}") as local:
            shutil.rmtree(local, ignore_errors=True)
            for name, content in files.items():
                (local / name).parent.mkdir(parents=True, exist_ok=True)
                (local / name).write_text(content)
        assert {name: content.decode() for name, content in tree(target).items()} == files
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "d"]
    # A file, twice: the second time it is there.
    for content in ("1", "2"):
        with staging.output(f"file://{tmp_path}/results/found.json") as local:
            local.write_text(content)
        assert (tmp_path / "results/found.json").read_text() == content
    # Nothing stays of a command that fails.
    with pytest.raises(ZeroDivisionError), staging.output(f"file://{tmp_path}/nothing") as local:
        local.mkdir()
        raise ZeroDivisionError
    assert not (tmp_path / "nothing").exists()


@given(st.data())
def test_ranges_are_the_bytes_of_the_object(data):
    content = data.draw(st.binary(max_size=200))
    storage.write_bytes("memory://ranges/object", content)
    object_ranges.object_size.cache_clear()
    begin = data.draw(st.integers(0, 220))
    ahead = object_ranges.read_ahead("memory://ranges/object", begin, begin + data.draw(st.integers(0, 100)))
    block = object_ranges.RANGE_BYTES
    object_ranges.RANGE_BYTES = data.draw(st.integers(1, 50))
    try:
        with object_ranges.ObjectFile("memory://ranges/object", data.draw(st.sampled_from([None, ahead]))) as file:
            position = data.draw(st.integers(0, 220))
            file.seek(position)
            for _ in range(data.draw(st.integers(1, 8))):
                forward, count = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 60))
                file.seek(forward, 1)
                assert file.read(count) == content[position + forward :][:count]
                position = min(position + forward + count, max(position + forward, len(content)))
    finally:
        object_ranges.RANGE_BYTES = block


# === Trouble: one line, in bounded time ===


def message(action, *arguments):
    start = time.monotonic()
    with pytest.raises(InputError) as raised:
        action(*arguments)
    assert time.monotonic() - start < 60
    text = str(raised.value)
    assert "\n" not in text and text.startswith("s3://bucket")
    return text


def test_denied_access_expired_and_missing_credentials(tmp_path, monkeypatch):
    with object_stores.answering(403, "AccessDenied"):
        text = message(storage.check_writable, "s3://bucket/run")
        assert "access is denied" in text and "the right to write there" in text
        assert "the right to read there" in message(storage.listing, "s3://bucket/run")
    with object_stores.answering(400, "ExpiredToken"):
        assert "no valid credentials" in message(storage.check_writable, "s3://bucket/run")
    for name in object_stores.ACCOUNT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert "no valid credentials here" in message(storage.check_writable, "s3://bucket/run")


def test_a_server_that_does_not_answer(monkeypatch):
    with object_stores.settings(AWS_ENDPOINT_URL="http://127.0.0.1:9", **object_stores.ACCOUNT):
        monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "retries", 2)
        assert "cannot be reached" in message(storage.listing, "s3://bucket/run")


def test_a_missing_library_and_an_unknown_scheme(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert 'pip install "infoxlm_keras[s3]"' in message(storage.listing, "s3://bucket/run")
    with pytest.raises(InputError, match="nosuch://bucket: Protocol not known.*gs://, s3://"):
        storage.listing("nosuch://bucket")
    with pytest.raises(InputError, match="https://host/run: a web server is no storage"):
        storage.listing("https://host/run")


def test_commands_say_it_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("INFOXLM_STAGING", str(tmp_path / "staging"))
    options = ["--tokenizer", tmp_path, "--input", "memory://empty/text", "--output_dir"]
    assert "memory://empty/text: there is no such object" in refused(
        capsys, build_monolingual.main, *options, tmp_path / "data"
    )
    with object_stores.answering(403, "AccessDenied"):
        assert "s3://bucket/data: access is denied" in refused(
            capsys,
            build_monolingual.main,
            "--input",
            tmp_path,
            "--tokenizer",
            tmp_path,
            "--output_dir",
            "s3://bucket/data",
        )
        options = ["--config", "tiny", "--data_dir", tmp_path, "--output_dir", "s3://bucket/run"]
        assert "s3://bucket/run: access is denied" in refused(capsys, pretrain.main, *options)
    options = ["--config", "tiny", "--output_dir", tmp_path / "run", "--data_dir", "memory://empty/data"]
    text = refused(capsys, pretrain.main, *options)
    assert "memory://empty/data/mmlm/manifest.json: no such file; make the records with" in text
    assert not (tmp_path / "run").exists() and not (tmp_path / "data").exists()


def test_an_address_that_libraries_would_cut_is_refused():
    """fsspec takes `::` for a chain of file systems: what is written to `a::b` would replace the object `a`."""
    storage.write_bytes("memory://cut/a", b"precious")
    with (
        pytest.raises(InputError, match="memory://cut/a::b/model: holds `::`"),
        staging.output("memory://cut/a::b/model"),
    ):
        raise AssertionError("is not reached")
    assert storage.read_bytes("memory://cut/a") == b"precious"


@pytest.mark.parametrize("address", ["s3://", "gs:////", "memory://", "s3:///bucket/run"])
def test_an_address_without_a_bucket_is_shown_as_it_was_given(address):
    """Without its slashes, fsspec would take it for a folder of this machine."""
    for use in (storage.listing, storage.check_writable, local_copy, inspect_records.find_manifests):
        with pytest.raises(InputError, match=f"^{address}.*: names no bucket; write {address[:2]}"):
            use(address)
    with pytest.raises(InputError, match="names no bucket"), staging.output(address):
        raise AssertionError("is not reached")


def test_an_object_where_a_folder_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("INFOXLM_STAGING", str(tmp_path))
    address = f"memory://{uuid.uuid4().hex}/object"
    storage.write_bytes(address, b"text")
    for use in (
        inspect_records.find_manifests,
        lambda at: read_manifest(at, "mmlm"),
        storage.check_writable,
    ):
        with pytest.raises(InputError, match=f"^{address}.*: is an object, not a folder"):
            use(address)
    assert storage.read_bytes(address) == b"text"


@pytest.mark.parametrize("of_a_store_with_prefixes_only", [True, False])
def test_a_run_is_not_written_below_an_object(of_a_store_with_prefixes_only, tmp_path, monkeypatch):
    monkeypatch.setenv("INFOXLM_STAGING", str(tmp_path))
    address = f"memory://{uuid.uuid4().hex}/object"
    storage.write_bytes(address, b"text")
    if of_a_store_with_prefixes_only:
        # Buckets have no folders: an object may lie at the name of a folder.
        monkeypatch.setattr(storage, "check_writable", lambda address: None)
    with pytest.raises(InputError, match="is an object, not a folder"), RunDirectory.opened(address):
        raise AssertionError("is not reached")


def test_half_written_records_are_named_as_such():
    address = f"memory://{uuid.uuid4().hex}"
    storage.write_bytes(f"{address}/mmlm/de-32-00000.tfrecord", b"half of it")
    storage.write_bytes(f"{address}/mmlm/{FLAG}", b'{"complete_with": "manifest.json"}')
    for place in (address, f"{address}/mmlm"):
        with pytest.raises(InputError, match=f"^{address}/mmlm: its upload was cut short"):
            inspect_records.find_manifests(place)


def test_builders_print_the_address_that_was_given(tokenizer_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("INFOXLM_STAGING", str(tmp_path / "staging"))
    (tmp_path / "de.txt").write_text("\n".join(sentences("de", 30)) + "\n")
    address = f"memory://{uuid.uuid4().hex}/data"
    options = ["--input", tmp_path / "de.txt", "--tokenizer", tokenizer_dir, "--output_dir", address]
    run(build_monolingual.main, *options, "--sequence_length", 32, "--processes", 1)
    printed = capsys.readouterr()
    assert f"wrote {address}/mmlm: " in printed.out
    assert "staging" not in printed.out + printed.err


def test_local_paths_import_no_library_of_stores(tmp_path):
    program = (
        "import sys; from infoxlm_keras.files import write_json, read_json, local_copy\n"
        "import infoxlm_keras.files.mirror, infoxlm_keras.records.tfrecord, infoxlm_keras.command_line\n"
        f"write_json({str(tmp_path / 'a.json')!r}, 1); read_json(local_copy({str(tmp_path / 'a.json')!r}))\n"
        "print(sorted({'fsspec', 's3fs', 'gcsfs', 'aiohttp', 'boto3', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_relative_staging_folder_stands_for_addresses_in_absolute_form(tmp_path, monkeypatch):
    """An index names its model by the absolute path, and a later query in another folder must find it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFOXLM_STAGING", "staging")
    address = f"memory://{uuid.uuid4().hex}/serving"
    storage.write_bytes(f"{address}/1/saved_model.pb", b"model")
    monkeypatch.setattr(staging, "_inputs", staging._inputs.__wrapped__)
    local = local_copy(address) / "1"
    assert local.is_relative_to(tmp_path / "staging") and staging.named(str(local.absolute())) == f"{address}/1"
    with staging.place(f"{address}/2") as output:
        assert output.is_relative_to(tmp_path / "staging")
        assert staging.named(str(output.absolute())) == f"{address}/2"


def test_two_addresses_have_two_places(tmp_path, monkeypatch):
    """Otherwise the run at one would remove what the other could not upload."""
    monkeypatch.setenv("INFOXLM_STAGING", str(tmp_path))
    addresses = ["a_b", "a b", "a@b", "a[b", "a/b", "a/b/c", "a/../b", "a/./b", ".a_b", "ä_b", "x" * 300]
    places = set()
    for server in ("", "http://localhost:1"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        for address in (*addresses, ""):
            with staging.place(f"s3://bucket/{address}") as local, staging.place(f"gs://bucket/{address}") as other:
                places |= {local, other}
                assert local.parent.is_dir()
    assert len(places) == 2 * 2 * (len(addresses) + 1)
    assert not any(one in other.parents for one in places for other in places)
    with staging.place("s3://bucket/a/") as local, pytest.raises(InputError, match="another process of this machine"):
        with staging.place("s3://bucket/a"):
            raise AssertionError("is not reached")
    assert local.name == "a"


@pytest.mark.parametrize("name", ["hf://org/name", "kaggle://user/model/keras/base"])
def test_a_model_s_name_on_a_hub_is_no_folder_to_write(name, tmp_path, monkeypatch):
    """As a path it would be the local folder `hf:/org/name`."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="names a model on a hub"), new_directory(pathlib.Path(name)):
        raise AssertionError("is not reached")
    assert list(tmp_path.iterdir()) == []
