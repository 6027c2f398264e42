"""The interface of a corpus reader."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk


class Text(NamedTuple):
    """What a reader reads; two readers with an equal one read the same text.

    Attributes:
        files: tuple of str, the paths that are read together, in any order.
        part: hashable, what of them is read: members of an archive, a split, languages; () for all.
    """

    files: tuple[str, ...]
    part: Hashable = ()


class Reader(Protocol):
    """One input of one stream, read in chunks.

    A reader is small and picklable: `chunks` runs in the main process, and `read` runs in a worker. A worker imports
    neither TensorFlow nor Keras. A reader that does not read each of its files alone and whole has a property `texts`
    (see `texts_of`), so that a text that is given twice is noticed.

    Attributes:
        name: str, the stream: a language (`de`), or a pair of languages (`en-de`).
        files: tuple of str, the paths that the reader reads.

    Example:
    ```python
    for reader in find_monolingual(["de.txt"]):
        for chunk in reader.chunks():
            sentences = reader.read(chunk)
    ```
    """

    @property
    def name(self) -> str: ...

    @property
    def files(self) -> tuple[str, ...]: ...

    def chunks(self) -> Iterator[Chunk]:
        """Yields the input's `Chunk`s in order. The same input always gives the same chunks.

        Raises:
            InputError: for input that is missing, damaged or in another format; names file and line.
        """
        ...

    def read(self, chunk: Chunk) -> list[Any]:
        """Decodes one chunk.

        Args:
            chunk: `Chunk`, one of `chunks()`.

        Returns:
            For a language, list of str: the sentences, and "" where a document ends. For a pair, list of (str, str).
            A `Texts` also counts in `dropped` what the reader left out, by reason.

        Raises:
            InputError: for bytes that are not UTF-8, or a record without the expected columns; names file and line.
        """
        ...


def texts_of(reader: Reader) -> Sequence[Text]:
    """The `Text`s of a reader: its `texts`, or else each of its files."""
    return getattr(reader, "texts", None) or [Text((file,)) for file in reader.files]
