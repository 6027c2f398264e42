"""`.jsonl` (also compressed): a JSON object a line, a document or a pair each."""

import dataclasses
import json

from data_prep.readers.chunks import decode_lines, file_chunks
from data_prep.readers.fields import DocumentField, PairFields
from infoxlm_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """Documents or pairs in one file; the interface is described in `data_prep.readers`.

    Args:
        name: str, a language or a pair.
        files: tuple of one path.
        fields: `DocumentField` or `PairFields`, finds the text in an object.
    """

    name: str
    files: tuple[str]
    fields: DocumentField | PairFields

    def chunks(self):
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk):
        """List of str, "" where a document ends; or list of (source, target). A blank line is passed over."""
        path, texts = self.files[0], []
        for number, line in enumerate(decode_lines(chunk.bodies[0], path, chunk.first_line), start=chunk.first_line):
            if line.strip():
                found = self.fields(_parse(line, f"{path}: line {number}"), f"{path}: line {number}")
                texts += found if isinstance(found, list) else [found]
        return texts


def _parse(line, place):
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: is not valid JSON ({error}); a line must hold one whole object") from None
    if not isinstance(record, dict):
        raise InputError(f"{place}: is a JSON {type(record).__name__}, not an object with named fields")
    return record
