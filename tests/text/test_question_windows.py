"""Windows of questions: their layout, the windows that hold an answer, and the way back to text."""

import io
import os
import pathlib

import numpy as np
import pytest
import sentencepiece

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.question_windows import (
    IN_NO_WINDOW,
    NO_TOKENS,
    NOT_AT_ITS_PLACE,
    answer_targets,
    question_windows,
    window_starts,
)
from infoxlm_keras.text.questions import Question, read_questions
from infoxlm_keras.tokenizer import Tokenizer
from sample_text import sentences


def question(context, answer=None, start=None, asked="where?"):
    answer = context.split()[0] if answer is None else answer
    return Question("q", asked, context, (answer,), (context.index(answer) if start is None else start,))


def test_every_token_of_the_context_is_in_a_window_behind_the_question(tokenizer):
    contexts = [" ".join(sentences(language, 6)) for language in ("en", "ru", "de")] + ["the house", "\u200b"]
    questions = [question(context, context[:1], 0, "the river " * 9) for context in contexts]
    windows = question_windows(tokenizer, questions, max_length=40, stride=7, max_question=12)
    assert windows.cut == list(range(5))
    assert sorted(set(windows.rows.tolist())) == list(range(5)) and windows.token_ids.shape[1] == 40
    asked = tokenizer.encode("the river " * 9)[:12]
    for window, (row, place, first, count) in enumerate(
        zip(windows.rows, windows.places, windows.firsts, windows.counts, strict=True)
    ):
        ids = tokenizer.encode(contexts[row])
        expected = [0, *asked, 2, 2, *ids[first : first + 24], 2]
        assert windows.token_ids[window].tolist() == expected + [1] * (40 - len(expected))
        assert windows.padding_mask[window].sum() == len(expected)
        assert place == 15 and count == len(ids[first : first + 24])
    for row, context in enumerate(contexts):
        mine = windows.rows == row
        seen = {
            token
            for first, count in zip(windows.firsts[mine], windows.counts[mine], strict=True)
            for token in range(first, first + count)
        }
        assert seen == set(range(len(tokenizer.encode(context))))
        assert set(np.diff(windows.firsts[mine])) <= {7}


def test_windows_follow_each_other_by_the_stride_but_leave_no_gap():
    assert window_starts(10, 10, 4) == [0]
    assert window_starts(11, 10, 4) == [0, 4]
    assert window_starts(25, 10, 100) == [0, 10, 20]
    assert window_starts(0, 10, 4) == [0]


def test_targets_are_the_answer_in_each_window_that_holds_all_of_it(tokenizer):
    context = " ".join(sentences("en", 12))
    answer = "the old flows"
    questions = [
        question(context, answer),
        question(context, "stands", 27),
        Question("q", "x", context, ("nowhere", answer), (None, context.index(answer))),
        question("the \u200b house", "\u200b"),
        question(context, context),
        Question("q", "x", context, ("nowhere",), (None,)),
    ]
    windows = question_windows(tokenizer, questions, max_length=48, stride=8, max_question=8)
    targets, passed_over = answer_targets(questions, windows)
    assert passed_over == {3: NO_TOKENS, 4: IN_NO_WINDOW, 5: NOT_AT_ITS_PLACE}
    for row in (0, 1, 2):
        tokens = windows.contexts[row].tokens_of(
            *((27, 33) if row == 1 else (context.index(answer), context.index(answer) + len(answer)))
        )
        held = 0
        for window in np.flatnonzero(windows.rows == row):
            inside = (
                windows.firsts[window] <= tokens[0] and tokens[1] < windows.firsts[window] + windows.counts[window]
            )
            assert (targets[window, 0] > 0) == inside and targets[window, 0] <= targets[window, 1]
            if inside:
                text = windows.text(window, *targets[window])
                assert text.replace(" ", "") in context.replace(" ", "")
                assert (answer if row != 1 else context[27:33]) in text
                held += 1
            else:
                assert targets[window].tolist() == [0, 0]
        assert held
    for row in passed_over:
        assert (targets[windows.rows == row] == -1).all()


@pytest.mark.parametrize("options", [{"max_length": 12}, {"stride": 0}, {"max_question": 0}])
def test_a_window_without_room_is_refused(tokenizer, options):
    with pytest.raises(InputError, match="a window needs room for a question"):
        question_windows(tokenizer, [question("the house")], **{"max_length": 30, "max_question": 8, **options})


@pytest.mark.skipif("INFOXLM_EVAL_DATA" not in os.environ, reason="INFOXLM_EVAL_DATA names no folder with xquad/")
@pytest.mark.slow
def test_every_answer_of_xquad_comes_back_from_its_window():
    """With a vocabulary of single characters no token reaches over the border of an answer: all 14,280 come back."""
    parts = read_questions(sorted((pathlib.Path(os.environ["INFOXLM_EVAL_DATA"]) / "xquad").glob("*.json")))
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter({question.context for part in parts for question in part.questions}),
        model_writer=writer,
        model_type="char",
        vocab_size=20_000,
        hard_vocab_limit=False,
        character_coverage=1.0,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
        max_sentence_length=1 << 20,
    )
    tokenizer = Tokenizer(writer.getvalue())
    for part in parts:
        windows = question_windows(tokenizer, part.questions, max_length=1000)
        targets, passed_over = answer_targets(part.questions, windows)
        assert not passed_over
        found = {
            windows.rows[window]
            for window in np.flatnonzero(targets[:, 0] > 0)
            if windows.text(window, *targets[window]) == part.questions[windows.rows[window]].answers[0].strip()
        }
        assert len(found) == 1190, part.language
