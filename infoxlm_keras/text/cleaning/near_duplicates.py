"""Keys that near duplicates share: MinHash signatures of shingles, cut into bands (locality-sensitive hashing).

Two texts whose sets of shingles have the Jaccard similarity s share a key with probability 1 - (1 - s^r)^b, for b
bands of r rows (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4). With 9 bands of 13 rows that is
0.001 at s = 0.5, 0.08 at 0.7, 0.40 at 0.8, 0.92 at 0.9 and 0.998 at 0.95.
"""

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.optional_library import import_library

PURPOSE = "Detection of near duplicates (--near_duplicates)"
KEY_BYTES = 8
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """Makes keys of texts or of blocks of token ids.

    Args:
        bands: int, keys a text.
        rows: int, MinHash values in a key.
        shingle: int, characters (or token ids) in a shingle.
        seed: int, of the MinHash functions.
    """

    bands: int = 9
    rows: int = 13
    shingle: int = 5
    seed: int = 1

    def text_keys(self, texts: Iterable[str]) -> list[tuple[bytes, ...]]:
        """List of tuple of `bands` bytes, one a text; an empty tuple for a text shorter than a shingle.

        Case and white space do not count.

        Raises:
            InputError: if rensa is not installed.
        """
        folded = [" ".join(text.casefold().split()) for text in texts]
        # surrogatepass: half a surrogate pair is a code point like any other here.
        units = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
        return self.keys(units, np.cumsum([0, *map(len, folded)]))

    def keys(self, units: Array, offsets: Array) -> list[tuple[bytes, ...]]:
        """List of tuple of `bands` bytes, one a row; an empty tuple for a row shorter than a shingle.

        Args:
            units: non-negative int array [n], all rows one after another: code points, or token ids.
            offsets: int array [rows + 1], where each begins.

        Raises:
            InputError: if rensa is not installed.
        """
        rensa = import_library("rensa", PURPOSE)
        hashes, counts = _shingle_hashes(units, np.asarray(offsets), self.shingle)
        full = np.flatnonzero(counts)
        keys: list[tuple[bytes, ...]] = [()] * len(counts)
        if len(full):
            bounds = np.concatenate([[0], np.cumsum(counts[full])]).astype(np.uint64)
            matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
                hashes, bounds, self.bands * self.rows, self.seed
            )
            for row, digest in zip(full.tolist(), matrix.to_rows(), strict=True):
                keys[row] = self._band_keys(np.array(digest, "<u8"))
        return keys

    def _band_keys(self, digest):
        return tuple(
            # The salt gives equal values in different bands different keys.
            hashlib.blake2b(band.tobytes(), digest_size=KEY_BYTES, salt=bytes([index])).digest()
            for index, band in enumerate(digest.reshape(self.bands, self.rows))
        )


def _shingle_hashes(units, offsets, width):
    """(uint64 [shingles], int64 [rows]): hashes of all `width` neighbours within a row; how many each row has."""
    units = np.asarray(units).astype(np.uint64)
    counts = np.maximum(np.diff(offsets) - width + 1, 0)
    if not counts.sum():
        return np.zeros(0, np.uint64), counts
    hashes = np.zeros(len(units) - width + 1, np.uint64)
    for place in range(width):
        hashes = (hashes * _MULTIPLIER) ^ (units[place : len(hashes) + place] + np.uint64(1))
        # The low bits of a product do not depend on the high bits of its factors.
        hashes ^= hashes >> np.uint64(29)
    starts = np.repeat(np.asarray(offsets[:-1]), counts)
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return hashes[starts + places], counts
