"""Rebuilds a SentencePiece model from a `tokenizer.json` of XLM-R's kind."""

import base64
import re
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.added_tokens import SPECIAL_TOKENS as ALL_SPECIAL_TOKENS
from infoxlm_keras.conversion.added_tokens import refuse_added
from infoxlm_keras.conversion.tokenizer_json import MASK_TOKEN, SPACE, SPECIAL_TOKENS
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_json
from infoxlm_keras.sentencepiece_proto import BYTE, CONTROL, NORMAL, UNIGRAM, UNKNOWN, model_class
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer

# Of a regular expression, what says which white space and how much of it.
_OF_SPACE = re.compile(r"\\[stnr]|\{\d*,?\d*\}|[\^$+*?,()\[\]| \u2581]")


def from_tokenizer_json(path: PathLike) -> Tokenizer:
    """Rebuilds the SentencePiece model of a `tokenizer.json` of XLM-R's kind.

    Its ids and its `behaviour` are those of the model that `tokenizer.json` was made from. Its bytes differ, and so
    does its fingerprint.

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


def _vocabulary(vocabulary, path):
    """Returns `vocabulary` after checking it: a list of [str, float] with all special tokens and no duplicates."""
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
            raise InputError(f"{path}: entry {number} of its vocabulary, {token!r}, is empty or a duplicate")
        seen.add(token)
    return vocabulary


def _check_added(added, tokens, path):
    """Raises InputError unless all added tokens are special tokens with their expected ids."""
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
    """Raises InputError unless words get a leading ▁: by a Metaspace, optionally after a split at whitespace."""
    steps: Any = [pre_tokenizer]
    if isinstance(pre_tokenizer, dict):
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
    """The bytes of the one `Precompiled` normalizer; SentencePiece itself merges whitespace."""
    if normalizer is None:
        return b""
    with parsing(path, "a tokenizer.json of XLM-R's kind", "give sentencepiece.bpe.model beside it"):
        parts = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
        others = [part for part in parts if part["type"] != "Precompiled" and not _of_space(part)]
        maps = [
            base64.b64decode(part["precompiled_charsmap"], validate=True)
            for part in parts
            if part["type"] == "Precompiled"
        ]
    if others:
        raise InputError(
            f"{path}: has a normalizer {_shown(others[0])}, which XLM-R's tokenizer does not have; give the "
            "SentencePiece file that it was made from, beside it as sentencepiece.bpe.model"
        )
    if len(maps) > 1:
        raise InputError(f"{path}: has {len(maps)} Precompiled normalizers; only one can be read")
    return maps[0] if maps else b""


def _of_space(part):
    """Whether a normalizer only merges or strips white space, which SentencePiece does itself."""
    if part["type"] != "Replace":
        return part["type"] == "Strip"
    text, regex = part["pattern"].get("String", ""), part["pattern"].get("Regex", "")
    space = text.strip(f" {SPACE}\t\n") == "" and not _OF_SPACE.sub("", regex) and "[^" not in regex
    return space and part["content"].strip(f" {SPACE}") == ""


def _shown(part):
    if part["type"] != "Replace":
        return repr(part["type"])
    return f"'Replace' of {next(iter(part['pattern'].values()), '')!r} by {part['content']!r}"
