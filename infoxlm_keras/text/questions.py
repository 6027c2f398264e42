"""Questions on texts with their answers, from files in SQuAD's form: SQuAD 1.1, XQuAD, MLQA, TyDiQA-GoldP.

    {"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ...,
        "answers": [{"text": ..., "answer_start": ...}]}]}]}]}

or in rows, as the Hugging Face `datasets` library keeps them: see question_rows.py.

The language of a file is, by the first of these that says one:

    SQuAD's own names       `train-v1.1.json`, `dev-v1.1.json`: en
    MLQA's names            `test-context-de-question-en.json`: de-en, languages of text and question; de where
                            both are equal
    translated training     `squad.translate.train.en-de.json`, `de_squad-translate-train-train-v1.1.json`: de
    TyDiQA's first release  `tydiqa-goldp-v1.1-dev.json`: that of each question, the begin of its id (`finnish-12-1`)
    a part of the name      `xquad.ar.json`, `tydiqa.goldp.ar.dev.json`; else the folder's name (`ar/test.json`)

Left out and counted for each file: questions without a gold answer, without words or with an empty text, and SQuAD
2.0's that have no answer. An answer that is not found at its offset stays gold for scores, and has no place for
training.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.text.question_rows import has_rows, question_rows
from infoxlm_keras.text.readers.inputs import path_kind, plain_name, refuse_compressed
from infoxlm_keras.text.readers.packed import check_text
from infoxlm_keras.text.sample_columns import language_of_file, named_language

MLQA_NAME = re.compile(r"(?:dev|test)-context-([a-z]+)-question-([a-z]+)\.json")
# The languages of a text and of its question. Not a language with a country, which is written `de-DE`.
MLQA_PAIR = re.compile(r"[a-z]{2}-[a-z]{2}")
MLQA_TRANSLATED = re.compile(r"translate-test-context-.*\.json")
SQUAD_NAME = re.compile(r"(?:train|dev)-v[12]\.[01]\.json")
TRANSLATED_NAMES = (
    re.compile(r".*translate\.(?:train|dev|test)\.[a-z]+-([a-z]+)\.json"),
    re.compile(r"([a-z]+)_squad-translate-train-.*\.json"),
)
TYDIQA_NAME = re.compile(r"tydiqa-goldp-.*\.json")
TYDIQA_LANGUAGES = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "japanese": "ja",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
    "thai": "th",
}
# Rules by which answers are compared: SQuAD's, and MLQA's for files that are named like its own.
SQUAD_RULES, MLQA_RULES = "squad", "mlqa"
UNKNOWN_LANGUAGE = "unknown"
NO_ANSWER = "no gold answer"
NO_POSSIBLE_ANSWER = "no possible answer (is_impossible)"
NO_QUESTION = "an empty question"
NO_CONTEXT = "an empty context"


@dataclasses.dataclass(frozen=True)
class Question:
    """A question on a text.

    Attributes:
        id: str.
        question, context: str.
        answers: tuple of str, the gold answers, at least one.
        starts: tuple of int or None, the character of `context` where each answer begins; None if it is not there.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int | None, ...]


@dataclasses.dataclass
class Questions:
    """The questions of one language.

    Attributes:
        language: str; `de-en` for texts in German with questions in English.
        answer_language: str, the language of the texts, and so of the answers.
        rules: `SQUAD_RULES` or `MLQA_RULES`.
        questions: list of `Question`.
        files: list of str, where they were read.
        reasons: {file: {reason: questions}}, what was left out and why.
        misplaced: {file: list of str}, ids of questions with an answer that is not found at its offset.
    """

    language: str
    answer_language: str
    rules: str = SQUAD_RULES
    questions: list[Question] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    reasons: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    misplaced: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def left_out(self) -> int:
        """int, questions that were left out."""
        return sum(sum(counts.values()) for counts in self.reasons.values())


