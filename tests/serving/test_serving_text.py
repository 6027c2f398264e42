"""Strings to ids in the graph: the same ids as the Python tokenizer gives, for any bytes."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.serving import MaskedTextToIds, TextToIds
from sample_text import multilingual_sentences, sentences

MAX_LENGTH = 16
TEXTS = [
    *multilingual_sentences(12),
    "",
    " ",
    "   a \t b\n\nc  ",
    "\x00\x01\x7f\u200b\u200d\ufeff",
    "a\x00b",
    "\ufeffhouse",
    "👩‍👩‍👧‍👦🏳️‍🌈 grün 🇩🇪",
    "e\u0301 é \ufb01 ﷺ 1⁄2 Ⅷ",
    "\u202ereversed\u202c",
    "תעודה مرحبا ไม่มีช่องว่าง 안녕",
    "\U0010ffff\U000e0001\ue000\ufffd\uffff",
    "<s> </s> <pad> <unk> <mask>",
]


@pytest.fixture(scope="module")
def text_to_ids(tokenizer):
    return TextToIds(tokenizer, MAX_LENGTH)


def expected_ids(tokenizer, texts, max_length=MAX_LENGTH):
    """`<s> ... </s>` of each text (bytes) by SentencePiece's Python package, cut to `max_length`."""
    decoded = [text.decode("utf-8", "replace") for text in texts]
    return [[0, *token_ids[: max_length - 2], 2] for token_ids in tokenizer.encode(decoded)]


def graph_ids(text_to_ids, texts):
    """The unpadded rows of `text_to_ids`, after checking that padding is 1 and comes last."""
    token_ids, padding_mask = (tensor.numpy() for tensor in text_to_ids(tf.constant(texts, tf.string)))
    assert token_ids.dtype == padding_mask.dtype == "int32"
    assert set(padding_mask.ravel()) <= {0, 1}
    lengths = padding_mask.sum(axis=1)
    for row, mask, length in zip(token_ids, padding_mask, lengths, strict=True):
        assert mask[:length].all()
        assert (row[length:] == 1).all()
    assert token_ids.shape[1] == max(lengths)  # padded to the longest, no further
    return [row[:length].tolist() for row, length in zip(token_ids, lengths, strict=True)]


def test_ids_equal_the_python_tokenizer(text_to_ids, tokenizer):
    texts = [text.encode() for text in TEXTS]
    assert graph_ids(text_to_ids, texts) == expected_ids(tokenizer, texts)


def test_layout_of_special_ids(text_to_ids, tokenizer):
    unknown = next(text for text in ("\U0001f3f4", "ᚠ") if tokenizer.encode([text])[0][-1:] == [3])
    assert graph_ids(text_to_ids, [b""]) == [[0, 2]]
    assert graph_ids(text_to_ids, [unknown.encode()])[0][-2:] == [3, 2]


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"a\x80b",
        b"\xed\xa0\x80",
        b"cut \xe2\x82",
        b"\xf0\x9f\x98",
        b"\xc0\xaf",
        b"\xf8\x88\x80\x80\x80",
    ],
)
def test_invalid_utf8_is_read_as_python_reads_it(text_to_ids, tokenizer, text):
    assert graph_ids(text_to_ids, [text]) == expected_ids(tokenizer, [text])


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_the_same_ids(text_to_ids, tokenizer, texts):
    assert graph_ids(text_to_ids, texts) == expected_ids(tokenizer, texts)


@pytest.mark.parametrize("language", ["en", "ru", "hi", "zh"])
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_long_text_is_that_of_the_whole_string(text_to_ids, tokenizer, language, cut):
    text = " ".join(sentences(language, 300) * 20).encode()[cut : 100_000 + cut]
    assert len(text) == 100_000
    rows = graph_ids(text_to_ids, [text])
    assert rows == expected_ids(tokenizer, [text])
    assert len(rows[0]) == MAX_LENGTH
    assert (rows[0][0], rows[0][-1]) == (0, 2)


def test_truncation_keeps_the_end_token(tokenizer):
    text = b"the house river bridge"
    whole = tokenizer.encode([text.decode()])[0]
    for max_length in range(3, len(whole) + 4):
        [row] = graph_ids(TextToIds(tokenizer, max_length), [text])
        assert row == [0, *whole[: max_length - 2], 2]


def test_byte_cut_leaves_no_broken_character(text_to_ids):
    # A cut at `max_bytes` falls inside one of these three-byte characters for two of the three offsets.
    for offset in range(3):
        [clean] = text_to_ids.clean(tf.constant([b"x" * offset + "房".encode() * text_to_ids.max_bytes])).numpy()
        text = clean.decode("utf-8")  # valid
        assert text == "x" * offset + "房" * ((text_to_ids.max_bytes - offset) // 3)
    # What is not cut keeps its bad bytes as U+FFFD.
    assert text_to_ids.clean(tf.constant([b"a\xe6\x88"])).numpy()[0].decode() == "a\N{REPLACEMENT CHARACTER}"


def test_byte_cut_holds_as_many_longest_pieces_as_tokens(text_to_ids, tokenizer):
    pieces = [tokenizer.processor.id_to_piece(piece) for piece in range(tokenizer.vocabulary_size - 2)]
    assert text_to_ids.max_bytes >= MAX_LENGTH * max(len(piece.encode()) for piece in pieces)
    assert text_to_ids.max_bytes < 100_000


def test_empty_batch(text_to_ids, tokenizer):
    for graph in (text_to_ids, MaskedTextToIds(tokenizer, MAX_LENGTH)):
        token_ids, padding_mask = graph(tf.constant([], tf.string))
        assert token_ids.shape[0] == padding_mask.shape[0] == 0


def test_mask_is_text_for_one_and_an_id_for_the_other(text_to_ids, tokenizer):
    mask_id = tokenizer.vocabulary_size - 1
    texts = [b"the <mask> opens", b"<mask>", b"<mask><mask> door", b"no mask", b"", b"a <mask> <MASK>"]
    assert not any(mask_id in row for row in graph_ids(text_to_ids, texts))
    encode = tokenizer.encode
    assert graph_ids(MaskedTextToIds(tokenizer, 64), texts) == [
        [0, *encode(["the "])[0], mask_id, *encode([" opens"])[0], 2],
        [0, mask_id, 2],
        [0, mask_id, mask_id, *encode([" door"])[0], 2],
        [0, *encode(["no mask"])[0], 2],
        [0, 2],
        [0, *encode(["a "])[0], mask_id, *encode([" <MASK>"])[0], 2],
    ]


def test_mask_text_is_cut_to_the_limit(tokenizer):
    [row] = graph_ids(MaskedTextToIds(tokenizer, 5), [b"<mask>" * 50_000])
    assert row == [0, *[tokenizer.vocabulary_size - 1] * 3, 2]


@pytest.mark.parametrize("max_length", [-1, 0, 2])
def test_too_short_a_limit_is_refused(tokenizer, max_length):
    with pytest.raises(InputError, match=f"max_length = {max_length}: must be at least 3"):
        TextToIds(tokenizer, max_length)
