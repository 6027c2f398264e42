"""A random XLM-R model, written to disk by transformers, and its answers."""

import json
import os

# No test may look for a hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np

LAYERS, DIM, HEADS, INTERMEDIATE, POSITIONS = 3, 16, 2, 32, 64


def huggingface_model(vocabulary_size, architecture="XLMRobertaForMaskedLM", seed=0, **settings):
    """A model of transformers whose every parameter, norms and unused rows too, is random.

    `settings` override those of the configuration.
    """
    import torch
    import transformers

    config = transformers.XLMRobertaConfig(
        **{
            "vocab_size": vocabulary_size,
            "hidden_size": DIM,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": INTERMEDIATE,
            "max_position_embeddings": POSITIONS + 2,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
            **settings,
        }
    )
    model = getattr(transformers, architecture)(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model


def write_checkpoint(directory, tokenizer, model=None, **save_options):
    """Writes `model` (None: a random masked LM) as transformers does, and the SentencePiece file; gives the model."""
    model = huggingface_model(tokenizer.vocabulary_size) if model is None else model
    model.save_pretrained(directory, **save_options)
    (directory / "sentencepiece.bpe.model").write_bytes(tokenizer.proto)
    return model


def random_ids(vocabulary_size, lengths=(5, 12, 9), seed=0):
    """NumPy int64 (token_ids, attention_mask) of right-padded random sequences."""
    generator = np.random.default_rng(seed)
    token_ids = generator.integers(4, vocabulary_size - 1, (len(lengths), max(lengths)))
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return np.where(mask, token_ids, 1), mask.astype(np.int64)


def huggingface_logits(model, token_ids, mask):
    """float32 [batch, length, vocabulary] of transformers' masked LM."""
    import torch

    with torch.no_grad():
        return model(torch.tensor(token_ids), attention_mask=torch.tensor(mask)).logits.numpy()


def our_logits(masked_lm, token_ids, mask):
    """The same of an `XLMRobertaMaskedLM`, at every position."""
    positions = np.broadcast_to(np.arange(token_ids.shape[1]), token_ids.shape)
    inputs = {"token_ids": token_ids, "padding_mask": mask, "mask_positions": positions}
    return np.asarray(masked_lm({name: value.astype("int32") for name, value in inputs.items()}))


def set_config(directory, **changes):
    """Overwrites keys of `directory`/config.json; a value of `...` removes the key."""
    path = directory / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
