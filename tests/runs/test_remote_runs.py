"""Records, runs, models, evaluations, exports and indexes in a bucket are those on a disk, bit for bit."""

import json

import fsspec
import numpy as np
import pytest

import object_stores
from infoxlm_keras.commands import (
    build_monolingual,
    convert_checkpoint,
    evaluate_retrieval,
    export_savedmodel,
    finetune_classification,
    inspect_records,
    pretrain,
    search,
)
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import object_ranges, staging, storage
from infoxlm_keras.finetuning import load_text_classifier
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.runs.callbacks import StopOnSignal
from infoxlm_keras.runs.checkpoint_files import STATE_FILE, checkpoints, damage, newest_step
from infoxlm_keras.runs.dataset import training_dataset
from infoxlm_keras.runs.directory import RunDirectory
from object_stores import objects, put
from quick_runs import quick_graphs
from running import refused, run, tree
from sample_text import sentences
from tiny_run import history, weights

# One task is enough where only files matter: the step compiles faster.
TASKS = ("--tasks", "tlm", "--set", "model.num_layers=1")


@pytest.fixture(scope="module", autouse=True)
def graphs():
    with quick_graphs():
        yield


class Killed(BaseException):
    """Ends a process between two uploads."""


@pytest.fixture(scope="module")
def bucket():
    with object_stores.s3() as address:
        yield address


@pytest.fixture(scope="module")
def google_bucket():
    with object_stores.gcs() as address:
        yield address


@pytest.fixture(scope="module", autouse=True)
def staging_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staging")
    with object_stores.settings(INFOXLM_STAGING=str(folder)):
        yield folder


@pytest.fixture(scope="module")
def remote_data(inputs, bucket):
    """The address of the records and of all else that a run takes."""
    put(f"{bucket}/inputs", inputs)
    return f"{bucket}/inputs"


