"""Length buckets of pairs, as a property of the pure function that workers run."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.building.bitext_encoder import BitextEncoder


class OneTokenACharacter:
    """Stands in for the tokenizer: a token for each character but spaces."""

    def encode_ragged(self, lines):
        lines = [line.replace(" ", "") for line in lines]
        flat = [4 + ord(character) % 7 for line in lines for character in line]
        return np.array(flat, np.int32), np.array([len(line) for line in lines], np.int64)


class Pairs:
    """A reader of given pairs."""

    name = "de-en"

    def __init__(self, pairs):
        self.pairs = pairs

    def read(self, chunk):
        return self.pairs


SIDE = st.text("abc ", max_size=14)
BOUNDS = st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True).map(sorted)


@given(st.lists(st.tuples(SIDE, SIDE), max_size=25), BOUNDS, st.booleans(), st.sampled_from([None, 1.0, 2.0]))
def test_every_pair_is_dropped_for_a_reason_or_in_its_bucket(pairs, bounds, truncate, ratio):
    most = bounds[-1]
    encoded = BitextEncoder(OneTokenACharacter(), tuple(bounds), most, ratio, truncate)(Pairs(pairs), None)
    kept, dropped = [], {"empty": 0, "identical": 0, "too_long": 0, "length_ratio": 0, "duplicate": 0}
    for source, target in pairs:
        lengths = [len(side.replace(" ", "")) for side in (source, target)]
        if truncate:
            lengths = [min(length, most) for length in lengths]
        if not source or not target:
            dropped["empty"] += 1
        elif source == target:
            dropped["identical"] += 1
        elif min(lengths) == 0:
            dropped["empty"] += 1
        elif max(lengths) > most:
            dropped["too_long"] += 1
        elif ratio is not None and max(lengths) > ratio * min(lengths):
            dropped["length_ratio"] += 1
        else:
            kept.append(lengths)
    assert encoded.dropped == dropped
    assert encoded.sentences == len(encoded.records) == len(encoded.identities) == len(kept)
    assert encoded.tokens.tolist() == [sum(lengths) for lengths in kept]
    assert encoded.lengths.tolist() == [min(bound for bound in bounds if bound >= max(lengths)) for lengths in kept]
