"""The command recipes/convert_checkpoint.py, from a source to an exit code."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from infoxlm_keras.commands import convert_checkpoint
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import hub, read_json
from infoxlm_keras.pretrained import load_pretrained
from repository import REPOSITORY
from running import refused, run, tree
from tiny_huggingface import LAYERS, huggingface_logits, our_logits, random_ids, write_checkpoint


@pytest.fixture(scope="module")
def places(tiny_preset, tokenizer, tmp_path_factory):
    """Paths by name: a preset and a Hugging Face folder, an empty directory, a file, a folder of mixed origin."""
    root = tmp_path_factory.mktemp("places")
    for name in ("hf", "empty", "mixed"):
        (root / name).mkdir()
    write_checkpoint(root / "hf", tokenizer)
    write_checkpoint(root / "mixed", tokenizer)
    config = json.loads((root / "mixed" / "config.json").read_text())
    (root / "mixed" / "config.json").write_text(json.dumps({**config, "vocab_size": 1000}))
    (root / "file").write_text("text")
    return {"preset": tiny_preset, **{path.name: path for path in root.iterdir()}}


@pytest.mark.slow
def test_by_itself_on_another_backend(places, tmp_path):
    """As a user runs it, there and back."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, REPOSITORY / "recipes" / "convert_checkpoint.py"]

    def call(*arguments):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    output = call("--from", places["hf"], "--to", tmp_path / "preset")
    assert output.index("format = keras") < output.index("masked-LM head") < output.index("wrote ")
    assert output.endswith(f"wrote {tmp_path / 'preset'}\n")
    call("--from", tmp_path / "preset", "--to", tmp_path / "hf", "--format", "hf")
    import transformers

    original, back = (
        transformers.AutoModelForMaskedLM.from_pretrained(path).eval() for path in (places["hf"], tmp_path / "hf")
    )
    for name, tensor in original.state_dict().items():
        np.testing.assert_array_equal(back.state_dict()[name], tensor, err_msg=name)
    ours = load_pretrained(tmp_path / "preset")
    token_ids, mask = random_ids(ours.tokenizer.vocabulary_size)
    used = mask.astype(bool)
    expected = huggingface_logits(original, token_ids, mask)
    np.testing.assert_allclose(our_logits(ours.masked_lm, token_ids, mask)[used], expected[used], rtol=0, atol=1e-5)


def test_each_format_ends_with_its_table(places, tmp_path, capsys):
    for format, words in {
        "keras": ["masked-LM head", "yes"],
        "hf": ["masked-LM head", "yes"],
        "sentence-transformers": ["2 of 3", "left out", "mean, unit length"],
        "keras-embedder": ["2 of 3", "left out", "mean, unit length"],
    }.items():
        run(convert_checkpoint.main, "--from", places["hf"], "--to", tmp_path / format, "--format", format)
        output = capsys.readouterr().out
        assert output.endswith(f"wrote {tmp_path / format}\n")
        for word in words:
            assert word in output
        assert len(load_pretrained(tmp_path / format).tokenizer.fingerprint) > 10


def test_upload_follows_the_finished_folder(places, tmp_path, monkeypatch, capsys):
    calls = []

    def upload(directory, uri, to_keras):
        calls.append((uri, to_keras, (directory / "model.safetensors").is_file()))

    monkeypatch.setattr("infoxlm_keras.exporting.convert.upload", upload)
    arguments = ["--from", places["hf"], "--to", tmp_path / "out", "--format", "hf", "--upload", "hf://me/name"]
    run(convert_checkpoint.main, *arguments)
    assert calls == [("hf://me/name", False, True)]
    assert "uploaded to hf://me/name" in capsys.readouterr().out


