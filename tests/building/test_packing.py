"""Packing whole sentences into blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.building.packing import pack_sentences
from infoxlm_keras.errors import InputError

START, END = 0, 2


def pack_one_by_one(sentences, length, breaks):
    """The definition, sentence by sentence: the oracle."""
    pieces, piece_breaks = [], set()
    for number, sentence in enumerate(sentences, start=1):
        for start in range(0, len(sentence), length - 2):
            pieces.append(sentence[start : start + length - 2])
        if number in breaks:
            piece_breaks.add(len(pieces))
    blocks = []
    for number, piece in enumerate(pieces):
        if not blocks or len(blocks[-1]) + len(piece) + 1 > length or number in piece_breaks:
            blocks.append([START])
        blocks[-1] += [*piece, END]
    return blocks


def pack(sentences, length, breaks=()):
    flat = np.array([token for sentence in sentences for token in sentence], np.int32)
    blocks, offsets = pack_sentences(flat, [len(sentence) for sentence in sentences], length, breaks)
    assert offsets[0] == 0 and offsets[-1] == len(blocks)
    return [blocks[start:end].tolist() for start, end in zip(offsets[:-1], offsets[1:], strict=True)]


@st.composite
def texts(draw):
    lengths = draw(st.lists(st.integers(1, 40), max_size=30))
    # Every token different, so that a lost, doubled or moved one shows.
    ends = np.cumsum([10, *lengths]).tolist()
    sentences = [list(range(start, end)) for start, end in zip(ends[:-1], ends[1:], strict=True)]
    breaks = sorted(draw(st.sets(st.integers(1, len(lengths))))) if lengths else []
    return sentences, draw(st.integers(3, 30)), breaks


@given(texts())
def test_equals_packing_one_by_one(text):
    sentences, length, breaks = text
    assert pack(sentences, length, breaks) == pack_one_by_one(sentences, length, breaks)


@given(texts())
def test_no_token_is_lost_and_order_is_kept(text):
    sentences, length, breaks = text
    blocks = pack(sentences, length, breaks)
    tokens = [token for block in blocks for token in block if token not in (START, END)]
    assert tokens == [token for sentence in sentences for token in sentence]


@given(texts())
def test_only_sentences_longer_than_a_block_are_cut(text):
    sentences, length, breaks = text
    packed = []
    for block in pack(sentences, length, breaks):
        assert len(block) <= length
        assert block[0] == START and block[-1] == END and START not in block[1:]
        inner, piece = block[1:], []
        for token in inner:
            if token == END:
                packed.append(piece)
                piece = []
            else:
                piece.append(token)
    for sentence in sentences:
        if len(sentence) <= length - 2:
            assert sentence in packed


@given(texts())
def test_a_block_ends_only_when_the_next_sentence_does_not_fit(text):
    sentences, length, _ = text
    blocks = pack(sentences, length)
    for block, following in zip(blocks, blocks[1:], strict=False):
        first_piece = following.index(END)  # its tokens and their end marker
        assert len(block) + first_piece > length


def test_documents_end_blocks():
    sentences = [[10, 11], [12], [13], [14, 15]]
    assert pack(sentences, 512) == [[0, 10, 11, 2, 12, 2, 13, 2, 14, 15, 2]]
    assert pack(sentences, 512, breaks=[2]) == [[0, 10, 11, 2, 12, 2], [0, 13, 2, 14, 15, 2]]


def test_a_long_sentence_fills_consecutive_blocks_and_its_rest_is_packed_on():
    assert pack([[10], list(range(20, 27)), [11]], 5) == [
        [0, 10, 2],
        [0, 20, 21, 22, 2],
        [0, 23, 24, 25, 2],
        [0, 26, 2, 11, 2],
    ]


def test_no_text_makes_no_block():
    assert pack([], 16) == []


def test_a_block_too_short_for_one_token_is_refused():
    with pytest.raises(InputError, match="--sequence_length 2: must be at least 3"):
        pack([[10]], 2)
