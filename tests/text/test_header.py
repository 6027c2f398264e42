"""First lines that name the columns of a file of pairs, and those that are pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers.header import is_header
from sample_text import sentences


@pytest.mark.parametrize(
    ("first", "second", "pair"),
    [
        ("source", "target", "en-de"),
        ('"source"', '"target"', "en-de"),
        ("SOURCE TEXT", "TARGET TEXT", "en-de"),
        ("source_text", "target_text", "en-de"),
        ("src", "tgt", "en-de"),
        ("source", "translation", "en-de"),
        ("Sentence 1", "Sentence 2", "en-de"),
        ("sentence1", "sentence2", "en-de"),
        ("text_a", "text_b", "en-de"),
        ("en", "de", "en-de"),
        ("EN", "deu", "en-de"),
        ("# en", "de", "en-de"),
        ("English", "German", "en-de"),
        ("sentence_en", "sentence_de", "en-de"),
        ("translation.en", "translation.de", "en-de"),
        ("en_text", "de_text", "en-de"),
        ("pt", "pt-BR", "pt-pt_BR"),
        ("en", "zh-TW", "en-zh"),
        ("en", "zh_Hant", "en-zh_Hant"),
        ("en", "pt", "en-pt_BR"),
    ],
)
def test_names_of_columns(first, second, pair):
    assert is_header((first, second), pair, "x.tsv: line 1")
    assert not is_header((first, "The file could not be opened."), pair, "x.tsv: line 1")


@pytest.mark.parametrize(
    ("first", "second"),
    [("de", "en"), ("German", "English"), ("target", "source"), ("tgt", "src"), ("text_de", "text_en")],
)
def test_names_in_the_other_order_are_refused(first, second):
    message = f"x.tsv: line 1: names the columns '{first}' and '{second}', .*says en, then de; rename it to de-en"
    with pytest.raises(InputError, match=message):
        is_header((first, second), "en-de", "x.tsv: line 1")


@pytest.mark.parametrize(
    ("first", "second"),
    [("", ""), ("en", ""), ("", "de"), ("en", "fr"), ("Open", "\u00d6ffnen"), ("2", "1"), ("1", "2"), ("a", "b")],
)
def test_pairs_are_no_headers(first, second):
    assert not is_header((first, second), "en-de", "x.tsv: line 1")


def test_sentences_are_no_headers():
    for pair in zip(sentences("en", 200), sentences("de", 200), strict=True):
        assert not is_header(pair, "en-de", "x.tsv: line 1")


@given(first=st.text(max_size=60), second=st.text(max_size=60))
def test_any_text_is_answered(first, second):
    assert is_header((first, second), "en-de", "x.tsv: line 1") in (True, False)
