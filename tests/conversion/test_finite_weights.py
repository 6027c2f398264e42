"""A model with a weight that is NaN or infinite is refused when it is loaded, with the name of the weight."""

import shutil

import h5py
import numpy as np
import pytest
import safetensors.numpy

from infoxlm_keras.commands import convert_checkpoint
from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning.question_answering import load_question_answering, save_question_answering
from infoxlm_keras.models.question_answering import QuestionAnswering
from infoxlm_keras.pretrained import load_pretrained
from tiny_huggingface import write_checkpoint

TENSORS = [
    "roberta.embeddings.word_embeddings.weight",
    "roberta.embeddings.position_embeddings.weight",
    "roberta.embeddings.token_type_embeddings.weight",
    "roberta.encoder.layer.1.attention.self.query.weight",
    "lm_head.layer_norm.bias",
]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_of_a_checkpoint_is_named(name, value, tokenizer, tmp_path):
    write_checkpoint(tmp_path / "model", tokenizer)
    path = tmp_path / "model/model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors[name][(-1,) * tensors[name].ndim] = value
    safetensors.numpy.save_file(tensors, path, {"format": "pt"})
    with pytest.raises(InputError, match="model.safetensors: .* not finite") as raised:
        load_pretrained(tmp_path / "model")
    assert f": {name} holds" in str(raised.value)
    with pytest.raises(InputError, match="not finite"):
        convert_checkpoint.main(["--from", str(tmp_path / "model"), "--to", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def broken(preset, directory, file, part=""):
    """A copy of `preset` in which one value of one dataset below `part` of `file` is NaN."""
    shutil.copytree(preset, directory)
    with h5py.File(directory / file, "r+") as weights:
        found = []
        weights.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
        found = [item for item in found if item.dtype == np.float32 and part in item.name]
        found[-1][(0,) * found[-1].ndim] = np.nan
    return directory


@pytest.mark.parametrize(("file", "part"), [("model.weights.h5", ""), ("task.weights.h5", "masked_lm_head")])
def test_a_weight_of_a_preset_is_named(file, part, tiny_preset, tmp_path):
    directory = broken(tiny_preset, tmp_path / "model", file, part)
    with pytest.raises(InputError, match=r"model: [\w/]+ holds values that are not finite"):
        load_pretrained(directory)


def test_a_weight_of_a_fine_tuned_head_is_named(tiny_masked_lm, tokenizer, tmp_path):
    model = QuestionAnswering(tiny_masked_lm.backbone)
    save_question_answering(tmp_path / "good", model, tokenizer)
    load_question_answering(tmp_path / "good")
    directory = broken(tmp_path / "good", tmp_path / "bad", "task.weights.h5", "dense")
    with pytest.raises(InputError, match=r"bad: [\w/]+ holds values that are not finite"):
        load_question_answering(directory)


def test_encode_refuses_vectors_that_are_not_finite(tiny_preset):
    model = load_pretrained(tiny_preset)
    norm = model.backbone.embeddings_layer_norm.gamma
    assert np.isfinite(model.encode(["a", "b"])).all()
    norm.assign(np.full(norm.shape, np.nan, np.float32))
    for texts in ("a", ["a", "b"]):
        with pytest.raises(InputError, match="the vector of text 0 .* is not finite"):
            model.encode(texts)
