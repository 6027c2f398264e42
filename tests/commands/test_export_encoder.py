"""infoxlm export-onnx and infoxlm export-litert, from a preset to exit code."""

import json
import runpy

import numpy as np
import pytest

from infoxlm_keras.evaluation import evaluate_retrieval, read_pair_sets
from infoxlm_keras.evaluation.retrieval import accuracy_at
from infoxlm_keras.exporting.to_litert import litert_embedder
from infoxlm_keras.exporting.to_onnx import onnx_embedder
from infoxlm_keras.pretrained import load_pretrained
from repository import REPOSITORY
from running import refused, run
from sample_text import sentences
from tiny_export import LAYERS, POSITIONS, TEXTS, expected_vectors, padded_ids

# Recipe -> model file, file of facts, and what opens the model file.
FORMATS = {
    "export_onnx": ("onnx/model.onnx", "onnx/infoxlm.json", onnx_embedder),
    "export_litert": ("model.tflite", "infoxlm.json", litert_embedder),
}


@pytest.fixture(params=FORMATS)
def command(request, monkeypatch):
    """(main of the recipe, model file, file of facts, what opens the model file)."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # the command sets it; this undoes it after the test
    main = runpy.run_path(str(REPOSITORY / "recipes" / f"{request.param}.py"))["main"]
    return main, *FORMATS[request.param]


def test_from_preset_to_vectors(command, tiny_preset, tmp_path, capsys):
    main, model_file, facts_file, open_embedder = command
    arguments = ["--model", tiny_preset, "--output_dir", tmp_path / "out", "--layer", 2, "--pooling", "cls"]
    run(main, *arguments, "--dimensions", 4, "--max_length", 20)
    output = capsys.readouterr().out
    assert "largest difference from Keras" in output and output.endswith(f"wrote {tmp_path / 'out'}\n")
    model = load_pretrained(tiny_preset)
    vectors = open_embedder(tmp_path / "out" / model_file)(*padded_ids(model.tokenizer, TEXTS[:-1]))
    expected = expected_vectors(model, TEXTS[:-1], 2, "cls", normalize=False)[:, :4]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)
    facts = json.loads((tmp_path / "out" / facts_file).read_text())
    assert (facts["layer"], facts["dim"], facts["max_length"]) == (2, 4, 20)
    assert "is not empty" in refused(capsys, main, *arguments)
    run(main, *arguments, "--overwrite")
    assert json.loads((tmp_path / "out" / facts_file).read_text())["dim"] == 8


def test_the_scale_of_vectors_is_an_option(command, tiny_preset, tmp_path):
    main, model_file, facts_file, open_embedder = command
    run(main, "--model", tiny_preset, "--output_dir", tmp_path / "out", "--normalize", "false")
    model = load_pretrained(tiny_preset)
    vectors = open_embedder(tmp_path / "out" / model_file)(*padded_ids(model.tokenizer, TEXTS))
    np.testing.assert_allclose(vectors, expected_vectors(model, TEXTS, 1, "mean", False), rtol=1e-5, atol=1e-5)
    assert json.loads((tmp_path / "out" / facts_file).read_text())["normalize"] is False


def test_what_retrieval_lost(command, tiny_preset, tmp_path, capsys):
    main, _, facts_file, _ = command
    lines = [f"{source}\t{target}" for source, target in zip(sentences("en", 25), sentences("de", 25), strict=True)]
    (tmp_path / "en-de.tsv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["--precision", "int8", "--pairs", tmp_path / "en-de.tsv", "--max_pairs", 20]
    run(main, "--model", tiny_preset, "--output_dir", tmp_path / "out", *arguments)
    assert "retrieval accuracy lost" in capsys.readouterr().out
    model = load_pretrained(tiny_preset)
    expected = evaluate_retrieval(model.backbone, model.tokenizer, read_pair_sets([tmp_path / "en-de.tsv"], 20), [1])
    accuracies = json.loads((tmp_path / "out" / facts_file).read_text())["retrieval_accuracy"]
    assert accuracies["keras"] == pytest.approx(accuracy_at(expected, 1)["average"])
    assert accuracies["export"] == pytest.approx(accuracies["keras"], abs=0.15)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layer", LAYERS + 1], [f"layer {LAYERS + 1}"]),
        (["--dimensions", 9], ["dimensions = 9", "give 1..8"]),
        (["--max_length", POSITIONS + 1], [f"max_length = {POSITIONS + 1}", f"3..{POSITIONS}"]),
        (["--model", "nothing/here"], ["nothing/here"]),
        (["--pairs", "nothing.tsv"], ["nothing.tsv"]),
    ],
)
def test_bad_input(command, tiny_preset, arguments, words, tmp_path, capsys):
    message = refused(capsys, command[0], "--model", tiny_preset, "--output_dir", tmp_path / "out", *arguments)
    for word in words:
        assert word in message
    assert list(tmp_path.iterdir()) == []
