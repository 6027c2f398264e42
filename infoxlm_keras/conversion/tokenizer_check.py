"""Checks, before `tokenizer.json` is written, that it gives the same ids as its SentencePiece model.

The test lines consist of pieces of the vocabulary, in an order drawn from a fixed seed, and of unusual whitespace,
symbols and characters that no piece has. They leave out the input that Hugging Face's tokenizers treat differently for
every model: several combining marks on one letter, U+0085, special tokens written in the text.
"""

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.conversion.tokenizer_json import MASK_TOKEN, SPACE, SPECIAL_TOKENS, is_plain
from infoxlm_keras.errors import InputError
from infoxlm_keras.sentencepiece_proto import NORMAL, UNIGRAM, USER_DEFINED, parse_model
from infoxlm_keras.tokenizer import UNKNOWN_ID

if TYPE_CHECKING:
    from infoxlm_keras.tokenizer import Tokenizer

LINES = 3000
_PIECES_A_LINE = 9
_ODD_LINES = [
    "",
    " ",
    "    ",
    "a",
    "two  spaces   and three",
    " at both ends ",
    "tab\ta newline\nno\u00a0break wide\u3000space thin\u2009space\u2028line",
    "▁ is the piece of a space ▁▁ ▁",
    "ends in ▁",
    "unknown ᚠᚢᚦ runes ᚠ ᚢ and 𐍈",
    "emoji 🙂 👍🏽 🇫🇷",
    "ＡＢＣ １２ ﬁ ½ ㎏ ™",
    "The CAT, İstanbul, ẞ ß Σς",
    "control \x01\x02 characters and zero\u200bwidth",
    "a" * 200,
    "3.14 1,000 12:30 a-b c_d e/f",
]
# 32-bit sums cannot separate two segmentations whose scores differ by less; each library may choose either.
_TIE = 1e-4


def check_ids(tokenizer: "Tokenizer", content: dict[str, Any]) -> int:
    """Compares the ids of a tokenizer and of its `tokenizer.json`.

    Args:
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        content: dict, the result of `to_tokenizer_json`.

    Returns:
        int, number of lines compared; 0 if Hugging Face's tokenizers are not installed and the model is of XLM-R's
        kind.

    Raises:
        InputError: if a line gets other ids, or the model is of another kind and cannot be checked.
    """
    try:
        import tokenizers
    except ImportError:
        if is_plain(tokenizer):
            return 0
        raise InputError(
            f"{tokenizer.source}: is of another kind than XLM-R's, so its tokenizer.json must be checked before it is "
            "written, which needs Hugging Face's tokenizers; pip install infoxlm_keras[hf]"
        ) from None
    theirs = tokenizers.Tokenizer.from_str(json.dumps(content))
    lines = sample_lines(tokenizer)
    found = theirs.encode_batch(lines, add_special_tokens=False)
    differing = [
        (line, ours, encoding.ids)
        for line, ours, encoding in zip(lines, tokenizer.encode(lines), found, strict=True)
        if ours != encoding.ids and not _is_tie(tokenizer, ours, encoding.ids)
    ]
    if differing:
        line, ours, other = min(differing, key=lambda item: len(item[0]))
        raise InputError(
            f"{tokenizer.source}: transformers' tokenizer.json gives other ids than this model for {len(differing):,} "
            f"of {len(lines):,} lines, for {line[:60]!r} {other[:8]} and not {ours[:8]}; use the model with "
            "SentencePiece (--format keras), or train a unigram vocabulary by infoxlm train-tokenizer"
        )
    return len(lines)


def sample_lines(tokenizer: "Tokenizer", number: int = LINES) -> list[str]:
    """`number` lines of a vocabulary's pieces and the unusual lines, list of str; the same list in every call."""
    model = parse_model(tokenizer.proto)
    texts = [
        piece.piece.replace(SPACE, " ")
        for piece in model.pieces
        if piece.type in (NORMAL, USER_DEFINED) and _is_simple(piece.piece)
    ]
    symbols = [piece.piece for piece in model.pieces if piece.type == USER_DEFINED][:200]
    lines = [*_ODD_LINES, *(f"x{symbol}y {symbol} {symbol}z" for symbol in symbols)]
    if texts:
        generator = np.random.default_rng(0)
        chosen = generator.integers(0, len(texts), (number, _PIECES_A_LINE))
        separate = generator.random((number, _PIECES_A_LINE)) < 0.2
        lines += [
            "".join((" " if apart else "") + texts[piece] for piece, apart in zip(row, gaps, strict=True))
            for row, gaps in zip(chosen, separate, strict=True)
        ]
    special = (*SPECIAL_TOKENS, MASK_TOKEN, "<0x")
    return [line for line in lines if not any(token in line for token in special)]


def _is_simple(piece):
    """Whether normalisation leaves the characters of a piece separate from each other and from its neighbours."""
    marks = [unicodedata.category(character).startswith("M") for character in piece]
    jamo = any("\u1100" <= character <= "\u11ff" for character in piece)
    return not marks[0] and not jamo and not any(one and two for one, two in zip(marks, marks[1:], strict=False))


def _is_tie(tokenizer, ours, other):
    """Whether a unigram model finds two segmentations of a line equally likely."""
    model = parse_model(tokenizer.proto)
    if model.trainer_spec.model_type != UNIGRAM or UNKNOWN_ID in ours or UNKNOWN_ID in other:
        return False
    pieces = model.pieces
    if any(not UNKNOWN_ID < token_id <= len(pieces) for token_id in other):
        return False
    texts = ["".join(pieces[token_id - 1].piece for token_id in ids) for ids in (ours, other)]
    scores = [sum(pieces[token_id - 1].score for token_id in ids) for ids in (ours, other)]
    return texts[0] == texts[1] and abs(scores[0] - scores[1]) < _TIE * max(1.0, abs(scores[0]))
