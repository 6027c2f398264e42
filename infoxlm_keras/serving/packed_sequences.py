"""A batch without its padding: all real tokens in one row, and where each came from.

Dense layers, layer norms and embeddings work token by token, so they run on the packed tokens and cost nothing for
padding. Attention needs whole sequences: rows are sorted by length and cut into a few groups, each padded to its own
longest, and only there. Shapes stay dynamic; the number of groups, and so the graph, is fixed.
"""

import tensorflow as tf

# Shares of a sorted batch at which a group ends. The last, longest rows share the smallest group: attention's cost
# grows with the square of a group's longest row. A batch of one row is the last group alone.
GROUP_ENDS = (1 / 2, 3 / 4, 7 / 8, 1)
MASKED_SCORE = -1e9  # added to the scores of padding; exp gives zero


class PackedSequences:
    """The packed tokens of a batch.

    Args:
        token_ids: int32 [batch, length].
        padding_mask: int32 [batch, length], 1 for a token and 0 for padding, wherever it is.

    Attributes:
        token_ids: int32 [tokens], sorted by the length of their rows.
        positions: int32 [tokens], column of each.
        rows: int32 [tokens], row of each in the batch as it came.
        batch, length: scalar int32, the shape of the batch.
        row_lengths: int32 [batch], tokens of each row of the batch as it came.
        groups: list of (index, bias, places), see `attention_group`.
    """

    def __init__(self, token_ids, padding_mask):
        shape = tf.shape(token_ids)
        self.batch, self.length = shape[0], shape[1]
        self.row_lengths = tf.reduce_sum(padding_mask, axis=1)
        order = tf.argsort(self.row_lengths)
        places = tf.where(tf.gather(padding_mask, order) > 0)  # int64 [tokens, 2]: sorted row, column
        self.token_ids = tf.gather_nd(tf.gather(token_ids, order), places)
        self.rows = tf.gather(order, places[:, 0])
        self.positions = tf.cast(places[:, 1], tf.int32)
        lengths = tf.gather(self.row_lengths, order)
        starts = tf.cumsum(lengths, exclusive=True)  # [batch]: first packed token of each sorted row
        ends = [tf.cast(tf.cast(self.batch, tf.float32) * end, tf.int32) for end in GROUP_ENDS]
        self.groups = [
            attention_group(starts[start:end], lengths[start:end])
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def index(self):
        """int32 [batch, length]: the packed token at each place of the batch as it came, -1 for padding."""
        places = tf.stack([self.rows, self.positions], axis=1)
        numbers = tf.range(1, tf.shape(places)[0] + 1)
        return tf.scatter_nd(places, numbers, tf.stack([self.batch, self.length])) - 1

    def first(self, states):
        """The state at `<s>` of each row: [tokens, dim] -> [batch, dim]; zero for a row without one."""
        places = tf.where(self.positions == 0)[:, 0]
        shape = tf.stack([self.batch, tf.shape(states)[1]])
        return tf.scatter_nd(tf.gather(self.rows, places)[:, None], tf.gather(states, places), shape)

    def mean(self, states):
        """The mean over the tokens of each row: [tokens, dim] -> [batch, dim]; zero for an empty row."""
        total = tf.math.unsorted_segment_sum(states, self.rows, self.batch)
        return total / tf.cast(tf.maximum(self.row_lengths, 1), states.dtype)[:, None]


def attention_group(starts, lengths):
    """Where the tokens of some rows lie, padded to the longest of these rows.

    Args:
        starts: int32 [rows], first packed token of each.
        lengths: int32 [rows].

    Returns:
        index: int32 [rows, longest], packed token at each place (0 at padding).
        bias: float32 [rows, 1, 1, longest], to be added to attention scores.
        places: int64 [tokens of the group, 2], row and column of each token, in packed order.
    """
    columns = tf.range(tf.maximum(tf.reduce_max(lengths), 0))
    present = columns < lengths[:, None]
    index = tf.where(present, starts[:, None] + columns, 0)
    bias = tf.where(present, 0.0, MASKED_SCORE)[:, None, None, :]
    return index, bias, tf.where(present)
