"""A SentencePiece model as `tokenizer.json`, the form that transformers' tokenizers read, and back.

Built from the model's protocol buffer alone: neither transformers nor SentencePiece's own generated code is needed.

A model of XLM-R's kind (unigram, normalised, pieces within words) becomes the pipeline that XLM-R's own file has.
Other unigram models, BPE and char models get a pipeline that spells out SentencePiece's steps. What no pipeline can
do is refused by name, and `infoxlm_keras.conversion.tokenizer_check` compares the ids of the rest.
"""

import base64

from infoxlm_keras.conversion.added_tokens import SPECIAL_TOKENS as ALL_SPECIAL_TOKENS
from infoxlm_keras.conversion.added_tokens import refuse_added
from infoxlm_keras.conversion.sentencepiece_proto import (
    BPE,
    BYTE,
    CONTROL,
    MODEL_TYPES,
    NORMAL,
    RESERVED_PIECES,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    WORD,
    model_class,
    parse_model,
)
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.parsing import parsing
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID, UNKNOWN_ID, Tokenizer

MASK_TOKEN = ALL_SPECIAL_TOKENS[-1]
SPECIAL_TOKENS = ALL_SPECIAL_TOKENS[:-1]
SPACE = "▁"
_METASPACE = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
_WHITESPACE = "a\tb\u00a0c\u3000d\u2028e\u2009f"
_STRIPPING = ("Strip", "Replace")


def to_tokenizer_json(tokenizer):
    """The content of `tokenizer.json` for `tokenizer`, whose ids it gives.

    Args:
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.

    Returns:
        dict.

    Raises:
        InputError: if the model does what `tokenizer.json` cannot express; the message names it.
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


def special_ids(tokenizer):
    """dict of special token to id, `<mask>` last."""
    return {"<s>": START_ID, "<pad>": PAD_ID, "</s>": END_ID, "<unk>": UNKNOWN_ID, MASK_TOKEN: tokenizer.mask_id}


def is_plain(tokenizer):
    """Whether the model of `tokenizer` is of XLM-R's kind, byte fallback aside."""
    model = parse_model(tokenizer.proto)
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    whitespace = (normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces)
    return (
        trainer.model_type == UNIGRAM
        and all(whitespace)
        and not trainer.treat_whitespace_as_suffix
        and bool(normalizer.precompiled_charsmap)
        and all(piece.type != USER_DEFINED for piece in model.pieces)
        # A space inside a piece: words are not looked at one by one.
        and not any(SPACE in piece.piece.lstrip(SPACE) for piece in model.pieces)
        # The normalisation makes a space of all that XLM-R's pipeline cuts at.
        and tokenizer.processor.normalize(_WHITESPACE) == SPACE + SPACE.join("abcdef")
    )


def has_own_class(tokenizer):
    """Whether transformers' class for XLM-R's tokenizer does the same; the general class takes the file as it is."""
    # XLM-R's own class knows no bytes.
    return is_plain(tokenizer) and not parse_model(tokenizer.proto).trainer_spec.byte_fallback


def from_tokenizer_json(path):
    """The tokenizer in a `tokenizer.json` of XLM-R's kind, as a SentencePiece model made anew.

    Its ids are those of the model that `tokenizer.json` came from, and so is its `behaviour`; its bytes, and so its
    fingerprint, are not.

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
            f"{path}: holds a model of type {kind!r}, not XLM-R's Unigram; give the SentencePiece file that it was "
            "made from, beside it as sentencepiece.bpe.model"
        )
    vocabulary = _vocabulary(stored.get("vocab"), path)
    tokens = [token for token, _ in vocabulary]
    if tuple(tokens[:4]) != SPECIAL_TOKENS or tokens[-1] != MASK_TOKEN:
        raise InputError(
            f"{path}: its vocabulary begins with {tokens[:4]} and ends with {tokens[-1:]}, but XLM-R's begins with "
            f"{list(SPECIAL_TOKENS)} and ends with {MASK_TOKEN}"
        )
    if stored.get("unk_id") != UNKNOWN_ID:
        raise InputError(f"{path}: has unk_id = {stored.get('unk_id')!r}, but XLM-R's is {UNKNOWN_ID}")
    _check_added(content.get("added_tokens"), tokens, path)
    _check_pre_tokenizer(content.get("pre_tokenizer"), path)
    model = model_class()()
    for token, kind in (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)):
        model.pieces.add(piece=token, score=0.0, type=kind)
    byte_fallback = bool(stored.get("byte_fallback"))
    for token, score in vocabulary[4:-1]:
        is_byte = byte_fallback and len(token) == 6 and token.startswith("<0x")
        model.pieces.add(piece=token, score=score, type=BYTE if is_byte else NORMAL)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type = UNIGRAM
    trainer.vocab_size = len(model.pieces)
    trainer.byte_fallback = byte_fallback
    trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
    normalizer.name = "precompiled"
    normalizer.precompiled_charsmap = _charsmap(content.get("normalizer"), path)
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = normalizer.escape_whitespaces = True
    return Tokenizer(model.SerializeToString(), path)


# === Out ===


def _refuse(model, source):
    """Raises InputError for what no `tokenizer.json` does as SentencePiece does it."""
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
                "with SentencePiece (--format keras), or train a unigram vocabulary by data_prep/train_tokenizer.py"
            )


def _words_pipeline(model):
    """XLM-R's own: words are cut at whitespace, and each begins with ▁."""
    return {
        "normalizer": _precompiled(model),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, _METASPACE]},
        "decoder": _METASPACE,
    }


