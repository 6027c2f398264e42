"""`<lang>.txt` (also compressed): one sentence a line, a blank line between documents (CC-100's layout)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.text.readers.chunks import decode_lines, file_chunks

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk


@dataclasses.dataclass(frozen=True)
class MonolingualText:
    """Sentences of one language in one file; implements `reader.Reader`."""

    name: str
    files: tuple[str, ...]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk: Chunk) -> list[str]:
        """List of str: the sentences without surrounding white space, "" where a document ends."""
        return [line.strip() for line in decode_lines(chunk.bodies[0], self.files[0], chunk.first_line)]