def read_questions(
    paths: Iterable[PathLike], languages: Iterable[str] | None = None, max_samples: int | None = None
) -> list[Questions]:
    """Reads questions in SQuAD's form, or in rows.

    Args:
        paths: sequence of str or path, files as above; those of one language are joined in this order.
        languages: optional collection of str, the only languages to take, under any of their codes.
        max_samples: int or None, maximum number of questions of each language; the first ones are taken.

    Returns:
        list of `Questions`, sorted by language.

    Raises:
        InputError: for a file that is missing, given twice, in another form, or whose language is not to be known; for
            an id that comes twice in a language; for a language without a question that has an answer.
    """
    if max_samples is not None and max_samples < 1:
        raise InputError(f"max_samples = {max_samples}: must be at least 1")
    files = [pathlib.Path(path) for path in paths]
    for path, times in collections.Counter(path.resolve() for path in files).items():
        if times > 1:
            raise InputError(f"{path}: is given {times} times; give each file once")
    wanted = (
        None
        if languages is None
        else [code if MLQA_PAIR.fullmatch(code) else named_language(code) for code in languages]
    )
    found: dict[str, Questions] = {}
    seen: dict[tuple[str, str], pathlib.Path] = {}
    for path in files:
        language_of = _Language(path)
        for place, context, entry in _entries(path):
            name = _id(entry, place)
            language, answer_language = language_of(name, place)
            if wanted is not None and language not in wanted:
                continue
            if (language, name) in seen:
                raise InputError(f"{place}: this id comes twice, the first time in {seen[language, name]}; remove one")
            seen[language, name] = path
            part = found.setdefault(language, Questions(language, answer_language, language_of.rules))
            if part.rules != language_of.rules:
                raise InputError(
                    f"{path}: its answers are compared by the rules of {language_of.rules}, but those of "
                    f"{part.files[0]} by the rules of {part.rules}; give files of {language} with one rule at a time"
                )
            _add(part, path, place, name, context, entry, max_samples)
    _check_found(found, files, wanted)
    return [found[name] for name in sorted(found)]


class _Language:
    """The languages of the questions of a file: (language, language of the answers) of an id."""

    def __init__(self, path):
        self.path = path
        # Rows in `train-v1.1.jsonl` or `train-v1.1.parquet` have the language of `train-v1.1.json`.
        name = re.sub(r"\.(?:jsonl|parquet)$", ".json", plain_name(path).lower())
        self.rules = SQUAD_RULES
        self.from_ids = bool(TYDIQA_NAME.fullmatch(name))
        self.languages = None
        mlqa = MLQA_NAME.fullmatch(name)
        translated = [pattern.fullmatch(name) for pattern in TRANSLATED_NAMES]
        if mlqa:
            self.rules = MLQA_RULES
            context, question = map(named_language, mlqa.groups())
            self.languages = (context if context == question else f"{context}-{question}", context)
        elif MLQA_TRANSLATED.fullmatch(name):
            raise InputError(
                f"{path}: is MLQA's translate-test, whose texts are English in spite of its name; name it like "
                "translated-de.en.json to measure it as English"
            )
        elif SQUAD_NAME.fullmatch(name):
            self.languages = ("en", "en")
        elif any(translated):
            self.languages = (named_language(next(filter(None, translated))[1]),) * 2

    def __call__(self, name, place):
        if self.from_ids:
            language = TYDIQA_LANGUAGES.get(name.partition("-")[0])
            if language is None:
                raise InputError(
                    f"{place}: does not begin with the name of a language of TyDiQA ({', '.join(TYDIQA_LANGUAGES)}); "
                    "name the file like tydiqa.goldp.ar.dev.json, and keep one language in it"
                )
            return language, language
        if self.languages is None:
            language = language_of_file(self.path, otherwise=UNKNOWN_LANGUAGE)
            if language == UNKNOWN_LANGUAGE:
                raise InputError(
                    f"{self.path}: neither its name nor its folder's says the language; name it like xquad.ar.json, "
                    "or put it into a folder ar/"
                )
            self.languages = (language,) * 2
        return self.languages


