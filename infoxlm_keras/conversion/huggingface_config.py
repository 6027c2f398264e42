"""Hugging Face's config.json and the shape of the encoder."""

from typing import TYPE_CHECKING, Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.positions import OFFSET
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID

if TYPE_CHECKING:
    import keras_hub

MODEL_TYPE = "xlm-roberta"
LAYER_NORM_EPSILON = 1e-5
# Key, the values that the encoder supports, and transformers' default for a file without the key.
_FIXED = (
    ("pad_token_id", (PAD_ID,), PAD_ID),
    ("bos_token_id", (START_ID, None), START_ID),
    ("eos_token_id", (END_ID, None), END_ID),
    ("hidden_act", ("gelu",), "gelu"),
    ("layer_norm_eps", (LAYER_NORM_EPSILON,), 1e-12),
    ("position_embedding_type", ("absolute",), "absolute"),
    ("is_decoder", (False,), False),
    ("add_cross_attention", (False,), False),
    ("quantization_config", (None,), None),
)
# KerasHub's backbone has this constant in its code: it cannot be set.
_WAYS_OUT = {
    "layer_norm_eps": (
        f", which KerasHub's backbone fixes; to go on, write {LAYER_NORM_EPSILON!r} into a copy of the folder: the "
        "vectors change a little (by 5e-6 of themselves where a layer's variance is 1, more where it is smaller), so "
        "measure the model afterwards, as with infoxlm evaluate-retrieval"
    )
}
_SIZES = {
    "vocab_size": "vocabulary_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "hidden_size": "hidden_dim",
    "intermediate_size": "intermediate_dim",
    "max_position_embeddings": "max_sequence_length",
}


def backbone_arguments(config: object, path: PathLike) -> dict[str, Any]:
    """Arguments of `XLMRobertaBackbone` for the model that `config` describes.

    Args:
        config: dict, the content of config.json.
        path: path of the file, for messages.

    Returns:
        dict, without `dtype`.

    Raises:
        InputError: if this encoder does not support a value; the message names it.
    """
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds no settings of a model; fetch it again")
    if config.get("model_type") != MODEL_TYPE:
        raise InputError(f"{path}: model_type = {config.get('model_type')!r}, but only {MODEL_TYPE!r} is converted")
    for key, accepted, default in _FIXED:
        value = config.get(key, default)
        # 1 and True are equal in Python, not in a configuration.
        if not any(value == good and isinstance(value, bool) == isinstance(good, bool) for good in accepted):
            raise InputError(
                f"{path}: {key} = {value!r}{'' if key in config else ' (the default)'}, but this encoder supports "
                f"{accepted[0]!r} only{_WAYS_OUT.get(key, '')}"
            )
    arguments = {}
    for key, argument in _SIZES.items():
        value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{path}: {key} = {value!r}, but must be a whole number of at least 1")
        arguments[argument] = value
    if config["max_position_embeddings"] <= OFFSET:
        raise InputError(
            f"{path}: max_position_embeddings = {config['max_position_embeddings']}, but the first {OFFSET} are "
            f"unused, so at least {OFFSET + 1} are needed"
        )
    if config["hidden_size"] % config["num_attention_heads"]:
        raise InputError(
            f"{path}: num_attention_heads = {config['num_attention_heads']} does not divide hidden_size = "
            f"{config['hidden_size']}"
        )
    arguments["max_sequence_length"] -= OFFSET
    dropout = config.get("hidden_dropout_prob", 0.1)
    if not isinstance(dropout, int | float) or isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise InputError(f"{path}: hidden_dropout_prob = {dropout!r}, but must be in [0, 1)")
    return {**arguments, "dropout": float(dropout)}


def huggingface_config(
    backbone: "keras_hub.models.XLMRobertaBackbone",
    architecture: str,
    dtype: str,
    num_layers: int | None = None,
    token_types: int = 1,
) -> dict[str, Any]:
    """The content of config.json.

    Args:
        backbone: `XLMRobertaBackbone`.
        architecture: str, transformers' class, such as "XLMRobertaForMaskedLM".
        dtype: str, of the weights in the files.
        num_layers: int, how many of the backbone's layers are in the files; None: all.
        token_types: int, rows of the token-type embedding.

    Returns:
        dict.
    """
    return {
        "architectures": [architecture],
        "model_type": MODEL_TYPE,
        "vocab_size": backbone.vocabulary_size,
        "hidden_size": backbone.hidden_dim,
        "num_hidden_layers": backbone.num_layers if num_layers is None else num_layers,
        "num_attention_heads": backbone.num_heads,
        "intermediate_size": backbone.intermediate_dim,
        "max_position_embeddings": backbone.max_sequence_length + OFFSET,
        "type_vocab_size": token_types,
        "hidden_act": "gelu",
        "hidden_dropout_prob": backbone.dropout,
        "attention_probs_dropout_prob": backbone.dropout,
        "layer_norm_eps": LAYER_NORM_EPSILON,
        "initializer_range": 0.02,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "bos_token_id": START_ID,
        "pad_token_id": PAD_ID,
        "eos_token_id": END_ID,
        "torch_dtype": dtype,
    }
