"""F1 of spans: figures of seqeval for hand-made sequences, and what any tags fulfil."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.evaluation.tag_scores import span_f1, tag_accuracy, tag_spans
from tag_cases import CASES

tag = st.sampled_from("O B-A I-A E-A S-A B-B I-B NOUN X SCONJ INTJ .".split())


def sentences(text):
    return [sentence.split() for sentence in text.split("|")]


def test_there_are_enough_hand_made_sequences():
    assert len(CASES) >= 50


@pytest.mark.parametrize(("gold", "predicted", "precision", "recall", "f1"), CASES)
def test_they_are_seqevals_figures(gold, predicted, precision, recall, f1):
    expected = {"precision": precision, "recall": recall, "f1": f1}
    assert span_f1(sentences(gold), sentences(predicted)) == pytest.approx(expected, abs=1e-3)


def test_the_spans_of_a_sentence():
    assert tag_spans("B-PER I-PER O I-LOC".split()) == [("PER", 0, 1), ("LOC", 3, 3)]
    assert tag_spans("NOUN NOUN VERB".split()) == [("OUN", 0, 1), ("ERB", 2, 2)]
    assert tag_spans([]) == []


@given(st.lists(st.lists(tag, min_size=1, max_size=5), max_size=4))
def test_tags_are_right_against_themselves(gold):
    scores = span_f1(gold, gold)
    marked = bool(tag_spans([tag for tags in gold for tag in (*tags, "O")]))
    assert scores == dict.fromkeys(("precision", "recall", "f1"), float(marked))
    assert tag_accuracy(gold, gold) == float(any(gold))


def test_sequences_of_other_lengths_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="sentence 1 has 2 gold tags and 1 predicted ones"):
        span_f1([["O"], ["O", "O"]], [["O"], ["O"]])
    assert tag_accuracy([["B-A", "O"], ["O", "O"]], [["B-A", "O"], ["B-A", "O"]]) == 0.75
