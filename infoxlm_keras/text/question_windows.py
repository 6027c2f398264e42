"""Questions as rows of token ids: `<s> question </s></s> part of the context </s>`, and back to text.

A context that does not fit beside its question is read in windows, each `stride` tokens after the one before (Devlin
et al., 2019; `doc_stride` of BERT's and XTREME's scripts).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.character_offsets import TokenizedText, tokenize_with_offsets
from infoxlm_keras.text.questions import Question
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID, Tokenizer

SPECIAL_TOKENS = 4
# Why no window of a question can teach its answer.
NOT_AT_ITS_PLACE = "an answer that is not at its offset"
NO_TOKENS = "an answer without tokens"
IN_NO_WINDOW = "an answer that fits in no window"


@dataclasses.dataclass(frozen=True)
class QuestionWindows:
    """Windows of questions.

    Attributes:
        token_ids, padding_mask: int32 [windows, length].
        rows: int32 [windows], the number of the question; ascending, every question has a window.
        places: int32 [windows], where in the row the context begins.
        firsts: int32 [windows], number of the context's token that is there.
        counts: int32 [windows], tokens of the context in the window; 0 for a context without tokens.
        contexts: list of `TokenizedText`, one a question.
        cut: list of int, the numbers of questions that were cut to `max_question` tokens.
    """

    token_ids: Array
    padding_mask: Array
    rows: Array
    places: Array
    firsts: Array
    counts: Array
    contexts: list[TokenizedText]
    cut: list[int]

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, window: int, first: int, last: int) -> str:
        """The part of the context (str) that tokens `first` to `last` (both included) of a row stand for."""
        context = self.contexts[self.rows[window]]
        move = int(self.firsts[window] - self.places[window])
        start, end = context.characters_of(first + move, last + move)
        return context.text[start:end]


def question_windows(
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    max_length: int = 384,
    stride: int = 128,
    max_question: int = 64,
) -> QuestionWindows:
    """The windows of `questions`.

    Args:
        tokenizer: `Tokenizer`.
        questions: list of `Question`.
        max_length: int, tokens of the longest row.
        stride: int, tokens from one window of a context to the next. Where a window holds fewer, it is that many.
        max_question: int, tokens that a question is cut to.

    Returns:
        `QuestionWindows`; rows have the length of the longest, rounded up to a multiple of 8, at most `max_length`.

    Raises:
        InputError: if `max_length` leaves no room for a context beside `max_question` tokens.
    """
    if stride < 1 or max_question < 1 or max_length <= max_question + SPECIAL_TOKENS:
        raise InputError(
            f"max_length = {max_length}, max_question = {max_question}, stride = {stride}: a window needs room for a "
            f"question, {SPECIAL_TOKENS} special tokens and a part of the text; stride and max_question are at least 1"
        )
    known: dict[str, TokenizedText] = {}
    asked = tokenizer.encode([question.question for question in questions])
    contexts, cut, rows, facts = [], [], [], []
    for number, (question, ids) in enumerate(zip(questions, asked, strict=True)):
        if question.context not in known:
            known[question.context] = tokenize_with_offsets(tokenizer, question.context)
        context = known[question.context]
        contexts.append(context)
        if len(ids) > max_question:
            cut.append(number)
            ids = ids[:max_question]
        before = [START_ID, *ids, END_ID, END_ID]
        room = max_length - SPECIAL_TOKENS - len(ids)
        for first in window_starts(len(context), room, stride):
            part = context.token_ids[first : first + room]
            rows.append(np.concatenate([before, part, [END_ID]], dtype=np.int32))
            facts.append((number, len(before), first, len(part)))
    length = min(max_length, -(-max(map(len, rows), default=8) // 8) * 8)
    token_ids = np.full((len(rows), length), PAD_ID, np.int32)
    mask = np.zeros_like(token_ids)
    for place, row in enumerate(rows):
        token_ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    numbers, places, firsts, counts = np.array(facts, np.int32).reshape(-1, 4).T
    return QuestionWindows(token_ids, mask, numbers, places, firsts, counts, contexts, cut)


def window_starts(tokens: int, room: int, stride: int) -> list[int]:
    """The numbers of the first tokens of the windows of a context of `tokens` tokens, of which `room` fit in each."""
    starts = [0]
    while starts[-1] + room < tokens:
        starts.append(starts[-1] + min(room, stride))
    return starts


def answer_targets(questions: Sequence[Question], windows: QuestionWindows) -> tuple[Array, dict[int, str]]:
    """Where in each window the first gold answer that can be found begins and ends.

    Args:
        questions: list of `Question`, those of `windows`.
        windows: `QuestionWindows`.

    Returns:
        (targets, passed_over): int32 [windows, 2], first and last token of the answer in the row; (0, 0), the token
        `<s>`, in a window that does not hold the whole answer; (-1, -1) in all windows of a question that is passed
        over. And {number of the question: reason}, which are passed over.
    """
    targets = np.zeros((len(windows), 2), np.int32)
    passed_over = {}
    windows_of = np.split(np.arange(len(windows)), np.searchsorted(windows.rows, np.arange(1, len(questions))))
    for number, question in enumerate(questions):
        spans = [
            windows.contexts[number].tokens_of(start, start + len(answer))
            for answer, start in zip(question.answers, question.starts, strict=True)
            if start is not None
        ]
        span = next(filter(None, spans), None)
        if span is None:
            passed_over[number] = NO_TOKENS if spans else NOT_AT_ITS_PLACE
            targets[windows_of[number]] = -1
            continue
        found = False
        for window in windows_of[number]:
            first, last = (token - windows.firsts[window] for token in span)
            if first >= 0 and last < windows.counts[window]:
                targets[window] = windows.places[window] + first, windows.places[window] + last
                found = True
        if not found:
            passed_over[number] = IN_NO_WINDOW
            targets[windows_of[number]] = -1
    return targets, passed_over
