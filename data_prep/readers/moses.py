"""`X.en-de.en[.gz|.xz]` + `X.en-de.de[.gz|.xz]`: line n of one file translates line n of the other (Moses, OPUS)."""

import dataclasses

from data_prep.readers.chunks import Chunk, LineStream, count_lines, decode_lines
from infoxlm_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class MosesPairs:
    """Pairs in two files of equally many lines; the interface is described in `data_prep.readers`."""

    name: str
    files: tuple[str, str]

    def chunks(self):
        """Yields `Chunk`s with equally many lines of both files.

        Raises:
            InputError: when one file ends before the other; says how many lines each has.
        """
        source_path, target_path = self.files
        first_line, position = 1, 0
        with LineStream(source_path) as sources, LineStream(target_path) as targets:
            while body := sources.read_body():
                lines = count_lines(body)
                target_lines = targets.read_lines(lines)
                before = first_line - 1
                if len(target_lines) < lines:
                    self._fail(before + lines + sources.count_rest(), before + len(target_lines))
                previous, position = position, sources.position + targets.position
                yield Chunk(first_line, (body, b"".join(target_lines)), position - previous)
                first_line += lines
            if rest := targets.count_rest():
                self._fail(first_line - 1, first_line - 1 + rest)

    def read(self, chunk):
        """List of (source, target), without surrounding white space."""
        sides = (
            [line.strip() for line in decode_lines(body, path, chunk.first_line)]
            for body, path in zip(chunk.bodies, self.files, strict=True)
        )
        return list(zip(*sides, strict=True))

    def _fail(self, source_lines, target_lines):
        source_path, target_path = self.files
        raise InputError(
            f"{source_path}: has {source_lines} lines, but its other side {target_path} has {target_lines}; line n of "
            "both must be a pair: fetch both files again, or cut both to the lines that are aligned"
        )
