"""Batches of samples of about equal length, cut to the longest of them: less padding is computed."""

from collections.abc import Mapping

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.evaluation.embedding import padded_lengths

MASK = "padding_mask"
# What heads give of each token, behind the same beginning of a name.
OF_TOKENS = (MASK, "token_ids", "targets", "weights")
# Samples of so many batches are sorted by length together: enough for little padding, few enough for chance.
WINDOW = 50


class LengthGroups:
    """The lengths of a head's samples.

    A batch is cut to one of a few lengths, so that few shapes are compiled.

    Args:
        arrays: dict of arrays [samples, ...]. Those that end in `padding_mask`, [..., length], tell the lengths; those
            of `OF_TOKENS` with the same beginning of the name and the same shape are cut with them.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        masks = {name: values for name, values in arrays.items() if name.endswith(MASK)}
        self.lengths = np.max([_longest(mask) for mask in masks.values()], axis=0)
        self.cut_names = {
            name
            for mask_name, mask in masks.items()
            for name in (mask_name.removesuffix(MASK) + part for part in OF_TOKENS)
            if name in arrays and arrays[name].shape == mask.shape
        }
        self._bounds = padded_lengths(max((mask.shape[-1] for mask in masks.values()), default=1))

    def order(self, order: Array, batch_size: int, generator: np.random.Generator) -> Array:
        """`order` (int [samples]) rearranged, so that consecutive `batch_size` samples are of about equal length.

        What does not fill a batch comes last, of any length. The order of the other batches is random.
        """
        count = len(order) // batch_size * batch_size
        full, rest = order[:count], order[count:]
        windows = [full[start : start + WINDOW * batch_size] for start in range(0, count, WINDOW * batch_size)]
        sorted_rows = [window[np.argsort(self.lengths[window], kind="stable")] for window in windows]
        batches = np.concatenate([*sorted_rows, rest[:0]]).reshape(-1, batch_size)
        return np.concatenate([generator.permutation(batches).reshape(-1), rest])

    def cut(self, batch: Mapping[str, Array], rows: Array) -> dict[str, Array]:
        """`batch` (dict of arrays of the samples `rows`) without padding behind the longest of them."""
        bound = self._bounds[np.searchsorted(self._bounds, self.lengths[rows].max())]
        return {name: values[..., :bound] if name in self.cut_names else values for name, values in batch.items()}


def _longest(mask):
    """int [samples]: tokens of the longest sequence of each sample, of a mask [samples, ..., length]."""
    return mask.sum(axis=-1).reshape(len(mask), -1).max(axis=1)
