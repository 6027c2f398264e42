"""Token ids equal Hugging Face's `XLMRobertaTokenizer` on the same SentencePiece model, in many scripts.

The few places where Hugging Face does not follow SentencePiece are listed below, and tested as well.
"""

import lzma
import sys

import numpy as np
import pytest
import sentencepiece

from infoxlm_keras.text.vocabulary import train_sentencepiece
from infoxlm_keras.tokenizer import Tokenizer
from repository import REPOSITORY

transformers = pytest.importorskip("transformers")

SAMPLE = REPOSITORY / "infoxlm_keras/sample_corpus/data/heldout"
SAMPLE_LANGUAGES = ("de", "el", "en", "hi", "ja", "ko", "ru", "tr", "vi", "zh")
# Letters of scripts that the sample lacks, and of some that it has.
SCRIPTS = {
    "Latin": (0x61, 0x7A),
    "Greek": (0x3B1, 0x3C9),
    "Cyrillic": (0x430, 0x44F),
    "Armenian": (0x561, 0x586),
    "Hebrew": (0x5D0, 0x5EA),
    "Arabic": (0x627, 0x64A),
    "Syriac": (0x710, 0x72C),
    "Thaana": (0x780, 0x7A5),
    "Devanagari": (0x905, 0x939),
    "Bengali": (0x985, 0x9B9),
    "Gurmukhi": (0xA05, 0xA39),
    "Gujarati": (0xA85, 0xAB9),
    "Oriya": (0xB05, 0xB39),
    "Tamil": (0xB85, 0xBB9),
    "Telugu": (0xC05, 0xC39),
    "Kannada": (0xC85, 0xCB9),
    "Malayalam": (0xD05, 0xD39),
    "Sinhala": (0xD85, 0xDC6),
    "Thai": (0xE01, 0xE2E),
    "Lao": (0xE81, 0xEAE),
    "Tibetan": (0xF40, 0xF6C),
    "Myanmar": (0x1000, 0x102A),
    "Georgian": (0x10D0, 0x10F0),
    "Ethiopic": (0x1200, 0x1248),
    "Cherokee": (0x13A0, 0x13F4),
    "Khmer": (0x1780, 0x17B3),
    "Mongolian": (0x1820, 0x1842),
    "Hiragana": (0x3041, 0x3096),
    "Katakana": (0x30A1, 0x30FA),
    "Han": (0x4E00, 0x4F00),
    "Hangul": (0xAC00, 0xAD00),
}
ODD_LINES = [
    "",
    " ",
    "   ",
    "\t",
    "two  spaces   and three",
    " leading and trailing ",
    "tab\tnewline\ncarriage\rreturn",
    "no\u00a0break thin\u2009space ideographic\u3000space",
    "control \x01\x02\x07\x0b\x1b\x7f characters",
    "zero\u200bwidth\u200cjoin\u200ders\ufeff",
    "soft\u00adhyphen",
    "line\u2028paragraph\u2029separators",
    "emoji 🙂 👍🏽 👩‍👩‍👧‍👦 🇫🇷 ❤️",
    "שלום עולם 123 abc",
    "مرحبا بالعالم \u202bright to left\u202c",
    "\u200fmarks\u200e of direction",
    "composed é and decomposed e\u0301",
    "full width ＡＢＣ１２３ and ligatures ﬁ ﬂ ㎏ ™ ½",
    "combining a\u0323 marks",
    "▁ is the piece of a space ▁▁",
    "private \ue000 and unassigned \u0378 and noncharacter \ufdd0",
    "𝔐𝔞𝔱𝔥 and 𐍈 beyond the basic plane",
    "a" * 500,
    "unknown ᚠᚢᚦ runes",
    "punctuation !?.,;:-()[]{}<>/\\|@#$%^&*~`'\"",
    "<s and s> are no special tokens, nor <x>",
]