@pytest.fixture(scope="module")
def local_run(inputs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "local"
    options = ["--config", inputs / "config.yaml", "--data_dir", inputs / "data", "--output_dir", directory]
    run(pretrain.main, *options, *TASKS)
    return directory


def test_records_built_from_a_bucket_into_a_bucket(inputs, remote_data, bucket, tokenizer_dir):
    put(f"{bucket}/tokenizer", tokenizer_dir)
    options = ["--output_dir", f"{bucket}/data", "--processes", 1, "--sequence_length", 32]
    options += ["--input", f"{remote_data}/text", "--tokenizer", f"{bucket}/tokenizer"]
    run(build_monolingual.main, *options)
    assert objects(f"{bucket}/data/mmlm") == tree(inputs / "data/mmlm")
    assert not any(folder.name == "data" for folder in staging.staging_directory().rglob("*"))


def test_a_built_folder_is_replaced_only_if_asked(remote_data, bucket, tokenizer_dir, capsys):
    options = ["--input", f"{remote_data}/text", "--tokenizer", tokenizer_dir, "--processes", 1]
    options += ["--output_dir", f"{bucket}/data", "--sequence_length", 16]
    before = objects(f"{bucket}/data")
    assert f"{bucket}/data/mmlm: is not empty" in refused(capsys, build_monolingual.main, *options)
    assert objects(f"{bucket}/data") == before
    run(build_monolingual.main, *options, "--overwrite")
    assert json.loads(objects(f"{bucket}/data")["mmlm/manifest.json"])["sequence_length"] == 16


def test_batches_are_those_of_the_disk(inputs, remote_data, monkeypatch):
    monkeypatch.setattr(object_ranges, "RANGE_BYTES", 5000)

    def batches(data_dir):
        dataset = training_dataset(data_dir, inputs / "config.yaml", start_step=5)
        return [batch for (batch,) in dataset.take(12).as_numpy_iterator()]

    def equal(one, other):
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
        return np.array_equal(one, other)

    found, expected = batches(f"{remote_data}/data"), batches(inputs / "data")
    assert all(equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_save_and_loses_its_connection(
    remote_data, google_bucket, local_run, monkeypatch, capsys, tmp_path
):
    output = f"{google_bucket}/runs/killed"
    arguments = ["--config", f"{remote_data}/config.yaml", "--data_dir", f"{remote_data}/data"]
    arguments += ["--output_dir", output, *TASKS]
    upload = storage.upload

    def killed(address, local, names):
        if any("step-00000006/checkpoint.json" in name for name in names):
            raise Killed
        upload(address, local, names)

    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(storage, "upload", killed)
        pretrain.main(arguments)
    there = objects(output)
    assert "checkpoints/step-00000006/state.safetensors" in there
    assert "checkpoints/step-00000006/checkpoint.json" not in there
    assert "checkpoints/step-00000003/checkpoint.json" in there
    # Another machine, which has no local copy, and does not reach the store when it saves.
    kind = fsspec.get_filesystem_class("gs")
    put_file = kind.put_file

    def lost(self, local, address, **options):
        if "step-00000006" in address:
            raise ConnectionResetError("Connection reset by peer")
        return put_file(self, local, address, **options)

    with object_stores.settings(INFOXLM_STAGING=str(tmp_path / "other")):
        with monkeypatch.context() as context:
            context.setattr(kind, "put_file", lost)
            capsys.readouterr()
            with pytest.raises(InputError) as error:
                pretrain.main(arguments)
        assert "cannot be reached (Connection reset by peer)" in str(error.value)
        assert "the store's last complete checkpoint is intact" in str(error.value)
        printed = capsys.readouterr().out
        assert f"{output}/checkpoints/step-00000006: its upload was cut short" in printed
        assert "resuming at step 3 of 8" in printed
        # Its local copy has the checkpoint that the store lacks.
        run(pretrain.main, *arguments)
        printed = capsys.readouterr().out
        assert "resuming at step 6 of 8" in printed and f"preset: {output}/model" in printed
        assert not any(path.is_file() for path in (tmp_path / "other" / "outputs").rglob("[!.]*"))
    same_as_on_disk(output, local_run, tmp_path / "copy")
    # The machine that was killed finds the bucket changed, and takes what is there.
    before = objects(output)
    with RunDirectory.opened(output) as directory:
        assert newest_step(directory.checkpoints) == 8
    assert objects(output) == before
    # A process that only reads has a copy of its own, with the states that it asks for, and changes nothing.
    monkeypatch.setattr("infoxlm_keras.runs.directory.is_chief", lambda: False)
    with RunDirectory.opened(output) as directory:
        newest = checkpoints(directory.checkpoints)[-1]
        assert (newest / STATE_FILE).stat().st_size == 0 and damage(newest) is None
        (directory.path / "of this process").write_text("x")
        (directory.path / "history.csv").unlink()
        directory.refresh()
        assert (directory.path / "history.csv").read_bytes() == before["history.csv"]
        assert newest_step(directory.checkpoints) == 8 and damage(newest) is None
    assert objects(output) == before and not directory.path.exists()


def same_as_on_disk(address, local_run, copy):
    there = objects(address)
    for name, content in there.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    for one, other in zip(weights(copy), weights(local_run), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history(copy) == history(local_run)
    names = [name for name in tree(local_run) if not name.startswith((".", "tensorboard"))]
    assert sorted(names) == sorted(name for name in there if not name.startswith("tensorboard"))
    assert any(name.startswith("tensorboard/") for name in there)
    state = "checkpoints/step-00000008/state.safetensors"
    assert there[state] == (local_run / state).read_bytes()


@pytest.mark.slow
def test_models_in_a_bucket_are_loaded_evaluated_exported_and_searched(
    inputs, remote_data, bucket, local_run, tmp_path, capsys
):
    put(f"{bucket}/preset", local_run / "model")
    remote, local = load_pretrained(f"{bucket}/preset"), load_pretrained(local_run / "model")
    for one, other in zip(remote.masked_lm.get_weights(), local.masked_lm.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    options = ["--layer", "1"]
    run(evaluate_retrieval.main, "--model", f"{bucket}/preset", "--pairs", f"en-de={remote_data}/heldout/en-de.tsv",
        "--output", f"{bucket}/results/one.json", "--plots", f"{bucket}/results/plots", *options)  # fmt: skip
    run(evaluate_retrieval.main, "--model", local_run / "model", "--pairs", inputs / "heldout",
        "--output", tmp_path / "one.json", *options)  # fmt: skip
    there = objects(f"{bucket}/results")
    assert any(name.startswith("plots/") for name in there)
    remote, local = json.loads(there["one.json"]), json.loads((tmp_path / "one.json").read_text())
    assert remote["model"].pop("source") == f"{bucket}/preset" and local["model"].pop("source")
    assert remote == local
    run(convert_checkpoint.main, "--from", f"{bucket}/preset", "--to", f"{bucket}/hf", "--format", "hf")
    run(convert_checkpoint.main, "--from", local_run / "model", "--to", tmp_path / "hf", "--format", "hf")
    there, here = objects(f"{bucket}/hf"), tree(tmp_path / "hf")
    assert there.keys() == here.keys() and there["model.safetensors"] == here["model.safetensors"]
    run(export_savedmodel.main, "--model", f"{bucket}/preset", "--output_dir", f"{bucket}/served")
    assert "1/saved_model.pb" in objects(f"{bucket}/served")
    run(search.main, "index", "--model", f"{bucket}/served", "--input", f"{remote_data}/text/de.txt",
        "--output_dir", f"{bucket}/index")  # fmt: skip
    facts = json.loads(objects(f"{bucket}/index")["index.json"])
    assert facts["model"] == f"{bucket}/served/1" and facts["source"] == f"{remote_data}/text/de.txt"
    sentence = (inputs / "text/de.txt").read_text().splitlines()[3]
    run(search.main, "query", "--index", f"{bucket}/index", "--text", sentence, "--top_k", 1,
        "--output", f"{bucket}/found.json")  # fmt: skip
    found = json.loads(storage.read_bytes(f"{bucket}/found.json"))
    assert found["index"] == f"{bucket}/index" and found["results"][0]["hits"][0]["sentence"] == sentence


def test_records_in_google_storage_are_inspected(inputs, google_bucket, tmp_path):
    put(f"{google_bucket}/inputs/data", inputs / "data")
    run(inspect_records.main, f"{google_bucket}/inputs/data", "--output_dir", f"{google_bucket}/seen")
    run(inspect_records.main, inputs / "data", "--output_dir", tmp_path / "seen")
    there, here = objects(f"{google_bucket}/seen"), tree(tmp_path / "seen")
    assert there.keys() == here.keys() and there["inspection.json"] == here["inspection.json"]


def test_fine_tuning_into_a_bucket_goes_on_from_there_on_another_machine(
    tiny_preset, bucket, tmp_path, monkeypatch, capsys
):
    rows = [f"{'ab'[number % 2]}\t{text}" for number, text in enumerate(sentences("en", 8))]
    for name in ("train", "test"):
        (tmp_path / f"{name}.en.tsv").write_text("\n".join(["label\ttext", *rows]) + "\n")
    command = ["--model", tiny_preset, "--train", tmp_path / "train.en.tsv", "--test", tmp_path / "test.en.tsv"]
    command += ["--epochs", 2, "--batch_size", 4, "--max_length", 16, "--no-jit_compile", "--save_every", 1]
    run(finetune_classification.main, *command, "--output_dir", tmp_path / "local")

    def killed(callback):
        if callback.step == 2:
            raise Killed

    address = f"{bucket}/finetuned"
    with monkeypatch.context() as patch, object_stores.settings(INFOXLM_STAGING=str(tmp_path / "one")):
        patch.setattr(StopOnSignal, "after_step", killed)  # after the checkpoint
        with pytest.raises(Killed):
            finetune_classification.main([str(option) for option in [*command, "--output_dir", address]])
    assert any("checkpoints/step-00000002" in name for name in objects(address))
    with object_stores.settings(INFOXLM_STAGING=str(tmp_path / "two")):
        capsys.readouterr()
        run(finetune_classification.main, *command, "--output_dir", address)
    assert "resuming at update" in capsys.readouterr().out
    there = objects(address)
    assert "results.json" in there and "model/task.weights.h5" in there
    local, remote = (
        load_text_classifier(path).model.get_weights()
        for path in (tmp_path / "local/model", staging.local_copy(f"{address}/model"))
    )
    assert all(np.array_equal(one, other) for one, other in zip(local, remote, strict=True))
    assert not [name for name in there if "checkpoints" in name]
