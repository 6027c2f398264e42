"""The characters that tokens stand for: exact in every script, whatever the normalisation does to their number."""

import io
import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.character_offsets import tokenize_with_offsets
from infoxlm_keras.tokenizer import UNKNOWN_ID, Tokenizer
from sample_text import multilingual_sentences

ODD = "ﬁne Ⅳ ①② ½ ﷺ e\u0301 가 각 ﾊﾞ ㎞ İ ß 👩‍👩‍👧 \u200b\u00ad\u2028\x01 ，。「」 नमस्ते العَرَبِيَّة ไทย 中文 … ´ ~"
texts = st.text(st.one_of(st.sampled_from(ODD + " \t\n"), st.characters(exclude_categories=["Cs"])), max_size=24)


def trained(**options):
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(multilingual_sentences(60)),
        model_writer=writer,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
        **options,
    )
    return Tokenizer(writer.getvalue())


@pytest.fixture(scope="module")
def tokenizers(tokenizer):
    return {
        "unigram": tokenizer,
        "bytes": trained(vocab_size=500, byte_fallback=True, model_type="bpe"),
        "suffix": trained(vocab_size=270, treat_whitespace_as_suffix=True),
        "plain": trained(
            vocab_size=200,
            model_type="char",
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
        ),
    }


@pytest.mark.parametrize("kind", ["unigram", "bytes", "suffix", "plain"])
@given(text=texts)
def test_a_token_is_what_its_characters_are_normalised_to(tokenizers, kind, text):
    tokenizer = tokenizers[kind]
    tokens = tokenize_with_offsets(tokenizer, text)
    assert tokens.token_ids.tolist() == tokenizer.encode(text)
    assert (np.diff(tokens.starts) >= 0).all() and (np.diff(tokens.ends) >= 0).all()
    assert (tokens.starts >= 0).all() and (tokens.ends <= len(text)).all() and (tokens.starts <= tokens.ends).all()
    pieces = tokenizer.processor.encode(text, out_type=str)
    for piece, token_id, start, end in zip(pieces, tokens.token_ids, tokens.starts, tokens.ends, strict=True):
        if token_id == UNKNOWN_ID or not tokenizer.processor.is_byte(int(token_id) - 1):
            # Between its neighbours the normaliser may compose or drop what it keeps in a text by itself.
            shown = unicodedata.normalize("NFKC", text[start:end]).replace(" ", "")
            core = piece.replace("\u2581", "")
            assert core in shown.replace("\u2581", "") or core in tokenizer.processor.normalize(text[start:end])


@given(text=texts)
def test_nothing_that_is_seen_is_lost(tokenizers, text):
    """Every character that is neither white space nor dropped by the normaliser belongs to a token."""
    tokens = tokenize_with_offsets(tokenizers["unigram"], text)
    covered = set()
    for start, end in zip(tokens.starts, tokens.ends, strict=True):
        covered.update(range(start, end))
    assert {place for place, sign in enumerate(text) if sign not in tokens.spaces} <= covered


def test_they_equal_sentencepieces_own_where_a_character_is_one_character(tokenizer):
    """Its offsets are bytes of UTF-8 from release 0.2.2 on, and characters before; here both are one."""
    for text in ("the old  house, beside\tthe river ", "a", " x y"):
        tokens = tokenize_with_offsets(tokenizer, text)
        encoded = getattr(tokenizer.processor, "EncodeAsProto", None) or tokenizer.processor.EncodeAsImmutableProto
        pieces = encoded(text).pieces
        assert [(piece.begin, piece.end) for piece in pieces] == list(zip(tokens.starts, tokens.ends, strict=True))


@pytest.mark.parametrize(
    ("text", "span", "answer"),
    [
        ("der Fluss fließt", "Fluss", "Fluss"),
        ("  der  Fluss ", "  Fluss ", "Fluss"),
        ("½ km", "½", "½"),
        ("дом e\u0301 x", "e\u0301", "e\u0301"),
        ("中文\u200b。", "中文", "中文"),
        ("a \u200b b", "\u200b b", "b"),
    ],
)
def test_from_characters_to_tokens_and_back(tokenizers, text, span, answer):
    tokens = tokenize_with_offsets(tokenizers["bytes"], text)
    start = text.index(span)
    first, last = tokens.tokens_of(start, start + len(span))
    start, end = tokens.characters_of(first, last)
    assert text[start:end] == answer


def test_a_text_without_tokens_and_a_range_without_any(tokenizer):
    for text in ("", " \n ", "\u200b"):
        tokens = tokenize_with_offsets(tokenizer, text)
        assert len(tokens) == 0 and tokens.tokens_of(0, len(text)) is None
    assert tokenize_with_offsets(tokenizer, "a  b").tokens_of(1, 3) is None


def test_a_tokenizer_whose_pieces_are_another_text_is_refused(tokenizer, monkeypatch):
    class Other:
        def __getattr__(self, name):
            return getattr(sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto), name)

        def normalize(self, text, with_offsets=False):
            return ("x", [0, 1]) if with_offsets else "x"

    other = Tokenizer(tokenizer.proto, "other.model")
    other.__dict__["processor"] = Other()
    with pytest.raises(InputError, match="other.model: its pieces are not the text"):
        tokenize_with_offsets(other, "the house")
