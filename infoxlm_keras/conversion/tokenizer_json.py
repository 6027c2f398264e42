"""A SentencePiece unigram model as `tokenizer.json`, the form that transformers' tokenizers read, and back.

Built from the model's protocol buffer alone, with the few fields of it that matter declared here: neither transformers
nor SentencePiece's own generated code, which is tied to one release of protobuf, is needed.
"""

import base64
import functools

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID, UNKNOWN_ID, Tokenizer

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
MASK_TOKEN = "<mask>"
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_UNIGRAM = 1
_METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
_STRIPPING = ("Strip", "Replace")


def to_tokenizer_json(tokenizer):
    """The content of `tokenizer.json` for `tokenizer`, whose ids it gives.

    Args:
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.

    Returns:
        dict.

    Raises:
        InputError: if the model treats whitespace in another way than XLM-R's.
    """
    model = _model_class()()
    model.ParseFromString(tokenizer.proto)
    for setting in ("add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces"):
        if model.normalizer_spec.HasField(setting) and not getattr(model.normalizer_spec, setting):
            raise InputError(f"{tokenizer.source}: has {setting} = false, which XLM-R's tokenizer.json cannot express")
    vocabulary = [[token, 0.0] for token in SPECIAL_TOKENS]
    vocabulary += [[piece.piece, piece.score] for piece in model.pieces[3:]]
    vocabulary.append([MASK_TOKEN, 0.0])
    charsmap = model.normalizer_spec.precompiled_charsmap
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B"))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(token_id, token) for token, token_id in special_ids(tokenizer).items()],
        "normalizer": _normalizer(charsmap),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, _METASPACE]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, end, second, end],
            "special_tokens": {
                token: {"id": token, "ids": [token_id], "tokens": [token]}
                for token, token_id in (("<s>", START_ID), ("</s>", END_ID))
            },
        },
        "decoder": _METASPACE,
        "model": {
            "type": "Unigram",
            "unk_id": UNKNOWN_ID,
            "vocab": vocabulary,
            "byte_fallback": model.trainer_spec.byte_fallback,
        },
    }


def special_ids(tokenizer):
    """dict of special token to id, `<mask>` last."""
    return {"<s>": START_ID, "<pad>": PAD_ID, "</s>": END_ID, "<unk>": UNKNOWN_ID, MASK_TOKEN: tokenizer.mask_id}


def has_byte_fallback(tokenizer):
    """Whether the model of `tokenizer` spells unknown characters in bytes."""
    model = _model_class()()
    model.ParseFromString(tokenizer.proto)
    return model.trainer_spec.byte_fallback


def from_tokenizer_json(path):
    """The tokenizer in a `tokenizer.json` of XLM-R's kind, as a SentencePiece model made anew.

    Its ids are those of the model that `tokenizer.json` came from; its bytes, and so its fingerprint, are not.

    Args:
        path: path of the file.

    Returns:
        `Tokenizer`.

    Raises:
        InputError: if the file describes another kind of tokenizer, or another layout of special ids.
    """
    content = read_json(path)
    stored = content.get("model") if isinstance(content, dict) else None
    if not isinstance(stored, dict) or stored.get("type") != "Unigram":
        kind = stored.get("type") if isinstance(stored, dict) else None
        raise InputError(
            f"{path}: holds a model of type {kind!r}, not XLM-R's Unigram; give sentencepiece.bpe.model beside it"
        )
    vocabulary = stored["vocab"]
    tokens = [token for token, _ in vocabulary]
    if tuple(tokens[:4]) != SPECIAL_TOKENS or tokens[-1] != MASK_TOKEN:
        raise InputError(
            f"{path}: its vocabulary begins with {tokens[:4]} and ends with {tokens[-1:]}, but XLM-R's begins with "
            f"{list(SPECIAL_TOKENS)} and ends with {MASK_TOKEN}"
        )
    model = _model_class()()
    for token, kind in (("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)):
        model.pieces.add(piece=token, score=0.0, type=kind)
    byte_fallback = bool(stored.get("byte_fallback"))
    for token, score in vocabulary[4:-1]:
        is_byte = byte_fallback and len(token) == 6 and token.startswith("<0x")
        model.pieces.add(piece=token, score=score, type=_BYTE if is_byte else _NORMAL)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type = _UNIGRAM
    trainer.vocab_size = len(model.pieces)
    trainer.byte_fallback = byte_fallback
    trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
    normalizer.name = "precompiled"
    normalizer.precompiled_charsmap = _charsmap(content.get("normalizer"), path)
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = normalizer.escape_whitespaces = True
    return Tokenizer(model.SerializeToString(), path)


def _added_token(token_id, token):
    return {
        "id": token_id,
        "content": token,
        "single_word": False,
        # The space before <mask> belongs to it, as XLM-R's tokenizer has it.
        "lstrip": token == MASK_TOKEN,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def _normalizer(charsmap):
    if not charsmap:
        return None
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode("ascii")}


def _charsmap(normalizer, path):
    """The bytes of the one `Precompiled` normalizer; whitespace is squeezed by SentencePiece anyway."""
    if normalizer is None:
        return b""
    parts = normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer]
    maps = []
    for part in parts:
        if part.get("type") == "Precompiled":
            maps.append(base64.b64decode(part["precompiled_charsmap"]))
        elif part.get("type") not in _STRIPPING:
            raise InputError(f"{path}: has a normalizer {part.get('type')!r}, which XLM-R's tokenizer has not")
    if len(maps) > 1:
        raise InputError(f"{path}: has {len(maps)} Precompiled normalizers; one is understood")
    return maps[0] if maps else b""


@functools.cache
def _model_class():
    """The message class of SentencePiece's ModelProto; fields that are not declared here pass through unread."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    package = "infoxlm_keras.sentencepiece"
    file = descriptor_pb2.FileDescriptorProto(name="infoxlm_keras/sentencepiece.proto", package=package)
    messages = {
        "Piece": (("piece", 1, field.TYPE_STRING), ("score", 2, field.TYPE_FLOAT), ("type", 3, field.TYPE_INT32)),
        "TrainerSpec": (
            ("model_type", 3, field.TYPE_INT32),
            ("vocab_size", 4, field.TYPE_INT32),
            ("byte_fallback", 35, field.TYPE_BOOL),
            ("unk_id", 40, field.TYPE_INT32),
            ("bos_id", 41, field.TYPE_INT32),
            ("eos_id", 42, field.TYPE_INT32),
            ("pad_id", 43, field.TYPE_INT32),
        ),
        "NormalizerSpec": (
            ("name", 1, field.TYPE_STRING),
            ("precompiled_charsmap", 2, field.TYPE_BYTES),
            ("add_dummy_prefix", 3, field.TYPE_BOOL),
            ("remove_extra_whitespaces", 4, field.TYPE_BOOL),
            ("escape_whitespaces", 5, field.TYPE_BOOL),
        ),
    }
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            message.field.add(name=field_name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    model = file.message_type.add(name="Model")
    for field_name, number, name, label in (
        ("pieces", 1, "Piece", field.LABEL_REPEATED),
        ("trainer_spec", 2, "TrainerSpec", field.LABEL_OPTIONAL),
        ("normalizer_spec", 3, "NormalizerSpec", field.LABEL_OPTIONAL),
    ):
        model.field.add(
            name=field_name, number=number, type=field.TYPE_MESSAGE, type_name=f".{package}.{name}", label=label
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Model"))
