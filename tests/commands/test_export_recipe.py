"""The command recipes/export_savedmodel.py, from a preset to exit code."""

import dataclasses
import json
import os
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.evaluation import evaluate_retrieval, read_pair_sets
from infoxlm_keras.evaluation.retrieval import accuracy_at
from infoxlm_keras.files import storage
from infoxlm_keras.finetuning.question_answering import save_question_answering
from infoxlm_keras.finetuning.token_classification import save_token_classification
from infoxlm_keras.models import QuestionAnswering, TokenClassification
from infoxlm_keras.pretrained import load_pretrained, save_pretrained
from repository import REPOSITORY
from running import refused, run
from sample_text import sentences
from tiny_export import LAYERS, POSITIONS, TEXTS, expected_vectors, tiny_classifier

# `test_by_itself` checks its export in a process that starts anew.
pytestmark = pytest.mark.usefixtures("forked_verification")

RECIPE = REPOSITORY / "recipes" / "export_savedmodel.py"


# Presets of the classifier of three outputs with these names of its classes.
LABELS = {
    "labelled": ["no", "maybe", "yes"],
    "two_labels": ["no", "yes"],
    "no_labels": {"no": 0},
    "same": ["a", "b", "a"],
}


@pytest.fixture(scope="module")
def places(tiny_preset, tiny_masked_lm, tokenizer, tmp_path_factory):
    """Paths by name: presets `encoder` and `classifier`, an `empty` directory, and a `file`."""
    directory = tmp_path_factory.mktemp("places")
    tiny_classifier(tiny_masked_lm.backbone, tokenizer).save_to_preset(str(directory / "classifier"))
    for name, labels in LABELS.items():
        shutil.copytree(directory / "classifier", directory / name)
        (directory / name / "labels.json").write_text(json.dumps(labels))
    save_question_answering(directory / "qa", QuestionAnswering(tiny_masked_lm.backbone), tokenizer)
    tagger = TokenClassification(tiny_masked_lm.backbone, 2)
    save_token_classification(directory / "tagging", tagger, tokenizer, ["O", "B-PER"])
    model = load_pretrained(tiny_preset)
    info = dataclasses.replace(model.info, normalize=False)
    save_pretrained(directory / "plain", model.masked_lm, model.tokenizer, info)
    (directory / "empty").mkdir()
    (directory / "file").write_text("text")
    return {"encoder": tiny_preset, **{path.name: path for path in directory.iterdir()}}


