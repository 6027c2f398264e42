"""The fields of SentencePiece's protocol buffer that decide the behaviour of a model.

They are declared here because SentencePiece's generated code works with one release of protobuf only.
"""

import functools
import hashlib
import struct
from typing import Any

UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4
MODEL_TYPES = {UNIGRAM: "unigram", BPE: "BPE", WORD: "word", CHAR: "char"}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
# Pieces that every model of XLM-R's layout begins with: <unk>, <s>, </s>.
RESERVED_PIECES = 3


def parse_model(proto: bytes) -> Any:
    """The message of a serialized model (bytes)."""
    model = model_class()()
    model.ParseFromString(proto)
    return model


def behaviour(proto: bytes) -> str:
    """A digest of what a model does with text, str: equal for models of equal ids, whatever their bytes.

    Pieces with their order, scores and kinds count, the kind of model, its normalisation and its treatment of
    whitespace. Settings of the training that made the model, and its names, do not.
    """
    model = parse_model(proto)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    digest = hashlib.sha256()
    for number, piece in enumerate(model.pieces):
        # Nothing is computed with the scores of the reserved pieces.
        score = 0.0 if number < RESERVED_PIECES else piece.score
        text = piece.piece.encode("utf-8", "surrogatepass")
        digest.update(struct.pack("<IfI", len(text), score, piece.type) + text)
    flags = (
        trainer.byte_fallback,
        trainer.treat_whitespace_as_suffix,
        normalizer.add_dummy_prefix,
        normalizer.remove_extra_whitespaces,
        normalizer.escape_whitespaces,
    )
    digest.update(struct.pack("<I5?I", len(model.pieces), *flags, trainer.model_type))
    digest.update(normalizer.precompiled_charsmap)
    return "behaviour:sha256:" + digest.hexdigest()


# As SentencePiece declares them; all other fields have the usual ones.
_DEFAULTS = {
    "type": str(NORMAL),
    "model_type": str(UNIGRAM),
    "add_dummy_prefix": "true",
    "remove_extra_whitespaces": "true",
    "escape_whitespaces": "true",
}


@functools.cache
def model_class() -> type[Any]:
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
            ("treat_whitespace_as_suffix", 24, field.TYPE_BOOL),
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
            message.field.add(
                name=field_name,
                number=number,
                type=kind,
                label=field.LABEL_OPTIONAL,
                default_value=_DEFAULTS.get(field_name),
            )
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
