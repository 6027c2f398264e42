"""Scores of answers: hand-made cases, symmetries, and real gold answers against themselves."""

import os
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from answer_cases import CASES
from infoxlm_keras.evaluation.answer_scores import RULES, answer_scores, answer_tokens
from infoxlm_keras.text.questions import read_questions

EVERY = [
    (language, rules, *case[:2], *scores)
    for language, cases in CASES.items()
    for case in cases
    for rules, scores in zip(RULES, case[2:], strict=False)
]


def test_there_are_enough_hand_made_cases():
    assert len(CASES) == 12 and len(EVERY) >= 150


@pytest.mark.parametrize("language", CASES)
def test_hand_made_answers(language):
    for name, rules, prediction, golds, exact, f1 in EVERY:
        if name == language:
            expected = {"exact_match": exact, "f1": pytest.approx(f1)}
            assert answer_scores(prediction, golds, rules, language) == expected, (rules, prediction, golds)


def test_the_best_gold_answer_counts_for_each_score_by_itself():
    assert answer_scores("old bridge", ["the old bridge, of stone", "bridge"]) == {
        "exact_match": 0.0,
        "f1": pytest.approx(2 / 3),
    }
    assert answer_scores("x", ["y", "x"])["exact_match"] == 1.0


def test_variants_of_chinese_and_languages_that_mlqa_lacks():
    assert answer_tokens("河流 DVB", "mlqa", "zh_Hant") == ["河", "流", "dvb"]
    assert answer_tokens("Το «σπίτι»", "mlqa", "el") == ["το", "σπίτι"]
    assert answer_tokens("der Fluss", "mlqa", "nl") == ["der", "fluss"]


@settings(max_examples=40)
@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(RULES), st.sampled_from(sorted(CASES)))
def test_scores_are_symmetric_and_an_exact_match_of_words_has_f1_of_one(one, other, rules, language):
    scores = answer_scores(one, [other], rules, language)
    assert scores == answer_scores(other, [one], rules, language)
    assert 0 <= scores["f1"] <= 1
    if scores["exact_match"]:
        assert scores["f1"] == (1 if answer_tokens(one, rules, language) else 0)


@pytest.mark.skipif("INFOXLM_EVAL_DATA" not in os.environ, reason="INFOXLM_EVAL_DATA names no folder with xquad/")
def test_the_gold_answers_of_xquad_score_one_against_themselves():
    parts = read_questions(sorted((pathlib.Path(os.environ["INFOXLM_EVAL_DATA"]) / "xquad").glob("*.json")))
    assert [len(part) for part in parts] == [1190] * 12
    perfect = {"exact_match": 1.0, "f1": 1.0}
    for part in parts:
        assert not part.misplaced and not part.left_out
        for question in part.questions:
            for rules in RULES:
                assert answer_scores(question.answers[0], question.answers, rules, part.language) == perfect
