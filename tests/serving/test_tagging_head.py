"""The served tagger: the words that Python finds, the tags that fine-tuning gives them, and their places."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning.tagging import encode_words
from infoxlm_keras.models import TokenClassification
from infoxlm_keras.serving import TaggingModule, export_tagging
from tiny_export import POSITIONS, TEXTS

LABELS = ["O", "B-PER", "I-PER", "B-LOC"]
MAX_LENGTH = 16
# Python's str.split takes these for white space, Unicode's property White_Space does not.
SEPARATORS = re.compile("[\x1c-\x1f]")


@pytest.fixture(scope="module")
def tagger(tiny_masked_lm):
    model = TokenClassification(tiny_masked_lm.backbone, len(LABELS))
    generator = np.random.default_rng(3)
    kernel = model.output_dense.kernel
    kernel.assign(generator.normal(0, 1, kernel.shape))
    return model


@pytest.fixture(scope="module")
def module(tagger, tokenizer):
    return TaggingModule(tagger, tokenizer, LABELS, MAX_LENGTH)


@pytest.fixture(scope="module")
def signatures(module):
    return module.signatures()


@pytest.fixture(scope="module")
def export(tagger, tokenizer, tmp_path_factory):
    return export_tagging(tagger, tokenizer, LABELS, tmp_path_factory.mktemp("tagger"))


def expected_answer(tagger, tokenizer, sentences, max_length=MAX_LENGTH):
    """(tags, probabilities) of each sentence, lists of str, by what training tokenizes with."""
    inputs, firsts = encode_words(tokenizer, sentences, max_length)
    logits = np.asarray(tagger(inputs, training=False), np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    found = []
    for row, (places, words) in enumerate(zip(firsts, sentences, strict=True)):
        best = probabilities[row, places]
        missing = len(words) - len(places)
        found.append(
            (
                [LABELS[number] for number in best.argmax(axis=-1)] + ["O"] * missing,
                [*best.max(axis=-1, initial=0), *[0.0] * missing],
            )
        )
    return found


def check(answer, texts, sentences, expected):
    """Asserts the outputs of a signature for `texts` (str), whose words are `sentences`."""
    answer = {name: value.numpy() for name, value in answer.items()}
    columns = max(map(len, sentences), default=0)
    assert {value.shape for value in answer.values()} == {(len(texts), columns)}
    for row, (text, words, (tags, probabilities)) in enumerate(zip(texts, sentences, expected, strict=True)):
        count = len(words)
        assert [word.decode() for word in answer["words"][row]] == words + [""] * (columns - count)
        # Random logits are never equally likely.
        assert [tag.decode() for tag in answer["tags"][row]] == tags + [""] * (columns - count)
        np.testing.assert_allclose(answer["score"][row, :count], probabilities, atol=1e-5)
        places = zip(*(answer[name][row, :count] for name in ("start", "end", "start_byte", "end_byte")), strict=True)
        for word, (start, end, start_byte, end_byte) in zip(words, places, strict=True):
            assert text[start:end] == word
            assert text.encode()[start_byte:end_byte].decode() == word
        for name in ("score", "start", "end", "start_byte", "end_byte"):
            assert (answer[name][row, count:] == 0).all()


white_space = [character for character in map(chr, range(0x10000)) if character.isspace()]
characters = st.one_of(st.characters(codec="utf-8"), st.sampled_from(white_space), st.sampled_from("ab\u6771\u200b"))
words_of_text = st.text(characters, max_size=24).map(lambda text: SEPARATORS.sub(" ", text))


@given(texts=st.lists(words_of_text, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_text(signatures, tagger, tokenizer, texts):
    sentences = [text.split() for text in texts]
    answer = signatures["serving_default"](text=tf.constant(texts, tf.string))
    check(answer, texts, sentences, expected_answer(tagger, tokenizer, sentences))


@given(sentences=st.lists(st.lists(words_of_text.map(lambda word: word.replace("\t", " ")), max_size=6), max_size=4))
@settings(max_examples=60, deadline=None)
def test_words_with_spaces_in_them(signatures, tagger, tokenizer, sentences):
    texts = ["\t".join(words) for words in sentences]
    sentences = [[word for word in words if word] for words in sentences]
    answer = signatures["words"](words=tf.constant(texts, tf.string))
    check(answer, texts, sentences, expected_answer(tagger, tokenizer, sentences))


def test_words_beyond_the_longest_input_are_answered_unread(signatures, tagger, tokenizer):
    words = "The file could not be opened by anyone on this computer , and nobody in the city knows why".split()
    texts = [" ".join(words[:count]) for count in range(len(words) + 1)] + ["a " * 10_000 + "z"]
    sentences = [text.split() for text in texts]
    expected = expected_answer(tagger, tokenizer, sentences)
    answer = signatures["serving_default"](text=tf.constant(texts))
    check(answer, texts, sentences, expected)
    scores = answer["score"].numpy()
    assert (scores[-1, :10] > 0).all() and (scores[-1, MAX_LENGTH:] == 0).all()
    # A word that does not fit ends what is read, even if a shorter one behind it would fit.
    long = " ".join(["file", "incomprehensibilities" * 8, "file"])
    answer = signatures["serving_default"](text=tf.constant([long]))
    assert (answer["score"].numpy() > 0).tolist() == [[True, False, False]]


def test_a_row_does_not_depend_on_its_batch(signatures):
    together = {name: value.numpy() for name, value in signatures["serving_default"](text=tf.constant(TEXTS)).items()}
    for row, text in enumerate(TEXTS):
        alone = {
            name: value.numpy()[0] for name, value in signatures["serving_default"](text=tf.constant([text])).items()
        }
        for name, value in alone.items():
            if value.dtype == object:
                assert (together[name][row, : len(value)] == value).all()
            else:
                np.testing.assert_allclose(together[name][row, : len(value)], value, atol=1e-5)


def test_the_saved_model(export, tagger, tokenizer):
    """The file in a fresh process equals Keras (`export_tagging` checks it); its words do too."""
    assert export.max_difference < 1e-5
    assert export.facts["head"] == "tagging" and export.facts["labels"] == LABELS
    loaded = tf.saved_model.load(str(export.directory))
    texts = ["Anna lives in  Paris", "北京 は 遠い", "invalid \ufffd bytes", ""]
    sentences = [text.split() for text in texts]
    answer = loaded.signatures["serving_default"](text=tf.constant([text.encode() for text in texts]))
    check(answer, texts, sentences, expected_answer(tagger, tokenizer, sentences, POSITIONS))
    raw = loaded.signatures["serving_default"](text=tf.constant([b"invalid \xff bytes"]))
    assert raw["words"].numpy()[0, 1].decode() == "\ufffd"


@pytest.mark.parametrize("labels", [["O"], ["O", "B", "B", "C"], ["O", "", "B", "C"], "OBIE"])
def test_labels_that_are_no_names_of_the_outputs(tagger, tokenizer, labels):
    with pytest.raises(InputError, match="must be 4 different names"):
        TaggingModule(tagger, tokenizer, labels)
