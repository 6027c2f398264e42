"""An export that answers wrongly is found; one that fails leaves nothing behind."""

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import EmbeddingModule, export_embedding, verification
from infoxlm_keras.serving.heads import embedding as embedding_module
from tiny_export import DIM, TEXTS

WRONG_ANSWERS = {
    "differs from the Keras model by": lambda vectors: vectors + 2e-5 * np.eye(len(vectors), DIM),
    "is not finite": lambda vectors: np.where(vectors > 0, vectors, np.nan),
    rf"or \({len(TEXTS) - 1}, {DIM}\) for \({len(TEXTS)}, {DIM}\)": lambda vectors: vectors[1:],
}


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.fixture
def answer_with(model, monkeypatch):
    """Makes a module whose fresh process answers `tokens` with a function of the right vectors."""

    def patch(change):
        module = EmbeddingModule(model)

        def answers(directory, requests):
            vectors = module.predict(**requests["tokens"])["embedding"].numpy()
            return {"serving_default/embedding": vectors, "tokens/embedding": change(vectors)}

        monkeypatch.setattr(verification, "run_in_fresh_process", answers)
        return module

    return patch


@pytest.mark.parametrize("message", WRONG_ANSWERS)
def test_a_wrong_answer_is_found(answer_with, message):
    module = answer_with(WRONG_ANSWERS[message])
    with pytest.raises(RuntimeError, match=f"serving/1: tokens/embedding .*{message}"):
        verification.verify_export(module, "serving/1", TEXTS)


def test_the_largest_difference_is_reported(answer_with):
    module = answer_with(lambda vectors: vectors - np.eye(len(vectors), DIM) * 4e-6)
    assert verification.verify_export(module, "serving/1", TEXTS) == pytest.approx(4e-6, rel=0.05)


@pytest.mark.parametrize(("error", "accepted"), [(3e-6, True), (1e-4, False)])
def test_outputs_above_1_are_compared_relative_to_their_size(model, monkeypatch, error, accepted):
    module = EmbeddingModule(model)
    outputs = {"tokens": {"score": tf.constant([[128.0, -128.0, 0.0]])}}
    monkeypatch.setattr(module, "answers", lambda *arguments: outputs)
    answer = {"tokens/score": outputs["tokens"]["score"].numpy() * np.float32(1 + error)}
    monkeypatch.setattr(verification, "run_in_fresh_process", lambda *arguments: answer)
    if accepted:
        assert verification.verify_export(module, "serving/1", TEXTS) > 1e-5
    else:
        with pytest.raises(RuntimeError, match="tokens/score differs from the Keras model by"):
            verification.verify_export(module, "serving/1", TEXTS)


def test_vectors_that_both_sides_fail_to_normalise_are_found(answer_with, monkeypatch):
    monkeypatch.setattr(embedding_module, "l2_normalize", lambda vectors: vectors * 1.01)
    with pytest.raises(RuntimeError, match="away from unit length"):
        verification.verify_export(answer_with(lambda vectors: vectors), "serving/1", TEXTS)


def test_a_fresh_process_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="cannot be loaded and run in a fresh process:(.|\n)*SavedModel"):
        verification.run_in_fresh_process(tmp_path, {"serving_default": {"text": [b"text"]}})


@pytest.mark.parametrize("failure", [RuntimeError("answers wrongly"), KeyboardInterrupt()])
def test_a_failed_check_leaves_nothing(model, tmp_path, monkeypatch, failure):
    def fail(module, directory):
        raise failure

    monkeypatch.setattr("infoxlm_keras.serving.export.verify_export", fail)
    with pytest.raises(type(failure)):
        export_embedding(model, tmp_path / "serving", layer=0)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_os_error_that_commands_report(model, tmp_path, monkeypatch):
    def fail(module, path, signatures):
        raise tf.errors.ResourceExhaustedError(None, None, f"{path}/saved_model.pb; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left on device"):
        export_embedding(model, tmp_path / "serving", verify=False)
    assert list(tmp_path.iterdir()) == []
