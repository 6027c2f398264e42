"""Presets of KerasHub's text embedder without this project's history: the vectors that KerasHub gives."""

import keras_hub
import numpy as np
import pytest
from keras import ops

from infoxlm_keras.exporting.to_keras_hub import write_embedder_preset
from infoxlm_keras.models.sentence_vector import SentenceVector
from infoxlm_keras.pretrained import PretrainedModel, load_pretrained
from sample_text import sentences

TEXTS = sentences("en", 6)


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False)])
@pytest.mark.parametrize("ours", [True, False])
def test_vectors_are_those_of_the_embedder(pooling, normalize, ours, tiny_masked_lm, tokenizer, tmp_path):
    model = PretrainedModel(tiny_masked_lm, tokenizer, None)
    vector = SentenceVector(layer=2, pooling=pooling, normalize=normalize, max_length=16)
    (tmp_path / "embedder").mkdir()
    write_embedder_preset(tmp_path / "embedder", model, vector)
    if not ours:
        (tmp_path / "embedder" / "infoxlm.json").unlink()
    embedder = keras_hub.models.TextEmbedder.from_preset(str(tmp_path / "embedder"))
    embedder.jit_compile = False  # TensorFlow's build for TPUs cannot compile for the CPU
    expected = ops.convert_to_numpy(embedder.predict(TEXTS, verbose=0))
    again = load_pretrained(tmp_path / "embedder")
    assert (again.info.pooling, again.info.normalize, again.info.max_length) == (pooling, normalize, 16)
    np.testing.assert_allclose(again.encode(TEXTS), expected, rtol=0, atol=1e-5)
