"""Finds the columns of a tab-separated file that hold text, for the advice in messages."""

import collections
import re
from collections.abc import Sequence

# Lines that are looked at.
ROWS = 500
# With fewer lines, a column of numbers is not reported: it may be text.
LEAST_ROWS = 10
URL = re.compile(r"[a-z]+://\S*|www\.\S*", re.IGNORECASE)
# One word with a digit in it: row12, 2021-03-01, 0a1b-77.
KEY = re.compile(r"(?=\S*\d)[!-~]+")
EXAMPLE_CHARACTERS = 20


def is_number(text: str) -> bool:
    """Whether `text` (str) is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def text_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Numbers, from 0, of the columns of `rows` (list of lists of str, all of one length) that hold sentences.

    Not text: numbers, addresses, keys, and the same few words in every row.
    """
    found = []
    for number, column in enumerate(zip(*rows, strict=True)):
        values = [value.strip() for value in column if value.strip()]
        labels = len(values) > 2 and len(set(values)) <= max(1, len(values) // 4)
        if values and not labels and not all(map(_no_text, values)):
            found.append(number)
    return found


def columns_advice(lines: list[str], line: str) -> str:
    """Advice about `line` (str), which does not have two columns, among the `lines` (list of str) of its file."""
    rows = [text.split("\t") for text in lines[:ROWS] if text.strip()]
    usual = collections.Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    if usual == 2:
        return "others have two: remove the line, or what is too much or missing in it"
    columns = line.split("\t")
    if len(columns) == 1:
        return "separate source and target by one tab"
    rows = [row for row in rows if len(row) == len(columns)] or [columns]
    texts = text_columns(rows)
    if len(texts) == 2:
        numbers = ",".join(str(number + 1) for number in texts)
        advice = f"the text is in columns {numbers.replace(',', ' and ')}: keep these two with `cut -f{numbers}`"
        if texts == [1, 2] and len(columns) == 3 and all(is_number(row[0]) for row in rows):
            advice += ", or put `WikiMatrix.` before the file's name to leave out pairs whose score is below --margin"
        return advice
    shown = ", ".join(f"{number} {text[:EXAMPLE_CHARACTERS]!r}" for number, text in enumerate(columns, start=1))
    return f"find which two are source and target ({shown}) and keep these with `cut -f`"


def column_of_numbers(rows: Sequence[tuple[str, str]]) -> int | None:
    """The number, from 1, of a column of `rows` (list of (str, str)) that holds nothing but numbers; or None."""
    if len(rows) >= LEAST_ROWS:
        for number, column in enumerate(zip(*rows, strict=True), start=1):
            if all(map(is_number, column)):
                return number
    return None


def _no_text(value):
    return is_number(value) or bool(URL.fullmatch(value) or KEY.fullmatch(value))
