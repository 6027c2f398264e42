"""Records of formats that are not lines of text, as chunks: parsed in the main process, packed for the workers.

A chunk ends with the record that fills it, so its bounds depend on the input only.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers import chunks

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk

# Reasons of records without anything to read: they count as passed over, not as dropped.
OTHER_LANGUAGES, OTHER_VARIANTS = "other_languages", "other_variants"
OBSOLETE, PLURAL_FORM = "obsolete", "plural_form"
# Such a text has a code that stands for no language; the code follows the reason.
UNKNOWN_LANGUAGE = "unknown_language"
PASSED_OVER = (OTHER_LANGUAGES, OTHER_VARIANTS, OBSOLETE, PLURAL_FORM, UNKNOWN_LANGUAGE)


class Texts(list[Any]):
    """What a reader read: sentences or pairs, and `dropped`, a Counter of reason to what it left out."""

    def __init__(self, texts: Iterable[Any] = (), dropped: Mapping[str, int] | Iterable[str] = ()) -> None:
        super().__init__(texts)
        self.dropped = collections.Counter(dropped)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Stands for a record that is left out, and counted under `reason`."""

    reason: str


def is_passed_over(reason: str) -> bool:
    """Whether a record that is left out for `reason` (str) counts as passed over; else it counts as dropped."""
    return reason.partition(" ")[0] in PASSED_OVER


def passed_over_among(dropped: Mapping[str, int]) -> dict[str, int]:
    """The part of `dropped` (mapping of reason to int) that counts as passed over, in the order of `PASSED_OVER`."""
    reasons = sorted(reason for reason, number in dropped.items() if number and is_passed_over(reason))
    reasons.sort(key=lambda reason: PASSED_OVER.index(reason.partition(" ")[0]))
    return {reason: dropped[reason] for reason in reasons}


# What a record gives: one pair, a list of sentences or of pairs, or nothing.
Record: TypeAlias = tuple[str, str] | list[str] | list[tuple[str, str]] | LeftOut


def add_record(texts: Texts, record: Record) -> int:
    """Adds what was found in a record to `texts` (a `Texts`); returns the number of characters added.

    Args:
        texts: `Texts`.
        record: a list of sentences (str) or of pairs (tuple of two str), one pair, or a `LeftOut`.
    """
    if isinstance(record, LeftOut):
        texts.dropped[record.reason] += 1
        return 0
    found = [record] if isinstance(record, tuple) else record
    texts += found
    return sum(sum(map(len, text)) if isinstance(text, tuple) else len(text) for text in found)


def packed_chunks(records: Iterable[tuple[int, Record]], position: Callable[[], int]) -> Iterator[Chunk]:
    """Yields `Chunk`s of about `CHUNK_BYTES`.

    Args:
        records: iterable of (number, record): the record's number or line, for messages; and what `add_record` takes.
        position: callable, bytes of the input read so far.
    """
    first: int | None = None
    texts, size, before = Texts(), 0, 0

    def chunk(first: int) -> Chunk:
        body = json.dumps({"texts": texts, "dropped": texts.dropped}, ensure_ascii=False).encode()
        return chunks.Chunk(first, (body,), position() - before)

    for number, record in records:
        first = number if first is None else first
        size += add_record(texts, record)
        # Dropped records add no text, but they count towards the size, so that a chunk stays bounded. Records that
        # are passed over do not count: chunk bounds determine the order of the records, which must not change.
        passed_over = sum(number for reason, number in texts.dropped.items() if is_passed_over(reason))
        if size + len(texts) + texts.dropped.total() - passed_over >= chunks.CHUNK_BYTES:
            yield chunk(first)
            first, texts, size, before = None, Texts(), 0, position()
    if first is not None:
        yield chunk(first)


def unpack(chunk: Chunk) -> Texts:
    """`Texts` of a chunk from `packed_chunks`."""
    content = json.loads(chunk.bodies[0])
    texts = (tuple(text) if isinstance(text, list) else text for text in content["texts"])
    return Texts(texts, content["dropped"])


def one_line(text: str) -> str:
    """`text` without surrounding white space, and with one space for each run of it that breaks a line."""
    return " ".join(part for part in map(str.strip, text.splitlines()) if part)


def check_text(text: str, place: str) -> str:
    """Raises `InputError` if `text` holds NUL, or half of a surrogate pair (JSON allows both as escapes)."""
    if "\0" in text:
        raise InputError(f"{place}: holds a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: is not valid Unicode ({error.reason}); remove it") from None
    return text
