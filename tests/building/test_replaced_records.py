"""What --overwrite of the builders may remove: records, and nothing else that lies in their folder."""

import shutil

import pytest

from infoxlm_keras.building import build as building
from infoxlm_keras.building import from_lists
from infoxlm_keras.commands import build_bitext, build_monolingual, build_with_beam, write_tfds_metadata
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.unfinished import new_name
from infoxlm_keras.records.manifest import read_manifest
from running import refused, run, tree
from sample_text import sentences

RUNNER = ("--runner", "DirectRunner", "--direct_running_mode", "in_memory")
BUILDERS = {
    "bitext": (build_bitext.main,),
    "mmlm": (build_monolingual.main,),
    "bitext on Beam": (build_with_beam.main, "bitext"),
    "mmlm on Beam": (build_with_beam.main, "monolingual"),
}


def command(name, root, tokenizer_dir, *inputs):
    kind = name.split()[0]
    inputs = inputs or (root / ("en-de.tsv" if kind == "bitext" else "en.txt"),)
    arguments = [*BUILDERS[name], "--input", *inputs, "--tokenizer", tokenizer_dir, "--output_dir", root / "data"]
    return [*arguments, "--processes", 1, "--overwrite", *(RUNNER if "Beam" in name else ())]


@pytest.fixture(scope="module")
def built(tokenizer_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("built")
    english, german = sentences("en", 40), sentences("de", 40)
    (root / "en.txt").write_text("\n".join(english) + "\n", encoding="utf-8")
    pairs = "".join(f"{source}\t{target}\n" for source, target in zip(english, german, strict=True))
    (root / "en-de.tsv").write_text(pairs, encoding="utf-8")
    for name in ("bitext", "mmlm"):
        run(*command(name, root, tokenizer_dir))
    return root


@pytest.fixture
def root(built, tmp_path):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("file", ["my_notes.txt", "en-de/cleaned.tsv", "old/manifest.json", "mine.tfrecord"])
def test_files_of_others_are_kept(name, file, root, tokenizer_dir, capsys, monkeypatch):
    kind = name.split()[0]
    place = root / "data" / kind / file
    place.parent.mkdir(exist_ok=True)
    place.write_text("of years")
    before = tree(root)
    with monkeypatch.context() as patch:
        patch.setattr("infoxlm_keras.building.bitext_plan.find_bitext", None)
        patch.setattr("infoxlm_keras.building.monolingual_plan.find_monolingual", None)
        message = refused(capsys, *command(name, root, tokenizer_dir))
    assert f"data/{kind}: holds {file}, which would be deleted" in message
    assert tree(root) == before


@pytest.mark.parametrize("name", BUILDERS)
def test_inputs_are_kept(name, root, tokenizer_dir, capsys):
    kind = name.split()[0]
    # Named like a shard, so that only its being an input tells it from records.
    folder = root / "data" / kind / "in"
    folder.mkdir()
    place = folder / "x-00000-of-00001.tfrecord"
    shutil.copy(root / ("en-de.tsv" if kind == "bitext" else "en.txt"), place)
    link = root / ("link.en-de.tsv" if kind == "bitext" else "link.en.txt")
    link.symlink_to(place)
    before = tree(root)
    message = refused(capsys, *command(name, root, tokenizer_dir, link))
    assert f"data/{kind}: would be replaced, but {link} is read from it" in message
    evaluation = ["--evaluation_files", link]
    message = refused(capsys, *command(name, root, tokenizer_dir), *evaluation)
    assert f"data/{kind}: would be replaced, but {link} is read from it" in message
    assert tree(root) == before


@pytest.mark.parametrize("name", BUILDERS)
def test_all_that_the_library_writes_is_replaced(name, root, tokenizer_dir):
    pytest.importorskip("tensorflow_datasets")
    run(write_tfds_metadata.main, "--data_dir", root / "data")
    kind = name.split()[0]
    folder = root / "data" / kind
    (folder / ".DS_Store").write_bytes(b"")
    abandoned = folder / new_name(kind)
    abandoned.mkdir()
    (abandoned / "half").write_text("written")
    assert len(list(folder.rglob("features.json"))) == 2
    # The tokenizer of the records themselves may make them again.
    run(*command(name, root, folder / "tokenizer"), "--seed", 7)
    assert read_manifest(root / "data", kind).seed == 7
    assert not list(folder.rglob("features.json"))


def test_a_file_that_comes_during_the_build_is_kept(root, tokenizer_dir, capsys, monkeypatch):
    place = root / "data/bitext/my_notes.txt"
    complete = building.complete_output

    def complete_and_write(*arguments):
        complete(*arguments)
        place.write_text("of years")

    monkeypatch.setattr(building, "complete_output", complete_and_write)
    before = tree(root)
    assert "holds my_notes.txt" in refused(capsys, *command("bitext", root, tokenizer_dir))
    assert tree(root) == {**before, "data/bitext/my_notes.txt": b"of years"}


def test_lists_of_texts_do_not_replace_the_files_of_others(root, tokenizer_dir):
    (root / "data/mmlm/my_notes.txt").write_text("of years")
    with pytest.raises(InputError, match="holds my_notes.txt"):
        from_lists.write_records(
            root / "data", tokenizer_dir, sentences={"en": ["one"]}, monolingual_options={"overwrite": True}
        )
