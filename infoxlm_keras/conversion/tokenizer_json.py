"""Converts a SentencePiece model to `tokenizer.json`, the format that transformers' tokenizers read.

The conversion needs the model's protocol buffer alone, without transformers or SentencePiece's generated code.

A model of XLM-R's kind (unigram, normalised, pieces within words) becomes the pipeline that XLM-R's own file has.
Other unigram models, BPE and char models get a pipeline of SentencePiece's single steps. A model that no pipeline can
represent is refused with the reason, and `infoxlm_keras.conversion.tokenizer_check` compares the ids of the rest.
"""

import base64
from typing import TYPE_CHECKING, Any

from infoxlm_keras.conversion.added_tokens import SPECIAL_TOKENS as ALL_SPECIAL_TOKENS
from infoxlm_keras.errors import InputError
from infoxlm_keras.sentencepiece_proto import (
    BPE,
    CONTROL,
    MODEL_TYPES,
    NORMAL,
    RESERVED_PIECES,
    UNIGRAM,
    UNUSED,
    USER_DEFINED,
    WORD,
    parse_model,
)
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID, UNKNOWN_ID

if TYPE_CHECKING:
    from infoxlm_keras.tokenizer import Tokenizer

MASK_TOKEN = ALL_SPECIAL_TOKENS[-1]
SPECIAL_TOKENS = ALL_SPECIAL_TOKENS[:-1]
SPACE = "▁"
_METASPACE = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
_WHITESPACE = "a\tb\u00a0c\u3000d\u2028e\u2009f"


def to_tokenizer_json(tokenizer: "Tokenizer") -> dict[str, Any]:
    """The content of a `tokenizer.json` that gives the ids of `tokenizer`.

    Args:
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.

    Returns:
        dict.

    Raises:
        InputError: if `tokenizer.json` cannot represent the model; the message says why.
    """
    model = parse_model(tokenizer.proto)
    _refuse(model, tokenizer.source)
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B"))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(token_id, token) for token, token_id in special_ids(tokenizer).items()],
        **(_words_pipeline(model) if is_plain(tokenizer) else _whole_pipeline(model)),
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, end, second, end],
            "special_tokens": {
                token: {"id": token, "ids": [token_id], "tokens": [token]}
                for token, token_id in (("<s>", START_ID), ("</s>", END_ID))
            },
        },
        "model": _unigram(model) if model.trainer_spec.model_type == UNIGRAM else _merging(model),
    }


def special_ids(tokenizer: "Tokenizer") -> dict[str, int]:
    """dict of special token to id, `<mask>` last."""
    return {"<s>": START_ID, "<pad>": PAD_ID, "</s>": END_ID, "<unk>": UNKNOWN_ID, MASK_TOKEN: tokenizer.mask_id}


def is_plain(tokenizer: "Tokenizer") -> bool:
    """Whether the model of `tokenizer` is of XLM-R's kind; byte fallback is allowed."""
    model = parse_model(tokenizer.proto)
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    whitespace = (normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces)
    return (
        trainer.model_type == UNIGRAM
        and all(whitespace)
        and not trainer.treat_whitespace_as_suffix
        and bool(normalizer.precompiled_charsmap)
        and all(piece.type != USER_DEFINED for piece in model.pieces)
        # A piece with a space inside spans words, so words cannot be segmented one by one.
        and not any(SPACE in piece.piece.lstrip(SPACE) for piece in model.pieces)
        # The normalisation replaces every character at which XLM-R's pipeline splits with a space.
        and tokenizer.processor.normalize(_WHITESPACE) == SPACE + SPACE.join("abcdef")
    )


def has_own_class(tokenizer: "Tokenizer") -> bool:
    """Whether transformers' class for XLM-R's tokenizer gives the same ids; the general class reads any file."""
    # XLM-R's own class has no byte fallback.
    return is_plain(tokenizer) and not parse_model(tokenizer.proto).trainer_spec.byte_fallback


