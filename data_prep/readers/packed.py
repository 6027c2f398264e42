"""Records of formats that are not lines of text, as chunks: parsed in the main process, packed for the workers.

A chunk ends with the record that fills it, so its bounds depend on the input only.
"""

import collections
import dataclasses
import json

from data_prep.readers import chunks
from infoxlm_keras.errors import InputError


class Texts(list):
    """What a reader read: sentences or pairs, and `dropped`, a Counter of reason to what it left out."""

    def __init__(self, texts=(), dropped=()):
        super().__init__(texts)
        self.dropped = collections.Counter(dropped)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Stands for a record that is left out, and counted under `reason`."""

    reason: str


def packed_chunks(records, position):
    """Yields `Chunk`s of about `CHUNK_BYTES`.

    Args:
        records: iterable of (number, texts): the record's number or line, for messages; a list of its sentences
            (str) or its one pair (tuple of two str), or a `LeftOut`.
        position: callable, bytes of the input read so far.
    """
    first, texts, dropped, size, before = None, [], collections.Counter(), 0, 0

    def chunk():
        body = json.dumps({"texts": texts, "dropped": dropped}, ensure_ascii=False).encode()
        return chunks.Chunk(first, (body,), position() - before)

    for number, record in records:
        first = number if first is None else first
        if isinstance(record, LeftOut):
            dropped[record.reason] += 1
        elif isinstance(record, tuple):
            texts.append(record)
            size += sum(map(len, record))
        else:
            texts += record
            size += sum(map(len, record))
        # A record left out takes no room, but a run of them must not grow without end.
        if size + len(texts) + dropped.total() >= chunks.CHUNK_BYTES:
            yield chunk()
            first, texts, dropped, size, before = None, [], collections.Counter(), 0, position()
    if first is not None:
        yield chunk()


def unpack(chunk):
    """`Texts` of a chunk from `packed_chunks`."""
    content = json.loads(chunk.bodies[0])
    texts = (tuple(text) if isinstance(text, list) else text for text in content["texts"])
    return Texts(texts, content["dropped"])


def one_line(text):
    """`text` without surrounding white space, and with a space for any run of it inside that breaks a line."""
    return " ".join(part for part in map(str.strip, text.splitlines()) if part)


def check_text(text, place):
    """Raises `InputError` if `text` holds NUL, or half of a surrogate pair (JSON allows both as escapes)."""
    if "\0" in text:
        raise InputError(f"{place}: holds a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: is not valid Unicode ({error.reason}); remove it") from None
    return text