def generated_lines(script, count):
    """`count` lines of 1 to 8 words of letters of a script, with digits and punctuation here and there."""
    first, last = SCRIPTS[script]
    generator = np.random.default_rng(first)
    letters = [chr(code) for code in range(first, last + 1)]
    # A word list, so that some sequences are frequent enough to become pieces.
    words = ["".join(generator.choice(letters[:40], generator.integers(1, 7))) for _ in range(60)] + ["12", ",", "?"]
    return [" ".join(generator.choice(words, generator.integers(1, 9))) for _ in range(count)]


@pytest.fixture(scope="module")
def lines():
    """About 6,000 lines, of which the vocabulary sees less than half."""
    text = []
    for language in SAMPLE_LANGUAGES:
        text += lzma.decompress((SAMPLE / f"{language}.txt.xz").read_bytes()).decode().split("\n")[:150]
    for script in SCRIPTS:
        text += generated_lines(script, 140)
    return text


@pytest.fixture(scope="module")
def proto(lines):
    return train_sentencepiece([line for line in lines[::3] if line], 4000, 0.998)


@pytest.fixture(scope="module")
def byte_proto(lines):
    """The same with byte fallback."""
    return train_sentencepiece([line for line in lines[::3] if line], 4000, 0.998, byte_fallback=True)


def huggingface(proto, directory, monkeypatch, name="XLMRobertaTokenizer"):
    """A Hugging Face tokenizer of the same SentencePiece model, loaded from a folder as users do."""
    # SentencePiece's message classes may be newer than the installed protobuf; transformers has its own of the same.
    from transformers.utils import sentencepiece_model_pb2_new

    monkeypatch.setitem(sys.modules, "sentencepiece.sentencepiece_model_pb2", sentencepiece_model_pb2_new)
    (directory / "sentencepiece.bpe.model").write_bytes(proto)
    return getattr(transformers, name).from_pretrained(str(directory))


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", ["XLMRobertaTokenizer", "XLMRobertaTokenizerFast"])
def test_ids_are_equal(name, proto, lines, tmp_path, monkeypatch):
    ours, theirs = Tokenizer(proto), huggingface(proto, tmp_path, monkeypatch, name)
    assert (theirs.bos_token_id, theirs.pad_token_id, theirs.eos_token_id, theirs.unk_token_id) == (0, 1, 2, 3)
    assert theirs.mask_token_id == ours.mask_id and len(theirs) == ours.vocabulary_size
    text = lines + ODD_LINES
    assert len(text) > 5000 and len(SCRIPTS) >= 20
    different = [
        (line, a, b) for line, a, b in zip(text, ours.encode(text), ids_of(theirs, text), strict=True) if a != b
    ]
    assert not different, f"{len(different)} of {len(text)}: {different[:5]}"
    assert theirs(text[0])["input_ids"] == [0, *ours.encode(text[:1])[0], 2]


# Where Hugging Face's own rules replace SentencePiece's; ids here are SentencePiece's.
DIFFERENT = {
    "a special token spelled out": "open </s> and <mask>",
    "the control character U+0085": "con\x85trol",
    "several combining marks on a letter": "a\u0301\u0323\u0308",
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_huggingface_differs_ids_are_those_of_sentencepiece(name, proto, tmp_path, monkeypatch):
    ours, theirs = Tokenizer(proto), huggingface(proto, tmp_path, monkeypatch)
    (ids,) = ours.encode([DIFFERENT[name]])
    pieces = sentencepiece.SentencePieceProcessor(model_proto=proto).encode(DIFFERENT[name])
    assert ids == [piece + 1 if piece else 3 for piece in pieces]
    assert ids != ids_of(theirs, DIFFERENT[name])


def test_huggingface_knows_no_byte_fallback(byte_proto, lines, tmp_path, monkeypatch):
    ours, theirs = Tokenizer(byte_proto), huggingface(byte_proto, tmp_path, monkeypatch)
    differ = 0
    for a, b in zip(ours.encode(lines), ids_of(theirs, lines), strict=True):
        assert 3 not in a
        assert (a == b) == (3 not in b)
        differ += a != b
    assert 0 < differ < len(lines) / 5
