"""`<lang>.txt` (also compressed): one sentence a line, a blank line between documents (CC-100's layout)."""

import dataclasses

from infoxlm_keras.text.readers.chunks import decode_lines, file_chunks


@dataclasses.dataclass(frozen=True)
class MonolingualText:
    """Sentences of one language in one file; the interface is described in `infoxlm_keras.text.readers`."""

    name: str
    files: tuple[str]

    def chunks(self):
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk):
        """List of str: the sentences without surrounding white space, "" where a document ends."""
        return [line.strip() for line in decode_lines(chunk.bodies[0], self.files[0], chunk.first_line)]
