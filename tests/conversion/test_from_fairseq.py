"""From fairseq's tensors to ours: the same model as in Hugging Face's files, under other names."""

import argparse
import shlex
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from infoxlm_keras.conversion.fairseq_checkpoint import fairseq_command
from infoxlm_keras.conversion.huggingface_checkpoint import pickle_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained import load_pretrained
from repository import REPOSITORY
from tiny_huggingface import HEADS, huggingface_logits, huggingface_model, our_logits, random_ids

# transformers' module and fairseq's, in a layer.
LAYER = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}


@pytest.fixture(scope="module")
def model(tokenizer):
    """transformers' model; fairseq has no token types, so they are zero."""
    import torch

    model = huggingface_model(tokenizer.vocabulary_size)
    with torch.no_grad():
        model.roberta.embeddings.token_type_embeddings.weight.zero_()
    return model


def fairseq_tensors(model, encoder="decoder", norm="emb_layer_norm", joined=True):
    """dict of name to NumPy array, as older (`decoder`, joined projections) or newer fairseq saves it."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        name = name.removeprefix("roberta.")
        if name.startswith("encoder.layer."):
            _, _, number, rest = name.split(".", 3)
            module, _, kind = rest.rpartition(".")
            name = f"sentence_encoder.layers.{number}.{LAYER[module]}.{kind}"
        elif name.startswith("embeddings."):
            name = name.replace("embeddings.word_embeddings", "sentence_encoder.embed_tokens")
            name = name.replace("embeddings.position_embeddings", "sentence_encoder.embed_positions")
            name = name.replace("embeddings.LayerNorm", f"sentence_encoder.{norm}")
        if name in ("embeddings.token_type_embeddings.weight", "lm_head.decoder.bias"):
            continue
        tensors[f"{encoder}.{name.replace('lm_head.decoder.weight', 'lm_head.weight')}"] = tensor.numpy().copy()
    if joined:
        for name in [name for name in tensors if ".q_proj." in name]:
            parts = [tensors.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
            tensors[name.replace("q_proj.", "in_proj_")] = np.concatenate(parts)
    tensors[f"{encoder}.sentence_encoder.version"] = np.ones(1, np.float32)
    return tensors


def write(directory, tensors, tokenizer, heads=HEADS):
    metadata = {} if heads is None else {"encoder_attention_heads": str(heads)}
    safetensors.numpy.save_file(tensors, directory / "model.safetensors", metadata)
    (directory / "sentencepiece.bpe.model").write_bytes(tokenizer.proto)


def dictionary(tokenizer):
    pieces = [tokenizer.processor.id_to_piece(number) for number in range(3, tokenizer.vocabulary_size - 2)]
    return [f"{piece} {100 - number}" for number, piece in enumerate(pieces)]


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"joined": False},
        {"encoder": "encoder", "norm": "layernorm_embedding", "joined": False},
    ],
)
def test_logits_equal_transformers(layout, model, tokenizer, tmp_path):
    write(tmp_path, fairseq_tensors(model, **layout), tokenizer)
    (tmp_path / "dict.txt").write_text("\n".join(dictionary(tokenizer)) + "\n")
    loaded = load_pretrained(tmp_path)
    assert loaded.has_head and loaded.info is None
    token_ids, mask = random_ids(tokenizer.vocabulary_size)
    used = mask.astype(bool)
    expected = huggingface_logits(model, token_ids, mask)
    np.testing.assert_allclose(our_logits(loaded.masked_lm, token_ids, mask)[used], expected[used], rtol=0, atol=1e-5)


def test_the_command_for_model_pt_does_what_it_says(model, tokenizer, tmp_path):
    """fairseq pickles its arguments beside the weights; run as the message gives it, the command makes our file."""
    import torch

    tensors = {name: torch.tensor(tensor) for name, tensor in fairseq_tensors(model).items()}
    arguments = argparse.Namespace(encoder_attention_heads=HEADS, arch="roberta_base")
    torch.save({"args": arguments, "model": tensors}, tmp_path / "model.pt")
    (tmp_path / "sentencepiece.bpe.model").write_bytes(tokenizer.proto)
    with pytest.raises(InputError, match=r"pickled weights only \(model.pt\)") as error:
        load_pretrained(tmp_path)
    assert "\n" not in str(error.value)
    program = shlex.split(str(error.value).partition("&& ")[2])
    subprocess.run([sys.executable, *program[1:]], cwd=tmp_path, check=True)
    loaded = load_pretrained(tmp_path)
    np.testing.assert_array_equal(
        loaded.backbone.token_embedding.embeddings, model.get_input_embeddings().weight.detach().numpy()
    )


def test_the_page_gives_the_commands_that_the_messages_give():
    page = (REPOSITORY / "docs" / "conversion.md").read_text()
    assert f"\n{fairseq_command()}\n" in page
    assert f"\n{pickle_command('pytorch_model*.bin', 'pytorch_model.bin')}\n" in page


def _swapped(tokenizer):
    lines = dictionary(tokenizer)
    return [lines[1], lines[0], *lines[2:]]


REFUSED = {
    "no heads": (lambda tensors: {}, None, None, ["encoder_attention_heads", "found ''", "python -c"]),
    "wrong heads": (lambda tensors: {}, 3, None, ["encoder_attention_heads", "found '3'"]),
    "no positions": (
        lambda tensors: tensors.pop("decoder.sentence_encoder.embed_positions.weight"),
        HEADS,
        None,
        ["embeddings.position_embeddings.weight", "no complete"],
    ),
    "another norm": (
        lambda tensors: tensors.update({"decoder.sentence_encoder.layer_norm.weight": np.ones(16, np.float32)}),
        HEADS,
        None,
        ["sentence_encoder.layer_norm.weight", "not compute the same"],
    ),
    "a cut projection": (
        lambda tensors: tensors.update(
            {"decoder.sentence_encoder.layers.0.self_attn.in_proj_bias": np.ones(32, np.float32)}
        ),
        HEADS,
        None,
        ["in_proj_bias", "(10,)", "(16,)"],
    ),
    "another order": (lambda tensors: {}, HEADS, _swapped, ["dict.txt:1:", "SentencePiece"]),
    "a shorter dictionary": (
        lambda tensors: {},
        HEADS,
        lambda tokenizer: dictionary(tokenizer)[:-1],
        ["dict.txt: has 250 entries", "251 pieces"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, model, tokenizer, tmp_path):
    damage, heads, lines, words = REFUSED[case]
    tensors = fairseq_tensors(model)
    damage(tensors)
    write(tmp_path, tensors, tokenizer, heads)
    if lines is not None:
        (tmp_path / "dict.txt").write_text("\n".join(lines(tokenizer)) + "\n")
    with pytest.raises(InputError) as error:
        load_pretrained(tmp_path)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)
