"""A batch without padding: all tokens in one row, and the place of each in the batch.

Dense layers, layer norms and embeddings work token by token, so they run on the packed tokens without padding.
Attention needs whole sequences: rows are sorted by length and split into a few groups, and each group is padded to its
longest row. Shapes are dynamic; the number of groups, and therefore the graph, is fixed.
"""

from collections.abc import Sequence

import tensorflow as tf

from infoxlm_keras.annotations import Tensor

# Shares of a sorted batch at which a group ends. The last, longest rows share the smallest group: attention's cost
# grows with the square of a group's longest row.
GROUP_ENDS = (1 / 2, 7 / 8, 1)
MASKED_SCORE = -1e9  # added to the scores of padding; exp gives zero


class PackedSequences:
    """The packed tokens of a batch.

    Args:
        token_ids: int32 [batch, length].
        padding_mask: int32 [batch, length], 1 for a token, 0 or less for padding at any place. Values above 1 count
            as 1.

    Attributes:
        token_ids: int32 [tokens], sorted by the length of their rows.
        positions: int32 [tokens], column of each.
        rows: int32 [tokens], row of each in the original batch.
        batch, length: scalar int32, the shape of the batch.
        row_lengths: int32 [batch], tokens of each row of the original batch.
    """

    def __init__(self, token_ids: Tensor, padding_mask: Tensor) -> None:
        shape = tf.shape(token_ids)
        self.batch, self.length = shape[0], shape[1]
        # Lengths and places come from one comparison. If they differed, a row would read tokens of the next row.
        present = padding_mask > 0
        self.row_lengths = tf.reduce_sum(tf.cast(present, tf.int32), axis=1)
        order = tf.argsort(self.row_lengths)
        places = tf.where(tf.gather(present, order))  # int64 [tokens, 2]: sorted row, column
        self.token_ids = tf.gather_nd(tf.gather(token_ids, order), places)
        self.rows = tf.gather(order, places[:, 0])
        self.positions = tf.cast(places[:, 1], tf.int32)
        self._lengths = tf.gather(self.row_lengths, order)
        self._starts = tf.cumsum(self._lengths, exclusive=True)  # first packed token of each sorted row

    def attention_groups(self, heads: int, ends: Sequence[float] = GROUP_ENDS) -> "list[AttentionGroup]":
        """The rows in groups of similar length, list of `AttentionGroup`.

        Args:
            heads: int, attention heads.
            ends: shares of the sorted batch at which a group ends, the last of them 1.
        """
        ends = [tf.cast(tf.cast(self.batch, tf.float32) * end, tf.int32) for end in ends]
        return [
            AttentionGroup(self._starts[start:end], self._lengths[start:end], heads)
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def index(self) -> Tensor:
        """int32 [batch, length]: the packed token at each place of the original batch, -1 for padding."""
        places = tf.stack([self.rows, self.positions], axis=1)
        numbers = tf.range(1, tf.shape(places)[0] + 1)
        return tf.scatter_nd(places, numbers, tf.stack([self.batch, self.length])) - 1

    def first(self, states: Tensor) -> Tensor:
        """The state at `<s>` of each row: [tokens, dim] -> [batch, dim]; zero for a row without one."""
        places = tf.where(self.positions == 0)[:, 0]
        shape = tf.stack([self.batch, tf.shape(states)[1]])
        return tf.scatter_nd(tf.gather(self.rows, places)[:, None], tf.gather(states, places), shape)

    def mean(self, states: Tensor) -> Tensor:
        """The mean over the tokens of each row: [tokens, dim] -> [batch, dim]; zero for an empty row."""
        total = tf.math.unsorted_segment_sum(states, self.rows, self.batch)
        return total / tf.cast(tf.maximum(self.row_lengths, 1), states.dtype)[:, None]

    def max(self, states: Tensor) -> Tensor:
        """The maximum over the tokens of each row: [tokens, dim] -> [batch, dim]; zero for an empty row."""
        largest = tf.math.unsorted_segment_max(states, self.rows, self.batch)
        return tf.where(self.row_lengths[:, None] > 0, largest, tf.zeros_like(largest))


class AttentionGroup:
    """Some rows of a packed batch, padded to the longest of them and split into heads.

    One gather of head vectors pads the rows and moves the head axis to the front; a second gather reverses both. A
    separate transposition would cost as much as the attention of a short sentence.

    Args:
        starts: int32 [rows], first packed token of each.
        lengths: int32 [rows].
        heads: int, attention heads.

    Attributes:
        bias: float32 [rows, 1, 1, longest], to be added to attention scores.
    """

    def __init__(self, starts: Tensor, lengths: Tensor, heads: int) -> None:
        columns = tf.range(tf.maximum(tf.reduce_max(lengths), 0))
        present = columns < lengths[:, None]
        self.heads = heads
        self.bias = tf.where(present, 0.0, MASKED_SCORE)[:, None, None, :]
        index = tf.where(present, starts[:, None] + columns, 0)[:, None, :]  # packed token at each place, 0 at padding
        head = tf.range(heads)
        # Numbers of the head vectors of `projected`, in which a token has its queries, then its keys, then its values.
        part = tf.range(3)[:, None, None, None]
        self._split = (index * 3 + part) * heads + head[:, None]  # [3, rows, heads, longest]
        places = tf.where(present)
        row, column = tf.unstack(tf.cast(places, tf.int32)[:, :, None], axis=1)
        self._join = (row * heads + head) * tf.shape(columns)[0] + column  # [tokens of the group, heads]

    def query_key_value(self, projected: Tensor) -> list[Tensor]:
        """float32 [tokens, 3 * dim], queries, keys and values of all heads side by side, to three
        [rows, heads, longest, dim / heads]."""
        vectors = tf.reshape(projected, [-1, projected.shape[-1] // (3 * self.heads)])
        return tf.unstack(tf.gather(vectors, self._split))

    def packed(self, mixed: Tensor) -> Tensor:
        """float32 [rows, heads, longest, dim / heads] to [tokens of the group, dim], in packed order."""
        head_dim = mixed.shape[-1]
        vectors = tf.gather(tf.reshape(mixed, [-1, head_dim]), self._join)
        return tf.reshape(vectors, [-1, self.heads * head_dim])
