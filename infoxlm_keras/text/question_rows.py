"""Questions as rows, the form in which the Hugging Face `datasets` library keeps SQuAD, XQuAD, MLQA and TyDiQA-GoldP.

    {"id": ..., "context": ..., "question": ..., "answers": {"text": [...], "answer_start": [...]}}

The file is JSON lines, one JSON list, or Parquet. Of other columns only SQuAD 2.0's `is_impossible` is read.
"""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers.chunks import LineStream
from infoxlm_keras.text.readers.inputs import plain_name
from infoxlm_keras.text.sample_files import SampleFile

COLUMNS = ("id", "context", "question", "answers")
NEEDED = COLUMNS[1:]
READ = (*COLUMNS, "is_impossible")
HEAD_BYTES = 1 << 20
# Of a first line that is no whole object: in SQuAD's own form "data" and "paragraphs" come before the others.
KEY = re.compile(rb'"(data|paragraphs|context|question|answers)"\s*:')
ROW_KEYS = (b"context", b"question", b"answers")


def has_rows(path: pathlib.Path) -> bool:
    """Whether a file holds a row a question, and not one object of SQuAD's own form."""
    name = plain_name(path).lower()
    if name.endswith((".parquet", ".jsonl")):
        return True
    with LineStream(str(path)) as stream:
        head = stream.read(HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"["):
        return True
    try:
        content = json.loads(head.partition(b"\n")[0])
    except ValueError:
        first = KEY.search(head)
        return first is not None and first[1] in ROW_KEYS
    return isinstance(content, dict) and "question" in content and not _holds_articles(content.get("data"))


def _holds_articles(value):
    """Whether the list `data` is SQuAD's own."""
    return isinstance(value, list) and any(isinstance(article, dict) and "paragraphs" in article for article in value)


def question_rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, row) of each question, its answers in SQuAD's own form: a list of `{"text", "answer_start"}`.

    Raises:
        InputError: for a damaged file or row, one without context, question or answers, or answers of another form.
    """
    file = SampleFile(pathlib.Path(path), READ.__contains__)
    for place, row in file.rows:
        for name in NEEDED:
            if name not in row:
                raise InputError(f"{place}: lacks {name}; a row of questions has {', '.join(COLUMNS)}")
        yield place, {**row, "answers": _answers(row["answers"], place)}


def _answers(value, place):
    if value is None or isinstance(value, list):
        return value
    texts, starts = (value.get(name) if isinstance(value, dict) else None for name in ("text", "answer_start"))
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise InputError(
            f"{place}: answers must hold two lists of one length, text and answer_start, or be a list of "
            '{"text": ..., "answer_start": ...}'
        )
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