@pytest.fixture
def main(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # the command sets it; this undoes it after the test
    return runpy.run_path(str(RECIPE))["main"]


@pytest.mark.slow
def test_by_itself(places, tmp_path):
    """As a user runs it, where another backend is the default."""
    command = [sys.executable, RECIPE, "--model", places["encoder"], "--output_dir", tmp_path / "out"]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(
        [*command, "--layer", "2", "--pooling", "cls"], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 0, process.stderr
    output = process.stdout
    assert output.index("pooling ") < output.index("checked in a fresh process") < output.index("size on disk")
    assert "largest difference from Keras" in output
    assert output.endswith(f"wrote {tmp_path / 'out' / '1'}\n")
    signature = tf.saved_model.load(str(tmp_path / "out" / "1")).signatures["serving_default"]
    expected = expected_vectors(load_pretrained(places["encoder"]), TEXTS, layer=2, pooling="cls")
    np.testing.assert_allclose(signature(text=tf.constant(TEXTS))["embedding"], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "preset"), [("masked_lm", "encoder"), ("classifier", "classifier"), ("qa", "qa"), ("tagging", "tagging")]
)
def test_the_other_heads(main, head, preset, places, tmp_path, capsys):
    arguments = ["--model", places[preset], "--output_dir", tmp_path, "--head", head, "--max_length", 20]
    run(main, *arguments, "--model_version", 4)
    assert capsys.readouterr().out.endswith(f"wrote {tmp_path / '4'}\n")
    facts = json.loads((tmp_path / "4" / "assets.extra" / "infoxlm.json").read_text())
    assert (facts["head"], facts["max_length"]) == (head, 20)


@pytest.mark.slow
def test_the_names_of_classes_are_in_the_export(main, places, tmp_path, capsys):
    run(main, "--model", places["labelled"], "--output_dir", tmp_path / "out [x]", "--head", "classifier",
        "--model_name", "xnli", "--tokens_only")  # fmt: skip
    facts = json.loads((tmp_path / "out [x]" / "1" / "assets.extra" / "infoxlm.json").read_text())
    assert facts["labels"] == LABELS["labelled"]
    assert "['no', 'maybe', 'yes']" in capsys.readouterr().out
    run(main, "--model", places["classifier"], "--output_dir", tmp_path / "bare", "--head", "classifier")
    assert "holds no labels.json: the export gives probabilities without the classes' names" in capsys.readouterr().out
    facts = json.loads((tmp_path / "bare" / "1" / "assets.extra" / "infoxlm.json").read_text())
    assert "labels" not in facts


@pytest.mark.slow
@pytest.mark.parametrize(("head", "preset"), [("classifier", "labelled"), ("qa", "qa"), ("embedding", "plain")])
def test_a_model_in_a_store(main, head, preset, places, tmp_path, capsys):
    address = f"memory://models-{tmp_path.name}/{preset}"
    names = [path.relative_to(places[preset]).as_posix() for path in places[preset].rglob("*") if path.is_file()]
    storage.upload(address, places[preset], names)
    run(main, "--model", address, "--output_dir", tmp_path / "out", "--head", head)
    assert "holds no" not in capsys.readouterr().out
    facts = json.loads((tmp_path / "out/1/assets.extra/infoxlm.json").read_text())
    assert facts["head"] == head and facts.get("labels") == LABELS.get(preset) and not facts.get("normalize")


def test_the_scale_of_vectors_is_an_option(main, places, tmp_path):
    for arguments, expected in (([], False), (["--normalize", "True"], True), (["--vectors", "binary"], False)):
        run(main, "--model", places["plain"], "--output_dir", tmp_path / "out", *arguments)
        newest = max((tmp_path / "out").glob("*/assets.extra/infoxlm.json"))
        assert json.loads(newest.read_text())["normalize"] is expected


@pytest.mark.slow
def test_a_quantized_export_reports_what_retrieval_lost(main, places, tmp_path, capsys):
    lines = [f"{source}\t{target}" for source, target in zip(sentences("en", 25), sentences("de", 25), strict=True)]
    (tmp_path / "en-de.tsv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["--quantize", "int8", "--pairs", tmp_path / "en-de.tsv", "--max_pairs", 20, "--model_name", "small"]
    run(main, "--model", places["encoder"], "--output_dir", tmp_path / "out", *arguments)
    output = capsys.readouterr().out
    assert "retrieval accuracy lost" in output and "warm-up requests" in output
    facts = json.loads((tmp_path / "out" / "1" / "assets.extra" / "infoxlm.json").read_text())
    assert facts["storage"] == "int8"
    pair_sets = read_pair_sets([tmp_path / "en-de.tsv"], 20)
    assert len(pair_sets[0].sources) == 20
    model = load_pretrained(places["encoder"])
    expected = evaluate_retrieval(model.backbone, model.tokenizer, pair_sets, [1])
    accuracies = facts["retrieval_accuracy"]
    assert accuracies["keras"] == pytest.approx(accuracy_at(expected, 1)["average"])
    assert accuracies["export"] == pytest.approx(accuracies["keras"], abs=0.15)
    assert 'name: "small"' in (tmp_path / "out" / "models.config").read_text()


# Arguments, and what the message must name.
BAD_INPUT = [
    (["--layer", LAYERS + 1], [f"layer {LAYERS + 1}", f"0..{LAYERS}"]),
    (["--layer", -1], ["layer -1", f"0..{LAYERS}"]),
    (["--dimensions", 9], ["dimensions = 9", "give 1..8"]),
    (["--dimensions", 4, "--vectors", "binary"], ["4 dimensions do not fill bytes", "give dimensions = 8"]),
    (["--model", "{plain}", "--vectors", "int8"], ["vectors = 'int8'", "are not scaled; set normalize to true"]),
    (["--normalize", "false", "--vectors", "int8"], ["vectors = 'int8'", "are not scaled; set normalize to true"]),
    (["--head", "qa", "--normalize", "false"], ["--normalize False", "--head embedding", "leave it out"]),
    (["--head", "masked_lm", "--vectors", "int8"], ["--vectors int8", "--head embedding", "leave it out"]),
    (["--max_length", POSITIONS + 1], [f"max_length = {POSITIONS + 1}", f"{POSITIONS} positions", "at most"]),
    (["--max_length", 2], ["max_length = 2", "at least 3"]),
    (["--model_version", 0], ["version 0", "at least 1"]),
    (["--model", "{empty}/nothing"], ["{empty}/nothing", "no such directory"]),
    (["--model", "{empty}"], ["{empty}", "config.json"]),
    (["--model", "{file}"], ["{file}"]),
    (["--model", "no_such_preset"], ["no_such_preset"]),
    (["--head", "classifier"], ["{encoder}", "holds no classifier", "fine-tune"]),
    (
        ["--head", "masked_lm", "--model", "{classifier}"],
        ["{classifier}", "no trained masked-LM head", "infoxlm pretrain"],
    ),
    (["--head", "masked_lm", "--top_k", 0], ["top_k = 0", "1..251"]),
    (["--head", "qa"], ["{encoder}", "holds no question-answering model", "fine-tune"]),
    (["--head", "tagging"], ["{encoder}", "holds no token-classification model", "fine-tune"]),
    (["--head", "qa", "--model", "{qa}", "--max_answer", 0], ["max_answer = 0", "at least 1"]),
    (["--quantize", "int8", "--dtype", "float16"], ["--quantize int8 --dtype float16", "not both"]),
    (["--tokens_only", "--head", "masked_lm"], ["--tokens_only", "need strings"]),
    (["--model_name", "a b"], ["model name 'a b'", "letters"]),
    (["--head", "classifier", "--model", "{two_labels}"], ["{two_labels}/labels.json", "2 classes", "3 outputs"]),
    (["--head", "classifier", "--model", "{no_labels}"], ["{no_labels}/labels.json", "list of class names"]),
    (["--head", "classifier", "--model", "{same}"], ["{same}/labels.json", "twice"]),
    (["--pairs", "{file}"], ["{file}"]),
    (["--head", "classifier", "--layer", 1], ["--layer 1", "--head embedding", "leave it out"]),
    (["--output_dir", "{file}"], ["{file}", "another output directory"]),
    (["--output_dir", "{file}/out"], ["{file}", "where a directory is needed"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_INPUT, ids=[" ".join(map(str, case[0])) for case in BAD_INPUT])
def test_bad_input(main, arguments, words, places, tmp_path, capsys):
    given = [str(argument).format(**places) for argument in arguments]
    message = refused(capsys, main, "--model", places["encoder"], "--output_dir", tmp_path / "out", *given)
    for word in words:
        assert word.format(**places) in message
    assert list(tmp_path.iterdir()) == []
    assert places["file"].read_text() == "text"


def test_a_name_that_no_server_takes_is_refused_before_anything_heavy_loads(tmp_path):
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from infoxlm_keras.commands.export_savedmodel import main\n"
        "main(['--model', 'nowhere', '--output_dir', 'sm emb'])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "InputError: model name 'sm emb': must be letters" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_exists_is_kept(main, places, tmp_path, capsys):
    (tmp_path / "2").mkdir()
    arguments = ["--model", places["encoder"], "--output_dir", tmp_path, "--model_version", 2]
    assert "this version exists" in refused(capsys, main, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["2"]
