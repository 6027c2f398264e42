"""A preset that JAX or PyTorch wrote becomes a SavedModel under TensorFlow with the same vectors."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.serving import export_embedding
from repository import REPOSITORY
from tiny_export import TEXTS, padded_ids

# In that process: random weights, a preset of them, and the vectors of that backend.
WRITER = """
import sys
import numpy as np
from keras import ops
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.models import EncoderSize, build_masked_lm, hidden_state_model, l2_normalize, pool
from infoxlm_keras.pretrained import PretrainingInfo, save_pretrained

tokenizer = load_tokenizer(sys.argv[1])
size = EncoderSize(num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=64)
masked_lm = build_masked_lm(size, tokenizer.vocabulary_size)
generator = np.random.default_rng(7)
masked_lm.set_weights([generator.normal(0, 0.5, weight.shape) for weight in masked_lm.weights])
save_pretrained(sys.argv[2] + "/preset", masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
inputs = dict(np.load(sys.argv[2] + "/inputs.npz"))
state = hidden_state_model(masked_lm.backbone, 1)(inputs, training=False)
vectors = l2_normalize(pool(state, ops.convert_to_tensor(inputs["padding_mask"]), "mean"))
np.save(sys.argv[2] + "/vectors.npy", ops.convert_to_numpy(vectors))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_vectors_equal_those_of_the_backend_that_wrote_the_preset(backend, tokenizer, tokenizer_dir, tmp_path):
    token_ids, padding_mask = padded_ids(tokenizer, TEXTS)
    np.savez(tmp_path / "inputs.npz", token_ids=token_ids, padding_mask=padding_mask)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", WRITER, str(tokenizer_dir), str(tmp_path)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    directory = export_embedding(load_pretrained(tmp_path / "preset"), tmp_path / "serving", verify=False).directory
    loaded = tf.saved_model.load(str(directory))
    vectors = loaded.signatures["serving_default"](text=tf.constant(TEXTS))["embedding"]
    np.testing.assert_allclose(vectors, np.load(tmp_path / "vectors.npy"), rtol=0, atol=1e-5)
