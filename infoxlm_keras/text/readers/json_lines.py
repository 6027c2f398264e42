"""`.jsonl` (also compressed): a JSON object a line, a document or a pair each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.files.parser_errors import parsing
from infoxlm_keras.files.text_and_json import load_json
from infoxlm_keras.text.readers.chunks import decode_lines, file_chunks
from infoxlm_keras.text.readers.fields import DocumentField, PairFields
from infoxlm_keras.text.readers.packed import Texts, add_record
from infoxlm_keras.text.readers.reader import Text

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """Documents or pairs in one file; implements `reader.Reader`.

    Args:
        name: str, a language or a pair.
        files: tuple of one path.
        fields: `DocumentField` or `PairFields`, finds the text in an object.
    """

    name: str
    files: tuple[str, ...]
    fields: DocumentField | PairFields

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: of each file what `fields` finds in it."""
        return [Text((file,), self.fields.part) for file in self.files]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of str, "" where a document ends; or of (source, target). A blank line is passed over."""
        path, texts = self.files[0], Texts()
        for number, line in enumerate(decode_lines(chunk.bodies[0], path, chunk.first_line), start=chunk.first_line):
            if line.strip():
                place = f"{path}: line {number}"
                add_record(texts, self.fields(parse_object(line, place), place))
        return texts


def parse_object(line: str, place: str) -> dict[str, Any]:
    """The JSON object in `line` (str), dict; `InputError` that begins with `place` for anything else.

    An object with a key twice is an error, too: one of its two texts would be lost.
    """
    with parsing(place, "valid JSON", "a line must hold one whole object with each key once"):
        record = load_json(line)
    if not isinstance(record, dict):
        raise InputError(f"{place}: is a JSON {type(record).__name__}, not an object with named fields")
    return record
