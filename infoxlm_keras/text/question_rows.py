"""Questions as rows, the form in which the Hugging Face `datasets` library keeps SQuAD, XQuAD, MLQA and TyDiQA-GoldP.

    {"id": ..., "context": ..., "question": ..., "answers": {"text": [...], "answer_start": [...]}}

The file is JSON lines, one JSON list, or Parquet. Other columns are not read.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers.chunks import LineStream
from infoxlm_keras.text.readers.inputs import plain_name
from infoxlm_keras.text.sample_files import SampleFile

COLUMNS = ("id", "context", "question", "answers")
HEAD_BYTES = 1 << 20
# The first of these keys tells a row from SQuAD's own form, where "data" and "paragraphs" enclose the others.
KEY = re.compile(rb'"(data|paragraphs|context|question|answers)"\s*:')
ROW_KEYS = (b"context", b"question", b"answers")


def has_rows(path: pathlib.Path) -> bool:
    """Whether a file holds a row a question, and not one object of SQuAD's own form."""
    name = plain_name(path).lower()
    if name.endswith((".parquet", ".jsonl")):
        return True
    with LineStream(str(path)) as stream:
        head = stream.read(HEAD_BYTES)
    first = KEY.search(head)
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") or (first is not None and first[1] in ROW_KEYS)


def question_rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, row) of each question, its answers in SQuAD's own form: a list of `{"text", "answer_start"}`.

    Raises:
        InputError: for a damaged file or row, one without context or question, or answers of another form.
    """
    file = SampleFile(pathlib.Path(path), COLUMNS.__contains__)
    for place, row in file.rows:
        for name in COLUMNS[1:3]:
            if name not in row:
                raise InputError(f"{place}: lacks {name}; a row of questions has {', '.join(COLUMNS)}")
        yield place, {**row, "answers": _answers(row.get("answers"), place)}


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
