"""The interface of a record encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from infoxlm_keras.annotations import Array
    from infoxlm_keras.building.encoded_chunk import EncodedChunk
    from infoxlm_keras.text.cleaning import Cleaning
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.reader import Reader
    from infoxlm_keras.tokenizer import Tokenizer


class Encoder(Protocol):
    """Turns a chunk of text into records. Workers run it, so it is picklable and a pure function of the chunk.

    If `deduplicate` is true, the encoder also has a method `digests(reader, chunk)`, which returns uint64
    [sentences], and a call takes a third argument, bool [sentences]: the sentences that repeat an earlier one of the
    same name. The call leaves these out.

    Attributes:
        tokenizer: `Tokenizer`.
        cleaning: `Cleaning` or None.
        deduplicate: bool.
    """

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def cleaning(self) -> Cleaning | None: ...

    @property
    def deduplicate(self) -> bool: ...

    def __call__(self, reader: Reader, chunk: Chunk, /) -> EncodedChunk: ...


class SentenceEncoder(Encoder, Protocol):
    """An `Encoder` that can leave out repeated sentences."""

    def digests(self, reader: Reader, chunk: Chunk, /) -> Array: ...

    def __call__(self, reader: Reader, chunk: Chunk, repeated: Array | None = None, /) -> EncodedChunk: ...
