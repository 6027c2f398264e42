"""`X.en-de.en` + `X.en-de.de` (also compressed, or both in a `.zip`): line n of one file translates line n of the
other (Moses, OPUS)."""

import dataclasses
import itertools
from collections.abc import Iterator

from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import HEAD_BYTES, format_remedy, looks_like_text
from infoxlm_keras.text.readers.chunks import Chunk, LineStream, count_lines, decode_lines
from infoxlm_keras.text.readers.reader import Text

# Single translations can differ much in length. If two of three consecutive lines differ by more than this ratio, the
# files are misaligned.
SHIFTED_RATIO = 2.5
SHIFTED_WINDOW = 3


@dataclasses.dataclass(frozen=True)
class MosesPairs:
    """Pairs in two files of equally many lines; implements `reader.Reader`.

    Args:
        name: str, the pair.
        files: the two paths, or the path of the ZIP archive that holds both.
        members: names of the two inside the archive.
    """

    name: str
    files: tuple[str, ...]
    members: tuple[str, str] | None = None

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: both files, in either direction."""
        return [Text(self.files, frozenset(self.members or ()))]

    def chunks(self) -> Iterator[Chunk]:
        """Yields `Chunk`s with equally many lines of both files.

        Raises:
            InputError: when one file ends before the other; says how many lines each has, and where they seem
                to differ first.
        """
        first_line, position = 1, 0
        with self._stream(0) as sources, self._stream(1) as targets:
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

    def read(self, chunk: Chunk) -> list[tuple[str, str]]:
        """List of (source, target), without surrounding white space."""
        sides = (
            [line.strip() for line in decode_lines(body, self._stream(side).place, chunk.first_line)]
            for side, body in enumerate(chunk.bodies)
        )
        return list(zip(*sides, strict=True))

    def _stream(self, side):
        if self.members:
            return LineStream(self.files[0], self.members[side])
        return LineStream(self.files[side])

    def _fail(self, source_lines, target_lines):
        for side in (0, 1):
            with self._stream(side) as stream:
                head = stream.read(HEAD_BYTES)
            # The number of its lines says nothing about a file that is not text.
            if not looks_like_text(head) and (remedy := format_remedy(head, stream.place)):
                raise InputError(f"{stream.place}: is not plain text; {remedy}")
        source, target = self._stream(0).place, self._stream(1).place
        line = self._first_unlike()
        raise InputError(
            f"{source}: has {source_lines} lines, but its other side {target} has {target_lines}; their lengths first "
            f"differ too much at line {line}: line n of both must be a pair, so fetch both files again, or cut both "
            "to the lines that are aligned"
        )

    def _first_unlike(self):
        """Number of the first of some lines whose lengths are `SHIFTED_RATIO` apart, or of the line where a file ends.

        Lengths are in characters, relative to the files' own ratio so far: Chinese is shorter than German.
        """
        with self._stream(0) as sources, self._stream(1) as targets:
            lengths = zip(_lengths(sources), _lengths(targets), strict=False)
            recent, source_total, target_total = [], 0, 0
            for number in itertools.count(1):
                pair = next(lengths, None)
                if pair is None:
                    return number
                recent.append(pair)
                if len(recent) < SHIFTED_WINDOW:
                    continue
                usual = source_total / target_total if source_total and target_total else 1.0
                ratios = [(source + 1) / (target + 1) / usual for source, target in recent]
                if sum(max(ratio, 1 / ratio) > SHIFTED_RATIO for ratio in ratios) > SHIFTED_WINDOW // 2:
                    unlike = [max(ratio, 1 / ratio) > SHIFTED_RATIO for ratio in ratios]
                    return number - SHIFTED_WINDOW + 1 + unlike.index(True)
                source, target = recent.pop(0)
                source_total += source
                target_total += target


def _lengths(stream):
    """Yields the length of each line, in characters."""
    while line := stream.read_lines(1):
        yield len(line[0].decode("utf-8", "replace").strip())
