"""The output of both clients: checks of answers, and one JSON line for each text."""

import base64
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from infoxlm_keras.command_line import one_line
from infoxlm_keras.errors import InputError

# No batch of texts has a longer answer, so a longer one does not come from such a model.
MOST_ANSWER_BYTES = 1 << 28
DEEPEST_VALUE = 8
BRIEF_CHARACTERS = 300


def check_answers(place: str, answers: object, count: int) -> None:
    """Raises `InputError`, with `place` in front, unless `answers` is a valid answer of a model.

    Args:
        place: str, address of the server.
        answers: output name -> list of `count` values, of equal shape: nested lists of numbers, or of text: str,
            bytes, or `{"b64": str}`. No output of these models is a truth value.
        count: int, rows that were sent.
    """
    if not isinstance(answers, dict) or not answers:
        raise InputError(f"{place}: the server answered no output; is it this model?")
    for name, values in answers.items():
        named = brief(name)
        if not isinstance(values, list):
            raise InputError(f"{place}: the server answered {named} without a row for each text; is it this model?")
        if len(values) != count:
            raise InputError(
                f"{place}: the server answered {len(values)} rows of {named} to {count} texts; is it this model?"
            )
        kinds: set[str] = set()
        shapes = {_shape(value, f"{place}: {named}", kinds) for value in values}
        if len(kinds) > 1:
            raise InputError(f"{place}: the server answered {named} with numbers and text; is it this model?")
        if len(shapes) != 1:
            raise InputError(f"{place}: the server answered {named} with rows of different shapes; is it this model?")


# Many readers end a line at these, which JSON leaves as they are.
LINE_SEPARATORS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def print_answers(answers: Mapping[str, Sequence[Any]], count: int) -> None:
    """Prints one JSON object a row of checked answers (`check_answers`)."""
    for row in range(count):
        answer = {name: readable(values[row]) for name, values in answers.items()}
        line = json.dumps(answer, ensure_ascii=False).translate(LINE_SEPARATORS)
        try:
            line.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            # JSON's escapes preserve every character.
            line = json.dumps(answer)
        print(line)
    sys.stdout.flush()


def readable(value: Any) -> Any:
    """`value` for JSON: bytes as text, or as {"b64": ...} if they are not UTF-8."""
    if isinstance(value, list):
        return [readable(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return value


def brief(text: object) -> str:
    """`text` of a server as part of a message: one line, not long."""
    line = one_line(str(text)[: 10 * BRIEF_CHARACTERS])
    return line if len(line) <= BRIEF_CHARACTERS else line[:BRIEF_CHARACTERS] + "..."


def _shape(value, place, kinds, depth=0):
    """The shape of nested lists, a tuple of int; all lists of one level must have one shape.

    `kinds` gets what the values are: "number", "text".
    """
    if isinstance(value, list):
        if depth == DEEPEST_VALUE:
            raise InputError(f"{place}: the server answered lists nested more than {DEEPEST_VALUE} deep")
        shapes = {_shape(item, place, kinds, depth + 1) for item in value}
        if len(shapes) > 1:
            raise InputError(f"{place}: the server answered lists of different shapes; is it this model?")
        return (len(value), *(shapes.pop() if shapes else ()))
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place}: the server answered {value}, which is no number; is the model in order?")
    encoded = isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)
    if isinstance(value, bool):
        raise InputError(f"{place}: the server answered {value}, which is no number; is it this model?")
    if not isinstance(value, int | float | str | bytes) and not encoded:
        raise InputError(f"{place}: the server answered {brief(repr(value))}, which is no value of a tensor")
    kinds.add("number" if isinstance(value, int | float) else "text")
    return ()
