"""Reads a fairseq checkpoint, converted to safetensors, under Hugging Face's names.

`model.pt` is a pickle, so we do not open it. `fairseq_command` converts it to `model.safetensors` with PyTorch's
weights-only reader, which runs no code. It also stores the number of attention heads, which cannot be derived from the
tensors' shapes. The directory must hold `sentencepiece.bpe.model`; if it holds `dict.txt`, we check the order of its
entries.

Older fairseq releases name the encoder `decoder.sentence_encoder` and store attention as one `in_proj` [3 dim, dim]
(query, key, value). Newer releases name it `encoder.sentence_encoder` and store three projections.
"""

import pathlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.checkpoint import Checkpoint, Stored
from infoxlm_keras.conversion.positions import OFFSET, POSITIONS
from infoxlm_keras.conversion.tensor_files import TensorFiles, find_tensor_files
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_text

if TYPE_CHECKING:
    from infoxlm_keras.tokenizer import Tokenizer

HEADS_KEY = "encoder_attention_heads"
_PREFIX = re.compile(r"(?:encoder|decoder)\.(?=sentence_encoder\.|lm_head\.)")
_LAYER = re.compile(r"sentence_encoder\.layers\.(\d+)\.(.+)")
_OUTSIDE_LAYERS = {
    "sentence_encoder.embed_tokens.weight": "embeddings.word_embeddings.weight",
    "sentence_encoder.embed_positions.weight": POSITIONS,
    "lm_head.weight": "lm_head.decoder.weight",
    "lm_head.bias": "lm_head.bias",
    **{
        f"sentence_encoder.{norm}.{kind}": f"embeddings.LayerNorm.{kind}"
        for norm in ("emb_layer_norm", "layernorm_embedding")
        for kind in ("weight", "bias")
    },
    **{
        f"lm_head.{module}.{kind}": f"lm_head.{module}.{kind}"
        for module in ("dense", "layer_norm")
        for kind in ("weight", "bias")
    },
}
_IN_LAYER = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}


def is_fairseq(names: Iterable[str]) -> bool:
    """Whether `names` are names of fairseq's tensors."""
    return any(re.match(r"(?:encoder|decoder)\.sentence_encoder\.", name) for name in names)


def fairseq_command() -> str:
    """The shell command that turns `model.pt` into `model.safetensors` (needs torch, safetensors)."""
    return (
        'python -c "import argparse, torch, safetensors.torch as s; '
        "torch.serialization.add_safe_globals([argparse.Namespace]); "
        "c = torch.load('model.pt', map_location='cpu', weights_only=True); "
        "s.save_file({n: v.clone().contiguous() for n, v in c['model'].items()}, 'model.safetensors', "
        f"{{'{HEADS_KEY}': str(c['args'].encoder_attention_heads)}})\""
    )


def open_fairseq(directory: PathLike) -> Checkpoint:
    """The `Checkpoint` in a directory with fairseq's tensors; close its `files` when done.

    Raises:
        InputError: if tensors are missing, or the metadata lack the number of attention heads.
    """
    directory = pathlib.Path(directory)
    files = TensorFiles(find_tensor_files(directory))
    stored = canonical_names(files.names)
    try:
        return Checkpoint(files, stored, _arguments(files, stored, directory), directory)
    except InputError:
        files.close()
        raise


def canonical_names(names: Iterable[str]) -> dict[str, Stored]:
    """dict of our name to `Stored`; an unknown name is kept unchanged."""
    stored = {}
    for name in names:
        own = _PREFIX.sub("", name)
        if own in _OUTSIDE_LAYERS:
            stored[_OUTSIDE_LAYERS[own]] = Stored(name)
            continue
        found = _LAYER.fullmatch(own)
        if found is None:
            stored[own] = Stored(name)
            continue
        prefix, rest = f"encoder.layer.{found[1]}.", found[2]
        if rest in ("self_attn.in_proj_weight", "self_attn.in_proj_bias"):
            for part, module in enumerate(("query", "key", "value")):
                kind = rest.rpartition("_")[2]
                stored[f"{prefix}attention.self.{module}.{kind}"] = Stored(name, part, 3)
            continue
        module, _, kind = rest.rpartition(".")
        stored[f"{prefix}{_IN_LAYER.get(module, module)}.{kind}"] = Stored(name)
    return stored


def check_dictionary(directory: PathLike, tokenizer: "Tokenizer") -> None:
    """Raises InputError unless `dict.txt`, if there is one, lists the pieces of `tokenizer` in their order."""
    path = pathlib.Path(directory) / "dict.txt"
    if not path.is_file():
        return
    processor = tokenizer.processor
    lines = read_text(path).split("\n")
    words = [line.rpartition(" ")[0] for line in lines if line]
    pieces = [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]
    if len(words) != len(pieces):
        raise InputError(f"{path}: has {len(words)} entries, but the SentencePiece model has {len(pieces)} pieces")
    for number, (word, piece) in enumerate(zip(words, pieces, strict=True), start=1):
        if word != piece:
            raise InputError(
                f"{path}:{number}: is {word!r}, but the SentencePiece model's piece there is {piece!r}; the rows of "
                "the embedding would belong to other pieces"
            )


def _arguments(files, stored, directory):
    checkpoint = Checkpoint(files, stored, {}, directory)
    for name in ("embeddings.word_embeddings.weight", POSITIONS, "encoder.layer.0.intermediate.dense.weight"):
        if name not in stored:
            raise InputError(f"{directory}: holds no tensor for {name}; it is no complete fairseq checkpoint of XLM-R")
        checkpoint.require(name, (None, None))
    heads = files.metadata.get(HEADS_KEY, "")
    vocabulary_size, hidden_dim = checkpoint.shape("embeddings.word_embeddings.weight")
    if not re.fullmatch(r"[1-9]\d{0,5}", heads, re.ASCII) or hidden_dim % int(heads):
        raise InputError(
            f"{directory}: the metadata of its safetensors lack {HEADS_KEY} (found {heads!r}), which the "
            f"tensors' shapes do not show; make the file with {fairseq_command()}"
        )
    positions = checkpoint.shape(POSITIONS)[0]
    if positions <= OFFSET:
        raise InputError(f"{directory}: has {positions} positions, of which the first {OFFSET} are unused")
    layers = {name.split(".")[2] for name in stored if re.match(r"encoder\.layer\.\d+\.", name)}
    return {
        "vocabulary_size": vocabulary_size,
        # If a layer in between is missing, `require` reports its tensors.
        "num_layers": len(layers),
        "num_heads": int(heads),
        "hidden_dim": hidden_dim,
        "intermediate_dim": checkpoint.shape("encoder.layer.0.intermediate.dense.weight")[0],
        "max_sequence_length": positions - OFFSET,
        "dropout": 0.1,
    }