def _refuse(model, source):
    """Raises InputError for a model whose ids no `tokenizer.json` can reproduce."""
    trainer, kinds = model.trainer_spec, {piece.type for piece in model.pieces[RESERVED_PIECES:]}
    reasons = {
        "is a word model: unknown words are joined across spaces": trainer.model_type == WORD,
        f"has model_type {trainer.model_type}": trainer.model_type not in MODEL_TYPES,
        "has treat_whitespace_as_suffix = true": trainer.treat_whitespace_as_suffix,
        "has control symbols of its own": CONTROL in kinds,
        "has unused pieces": UNUSED in kinds,
        f"is a {MODEL_TYPES.get(trainer.model_type)} model with user-defined symbols": USER_DEFINED in kinds
        and trainer.model_type != UNIGRAM,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InputError(
                f"{source}: {reason}, which transformers' tokenizer.json cannot express with equal ids; use the model "
                "with SentencePiece (--format keras), or train a unigram vocabulary by infoxlm train-tokenizer"
            )


def _words_pipeline(model):
    """XLM-R's pipeline: text is split at whitespace, and each word gets a leading ▁."""
    return {
        "normalizer": _precompiled(model),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, dict(_METASPACE)]},
        "decoder": dict(_METASPACE),
    }


def _whole_pipeline(model):
    """SentencePiece's steps on the whole text: only U+0020 is a space, and a piece may span several words."""
    settings = model.normalizer_spec
    steps = [_precompiled(model)] if settings.precompiled_charsmap else []
    space = SPACE if settings.escape_whitespaces else " "
    if settings.remove_extra_whitespaces:
        steps += [_replace({"Regex": "^ +"}, ""), _replace({"Regex": " {2,}"}, " ")]
    if settings.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": " "})
    if settings.escape_whitespaces:
        steps.append(_replace({"String": " "}, SPACE))
    if settings.remove_extra_whitespaces:
        # SentencePiece strips after spaces became ▁, so it strips a literal ▁ of the text as well.
        steps.append(_replace({"Regex": f"{space}+$"}, ""))
    decoders = [_replace({"String": SPACE}, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    if settings.add_dummy_prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps} if steps else None,
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
    }


def _replace(pattern, content):
    return {"type": "Replace", "pattern": pattern, "content": content}


def _precompiled(model):
    charsmap = model.normalizer_spec.precompiled_charsmap
    if not charsmap:
        return None
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode("ascii")}


def _unigram(model):
    vocabulary = [[token, 0.0] for token in SPECIAL_TOKENS]
    highest = max((piece.score for piece in model.pieces if piece.type == NORMAL), default=0.0)
    for piece in model.pieces[RESERVED_PIECES:]:
        score = piece.score
        if piece.type == USER_DEFINED:
            # SentencePiece ignores the stored score of such a piece and uses this one, which always wins.
            score = len(piece.piece.encode()) * highest - 0.1
        vocabulary.append([piece.piece, score])
    vocabulary.append([MASK_TOKEN, 0.0])
    return {
        "type": "Unigram",
        "unk_id": UNKNOWN_ID,
        "vocab": vocabulary,
        "byte_fallback": model.trainer_spec.byte_fallback,
    }


def _merging(model):
    """A BPE model merges two neighbours into one piece, the best piece first; a char model merges nothing."""
    pieces = model.pieces[RESERVED_PIECES:]
    tokens = [*SPECIAL_TOKENS, *(piece.piece for piece in pieces), MASK_TOKEN]
    merges = []
    if model.trainer_spec.model_type == BPE:
        known = {piece.piece for piece in pieces if piece.type == NORMAL}
        # The sort is stable: of pieces with equal scores the first is merged first.
        for piece in sorted((piece for piece in pieces if piece.type == NORMAL), key=lambda piece: -piece.score):
            text = piece.piece
            halves = ((text[:cut], text[cut:]) for cut in range(1, len(text)))
            merges += [[left, right] for left, right in halves if left in known and right in known]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.trainer_spec.byte_fallback,
        "ignore_merges": False,
        "vocab": {token: number for number, token in enumerate(tokens)},
        "merges": merges,
    }


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