def _entries(path: pathlib.Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields (place, context, entry) of each question."""
    kind = path_kind(path)
    if kind != "file":
        raise InputError(f"{path}: is a folder; give its files" if kind else f"{path}: no such file")
    if has_rows(path):
        for place, row in question_rows(path):
            name = row.get("id")
            yield f"{place}: question {name}" if _is_id(name) else place, _text(row, "context", place), row
        return
    refuse_compressed(path)
    content = read_json(path)
    number = 0
    for article, in_file in _list(content, "data", f"{path}"):
        for paragraph, in_article in _list(article, "paragraphs", in_file):
            context = _text(paragraph, "context", in_article)
            for entry, place in _list(paragraph, "qas", in_article):
                if not isinstance(entry, dict):
                    raise InputError(f"{place}: is a {type(entry).__name__}, not an object with id and question")
                number += 1
                name = entry.get("id")
                yield (f"{path}: question {name}" if _is_id(name) else place), context, entry
    if not number:
        raise InputError(f"{path}: holds no question")


def _list(value, name, place):
    """(element, its place) of each element of the list `name` of an object."""
    if not isinstance(value, dict) or not isinstance(value.get(name), list):
        raise InputError(
            f"{place}: lacks the list {name}; questions have SQuAD's form, "
            '{"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}, or are rows with id, context, question and '
            "answers"
        )
    return [(element, f"{place}: {name}[{number}]") for number, element in enumerate(value[name])]


def _is_id(value):
    return isinstance(value, str | int) and not isinstance(value, bool)


def _id(entry, place):
    """The id of a question as text; a whole number counts as its digits."""
    value = entry.get("id")
    return str(value) if _is_id(value) and not isinstance(value, str) else _text(entry, "id", place)


def _text(value, name, place):
    text = value.get(name) if isinstance(value, dict) else None
    if not isinstance(text, str):
        found = "nothing" if text is None else f"of type {type(text).__name__}"
        raise InputError(f"{place}: {name} is {found}, not text; write it as text, or remove the question")
    return check_text(text, f"{place}: {name}")


def _add(part, path, place, name, context, entry, max_samples):
    if str(path) not in part.files:
        part.files.append(str(path))
    question = _text(entry, "question", place)
    answers, starts = _answers(entry, context, place)
    reason = None
    if not context.strip():
        reason = NO_CONTEXT
    elif not question.strip():
        reason = NO_QUESTION
    elif _is_impossible(entry, place):
        reason = NO_POSSIBLE_ANSWER
    elif not answers:
        reason = NO_ANSWER
    if reason is not None:
        counts = part.reasons.setdefault(str(path), {})
        counts[reason] = counts.get(reason, 0) + 1
    elif max_samples is None or len(part) < max_samples:
        if None in starts:
            part.misplaced.setdefault(str(path), []).append(name)
        part.questions.append(Question(name, question, context, tuple(answers), tuple(starts)))


def _is_impossible(entry, place):
    value = entry.get("is_impossible")
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{place}: is_impossible is {value!r}; write true or false")
    return value is True


def _answers(entry, context, place):
    """(texts, starts) of the gold answers that are not empty."""
    answers = entry.get("answers")
    if answers is None:
        return [], []
    texts, starts = [], []
    for answer, here in _list(entry, "answers", place):
        text = _text(answer, "text", here)
        start = answer.get("answer_start")
        if isinstance(start, float) and start.is_integer():  # a column of numbers with a gap, as pandas writes it
            start = int(start)
        if isinstance(start, bool) or not isinstance(start, int | None):
            raise InputError(f"{here}: answer_start is {start!r}; give the number of a character")
        if text.strip():
            texts.append(text)
            at_its_place = start is not None and start >= 0 and context.startswith(text, start)
            starts.append(start if at_its_place else None)
    return texts, starts


def _check_found(found, paths, wanted):
    """Raises `InputError` for a language without questions."""
    expected = dict.fromkeys([*(wanted or ()), *found])
    empty = sorted(name for name in expected if not len(found.get(name, ())))
    if empty or not found:
        reasons: collections.Counter[str] = collections.Counter()
        for name in empty:
            for counts in found[name].reasons.values() if name in found else ():
                reasons.update(counts)
        told = "; left out: " + ", ".join(f"{count:,} x {reason}" for reason, count in reasons.items())
        raise InputError(
            f"{', '.join(map(str, paths))}: no question with a gold answer of {', '.join(empty) or 'any'}"
            f"{told if reasons else ''}"
        )