def _whole_pipeline(model):
    """SentencePiece's own steps, on the whole text: only U+0020 is a space, and pieces may hold several words."""
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
        # SentencePiece takes what a space has become, so a ▁ of the text as well.
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
            # SentencePiece gives such a piece this score, whatever the file says, so that it always wins.
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
    """BPE: two neighbours become one piece, the best piece first. A char model is one that merges nothing."""
    pieces = model.pieces[RESERVED_PIECES:]
    tokens = [*SPECIAL_TOKENS, *(piece.piece for piece in pieces), MASK_TOKEN]
    merges = []
    if model.trainer_spec.model_type == BPE:
        known = {piece.piece for piece in pieces if piece.type == NORMAL}
        # A stable sort: of equal scores the first piece is merged first.
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


# === In ===


def _vocabulary(vocabulary, path):
    """`vocabulary` as it is, checked: a list of [str, float], longer than the special tokens, none twice."""
    if not isinstance(vocabulary, list) or len(vocabulary) < len(ALL_SPECIAL_TOKENS):
        raise InputError(f"{path}: its model has no vocabulary (a list of tokens with scores); fetch it again")
    seen = set()
    for number, entry in enumerate(vocabulary):
        token, score = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if not isinstance(token, str) or not isinstance(score, int | float) or isinstance(score, bool):
            raise InputError(f"{path}: entry {number} of its vocabulary is no token with a score: {repr(entry)[:60]}")
        if not -3e38 < score < 3e38:
            raise InputError(f"{path}: entry {number} of its vocabulary, {token!r}, has the score {score}")
        if not token or token in seen:
            raise InputError(f"{path}: entry {number} of its vocabulary, {token!r}, is empty or there twice")
        seen.add(token)
    return vocabulary


def _check_added(added, tokens, path):
    """Special tokens at their ids, and no others."""
    if added is None:
        return
    if not isinstance(added, list) or not all(
        isinstance(token, dict) and isinstance(token.get("content"), str) for token in added
    ):
        raise InputError(f"{path}: its added_tokens are not a list of tokens; fetch it again")
    refuse_added(
        path, [token["content"] for token in added if token["content"] not in ALL_SPECIAL_TOKENS], len(tokens)
    )
    places = {**{token: number for number, token in enumerate(SPECIAL_TOKENS)}, MASK_TOKEN: len(tokens) - 1}
    for token in added:
        if token.get("id") != places[token["content"]]:
            raise InputError(
                f"{path}: gives {token['content']} the id {token.get('id')!r}, but its vocabulary "
                f"{places[token['content']]}"
            )


def _check_pre_tokenizer(pre_tokenizer, path):
    """Words begin with ▁: a Metaspace, maybe after a split at whitespace."""
    if not isinstance(pre_tokenizer, dict):
        steps = [pre_tokenizer]
    else:
        steps = pre_tokenizer.get("pretokenizers") if pre_tokenizer.get("type") == "Sequence" else [pre_tokenizer]
    kinds = [step.get("type") if isinstance(step, dict) else step for step in steps] if isinstance(steps, list) else []
    metaspace = steps[-1] if kinds and kinds[-1] == "Metaspace" else {}
    # Releases of 2023 and before say add_prefix_space.
    settings = [metaspace.get("prepend_scheme", "always"), metaspace.get("add_prefix_space", True)]
    same = settings == ["always", True] and metaspace.get("replacement", SPACE) == SPACE
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) or not same:
        raise InputError(
            f"{path}: has a pre-tokenizer ({', '.join(map(str, kinds)) or 'none'}) other than XLM-R's, which puts "
            f"{SPACE} before each word; give the SentencePiece file that it was made from, beside it as "
            "sentencepiece.bpe.model"
        )


def _charsmap(normalizer, path):
    """The bytes of the one `Precompiled` normalizer; whitespace is squeezed by SentencePiece anyway."""
    if normalizer is None:
        return b""
    with parsing(path, "a tokenizer.json of XLM-R's kind", "give sentencepiece.bpe.model beside it"):
        parts = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
        kinds = [part["type"] for part in parts]
        maps = [
            base64.b64decode(part["precompiled_charsmap"], validate=True)
            for part in parts
            if part["type"] == "Precompiled"
        ]
    for kind in kinds:
        if kind != "Precompiled" and kind not in _STRIPPING:
            raise InputError(
                f"{path}: has a normalizer {kind!r}, which XLM-R's tokenizer has not; give the SentencePiece file "
                "that it was made from, beside it as sentencepiece.bpe.model"
            )
    if len(maps) > 1:
        raise InputError(f"{path}: has {len(maps)} Precompiled normalizers; one is understood")
    return maps[0] if maps else b""
