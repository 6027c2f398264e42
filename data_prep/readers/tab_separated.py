"""`<src>-<tgt>.tsv[.gz|.xz]`: a pair a line, source and target separated by one tab."""

import dataclasses

from data_prep.readers.chunks import decode_lines, file_chunks
from infoxlm_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class TabSeparatedPairs:
    """Pairs in one file; the interface is described in `data_prep.readers`."""

    name: str
    files: tuple[str]

    def chunks(self):
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk):
        """List of (source, target), without surrounding white space; a blank line is a pair of empty sides."""
        path, pairs = self.files[0], []
        for index, line in enumerate(decode_lines(chunk.bodies[0], path, chunk.first_line)):
            columns = line.split("\t") if line.strip() else ("", "")
            if len(columns) != 2:
                remedy = "keep two with `cut -f1,2`" if len(columns) > 2 else "separate source and target by one tab"
                raise InputError(
                    f"{path}: line {chunk.first_line + index}: has {len(columns)} column(s), but source and target "
                    f"make two; {remedy}"
                )
            pairs.append((columns[0].strip(), columns[1].strip()))
        return pairs