def test_a_failed_upload_leaves_the_folder(places, tmp_path, monkeypatch, capsys):
    def upload(directory, uri, to_keras):
        raise InputError(f"{uri}: cannot be uploaded to")

    monkeypatch.setattr("infoxlm_keras.exporting.convert.upload", upload)
    arguments = ["--from", places["hf"], "--to", tmp_path / "out", "--format", "hf", "--upload", "hf://me/name"]
    assert "cannot be uploaded" in refused(capsys, convert_checkpoint.main, *arguments)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_what_is_there_is_replaced_only_when_asked(places, tmp_path, capsys):
    arguments = ["--from", places["hf"], "--to", tmp_path / "out", "--format", "hf"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note").write_text("mine")
    assert "is not empty" in refused(capsys, convert_checkpoint.main, *arguments)
    assert "and no config.json or modules.json or model.tflite" in refused(
        capsys, convert_checkpoint.main, *arguments, "--overwrite"
    )
    assert tree(tmp_path) == {"out/note": b"mine"}
    (tmp_path / "out" / "config.json").write_text('{"old": true}')
    assert "holds note, which would be deleted" in refused(capsys, convert_checkpoint.main, *arguments, "--overwrite")
    assert tree(tmp_path) == {"out/note": b"mine", "out/config.json": b'{"old": true}'}
    (tmp_path / "out" / "note").unlink()
    run(convert_checkpoint.main, *arguments, "--overwrite")
    assert "old" not in read_json(tmp_path / "out" / "config.json")


# Arguments, and what the message must name.
BAD_INPUT = [
    (["--from", "{empty}/nothing"], ["{empty}/nothing", "no such directory"]),
    (["--from", "{empty}"], ["{empty}", "no config.json"]),
    (["--from", "{file}"], ["{file}", "is a file"]),
    (["--from", "no_such_preset"], ["no_such_preset"]),
    (["--from", "{mixed}"], ["word_embeddings", "(256, 16)", "(1000, 16)"]),
    (["--to", "{file}"], ["{file}", "another output directory"]),
    (["--format", "hf", "--layer", 1], ["--layer 1", "--format keras-embedder or sentence-transformers", "leave it"]),
    (["--format", "keras", "--dtype", "float16"], ["--dtype float16", "--format hf or sentence-transformers"]),
    (["--format", "keras", "--normalize", "false"], ["--normalize False", "leave it out"]),
    (["--format", "sentence-transformers", "--layer", LAYERS + 1], [f"layer {LAYERS + 1}", f"1..{LAYERS}"]),
    (["--format", "sentence-transformers", "--layer", 0], ["layer 0", f"1..{LAYERS}"]),
    (["--format", "hf", "--max_shard_size", "5 apples"], ["--max_shard_size 5 apples", "500MB"]),
    (["--format", "hf", "--max_shard_size", "0GB"], ["--max_shard_size 0GB"]),
    (["--format", "hf", "--max_shard_size", "infGB"], ["--max_shard_size infGB"]),
    (["--format", "hf", "--results", "{empty}/none.json"], ["none.json", "no such file"]),
    (["--format", "hf", "--results", "{hf}/config.json"], ["config.json", "evaluate-retrieval"]),
    (["--format", "hf", "--upload", "kaggle://me/x/keras/y"], ["kaggle://me/x/keras/y", "KerasHub presets"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT, ids=[" ".join(map(str, case[0])) for case in BAD_INPUT])
def test_bad_input(arguments, words, places, tmp_path, capsys):
    given = [str(argument).format(**places) for argument in arguments]
    message = refused(capsys, convert_checkpoint.main, "--from", places["hf"], "--to", tmp_path / "a" / "out", *given)
    for word in words:
        assert word.format(**places) in message
    assert list(tmp_path.iterdir()) == []
    assert places["file"].read_text() == "text"


def test_a_fault_half_way_leaves_nothing(places, tmp_path, monkeypatch):
    def fail(directory, tokenizer, max_length):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr("infoxlm_keras.exporting.to_huggingface.write_tokenizer", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        convert_checkpoint.main(["--from", str(places["hf"]), "--to", str(tmp_path / "out"), "--format", "hf"])
    assert list(tmp_path.iterdir()) == []


def test_kerashub_names_are_left_to_kerashub(monkeypatch, places):
    """A name or handle is passed on as it is; whether its head was ever trained is seen from the weights."""
    import keras_hub

    original = keras_hub.models.XLMRobertaMaskedLM.from_preset
    asked = []

    def from_preset(name, **options):
        asked.append(name)
        return original(str(places["preset"]), **options)

    monkeypatch.setattr(keras_hub.models.XLMRobertaMaskedLM, "from_preset", from_preset)
    monkeypatch.setattr(hub, "download", lambda *arguments: pytest.fail("no repository of Hugging Face"))
    for name in ("xlm_roberta_base_multi", "kaggle://keras/xlm_roberta/keras/xlm_roberta_base_multi/3"):
        model = load_pretrained(name)
        assert model.has_head and model.info is None
    assert asked == ["xlm_roberta_base_multi", "kaggle://keras/xlm_roberta/keras/xlm_roberta_base_multi/3"]
