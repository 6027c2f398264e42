"""Dynamic masking at read time.

A record is masked differently in every epoch. The mask depends on the sample number alone, so a resumed run repeats
it.
"""

import dataclasses
import math

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.stateless_random import random_key, tf_random_bits, tf_uniform
from infoxlm_keras.tokenizer import END_ID, FIRST_PIECE_ID, PAD_ID


@dataclasses.dataclass(frozen=True)
class Masking:
    """BERT's masking as XLM-R and InfoXLM use it.

    Attributes:
        probability: float, share of the tokens that are predicted (0.15).
        mask_share: float, share of the predicted tokens that `<mask>` replaces (0.8).
        random_share: float, share of the predicted tokens that a random piece replaces (0.1); the rest is unchanged.
        final_probability: float or None, `probability` changes linearly over the run and is this at its last step
            (Ankner et al. 2024, https://arxiv.org/abs/2305.15096: from 0.3 down to 0.15). None: it does not change.
        steps: int, of the run.

    Special tokens and padding (ids 0, 1, 2) are never chosen, and no special id is drawn as a random piece.
    """

    probability: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    final_probability: float | None = None
    steps: int = 1

    def __post_init__(self) -> None:
        for name in ("probability", "final_probability"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise InputError(f"masking.{name} = {value}: must be between 0 and 1")
        if self.mask_share < 0 or self.random_share < 0 or self.mask_share + self.random_share > 1.0:
            raise InputError(
                f"masking: mask_share = {self.mask_share} and random_share = {self.random_share} must not be "
                "negative, nor together exceed 1"
            )

    def predictions(self, length: int) -> int:
        """int: slots for predictions in a sequence of `length` tokens, the most that can be chosen at any step."""
        return math.ceil(max(self.probability, self.final_probability or 0.0) * length)

    def probability_at(self, steps: Tensor) -> float | Tensor:
        """The share of the tokens that are predicted at `steps` (float32, the first is 0), float32 like them."""
        if self.final_probability is None:
            return self.probability
        import tensorflow as tf

        passed = tf.clip_by_value(steps / max(self.steps - 1, 1), 0.0, 1.0)
        return self.probability + (self.final_probability - self.probability) * passed


def mask_tokens(
    token_ids: Tensor,
    sample_indices: Tensor,
    masking: Masking,
    vocabulary_size: int,
    key: int | Tensor,
    samples_per_step: float = 1.0,
) -> dict[str, Tensor]:
    """Chooses tokens to predict and hides them (TensorFlow, whole batch at once).

    The number chosen in a sequence of n ordinary tokens is `floor(probability * n + u)` with u uniform, so that the
    mean is exact. All draws are keyed by (key, sample index, position).

    Args:
        token_ids: int32 [batch, length], static length, padded with id 1.
        sample_indices: int64 [batch], the number of each sample in its stream.
        masking: `Masking`.
        vocabulary_size: int; `<mask>` is the last id.
        key: int or uint64 scalar.
        samples_per_step: float, by which a sample's number tells its step, for a probability that changes.

    Returns:
        dict of `token_ids` int32 [batch, length] with tokens hidden, and `mask_positions`, `mask_ids` int32 and
        `mask_weights` float32, each [batch, masking.predictions(length)]; unused slots are 0 in all three.
    """
    import tensorflow as tf

    length = token_ids.shape[1]
    predictions = masking.predictions(length)
    # One key a sample and purpose, [batch, 1], then one draw a position, [batch, length].
    row_keys = tf.expand_dims(tf_random_bits(key, sample_indices), 1)
    position_keys = [tf_random_bits(random_key(purpose), row_keys) for purpose in ("choose", "show", "piece", "count")]
    positions = tf.expand_dims(tf.range(length, dtype=tf.int64), 0)

    maskable = token_ids > END_ID
    scores = tf.where(maskable, tf_uniform(position_keys[0], positions), 2.0)
    ordinary = tf.reduce_sum(tf.cast(maskable, tf.float32), axis=1, keepdims=True)
    steps = tf.floor(tf.cast(tf.expand_dims(sample_indices, 1), tf.float32) / samples_per_step)
    number = tf.floor(
        masking.probability_at(steps) * ordinary + tf_uniform(position_keys[3], tf.zeros([1, 1], tf.int64))
    )
    mask_positions = tf.math.top_k(-scores, predictions).indices  # [batch, predictions]
    chosen = tf.cast(tf.expand_dims(tf.range(predictions), 0), tf.float32) < number

    mask_ids = tf.gather(token_ids, mask_positions, batch_dims=1)
    show = tf.gather(tf_uniform(position_keys[1], positions), mask_positions, batch_dims=1)
    pieces = tf_uniform(position_keys[2], positions) * float(vocabulary_size - 1 - FIRST_PIECE_ID)
    pieces = tf.gather(tf.cast(pieces, tf.int32) + FIRST_PIECE_ID, mask_positions, batch_dims=1)
    shown = tf.where(show < masking.mask_share, vocabulary_size - 1, mask_ids)
    random_shown = tf.logical_and(show >= masking.mask_share, show < masking.mask_share + masking.random_share)
    shown = tf.where(random_shown, pieces, shown)
    shown = tf.where(chosen, shown, mask_ids)

    rows = tf.broadcast_to(tf.expand_dims(tf.range(tf.shape(token_ids)[0]), 1), tf.shape(mask_positions))
    hidden = tf.tensor_scatter_nd_update(token_ids, tf.stack([rows, mask_positions], axis=-1), shown)
    return {
        "token_ids": hidden,
        "mask_positions": tf.where(chosen, mask_positions, 0),
        "mask_ids": tf.where(chosen, mask_ids, 0),
        "mask_weights": tf.cast(chosen, tf.float32),
    }


def padding_mask(token_ids: Tensor) -> Tensor:
    """int32 like `token_ids`: 1 where a token stands, 0 at padding (id 1)."""
    import tensorflow as tf

    return tf.cast(tf.not_equal(token_ids, PAD_ID), tf.int32)
