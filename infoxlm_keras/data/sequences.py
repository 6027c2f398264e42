"""Sequences of the pretext tasks from ragged sentences (TensorFlow, whole batch at once)."""

import tensorflow as tf

from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID


def join_sentences(*sentences: tf.RaggedTensor, length: int | None) -> tf.Tensor:
    """`<s> first </s> second </s> ...` in each row, padded to a static length.

    Args:
        sentences: ragged int32 [batch, None] each, token ids without special tokens.
        length: int. Longer rows are cut.

    Returns:
        int32 [batch, length].
    """
    batch = sentences[0].nrows()
    start = tf.fill([batch, 1], tf.constant(START_ID, tf.int32))
    end = tf.fill([batch, 1], tf.constant(END_ID, tf.int32))
    parts = [start]
    for sentence in sentences:
        parts += [sentence, end]
    joined = tf.concat(parts, axis=1)
    padded = joined.to_tensor(default_value=PAD_ID, shape=[None, length])
    return tf.ensure_shape(padded, [None, length])


def translation_pairs(source: tf.RaggedTensor, target: tf.RaggedTensor, flip: tf.Tensor, length: int) -> tf.Tensor:
    """TLM's sequences: `<s> source </s> target </s>`, or target first where `flip` (bool [batch]) is set."""
    batch = tf.shape(flip)[0]
    sentences = tf.concat([source, target], axis=0)
    rows = tf.range(batch)
    first = tf.gather(sentences, rows + tf.where(flip, batch, 0))
    second = tf.gather(sentences, rows + tf.where(flip, 0, batch))
    return join_sentences(first, second, length=length)


def mixup_contrast(
    source: tf.RaggedTensor, target: tf.RaggedTensor, flips: tf.Tensor, length: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """XLCO's mixup contrast (InfoXLM, section 3.3): two translation pairs joined on each side.

    Args:
        source, target: ragged int32 [2 * batch, None]; row i and row batch + i are mixed.
        flips: bool [batch, 3], three fair coins: order on side A, order on side B, which side is the query.
        length: int, static length of the sequences.

    Returns:
        (queries, keys): int32 [batch, length] each; side A holds the two source sentences, side B their
        translations, each in an order of its own.
    """
    batch = tf.shape(flips)[0]
    sentences = tf.concat([source, target], axis=0)  # rows: c1, d1, c2, d2, `batch` of each

    def side(start, flip):
        rows = tf.range(batch) + start
        first = tf.gather(sentences, rows + tf.where(flip, batch, 0))
        second = tf.gather(sentences, rows + tf.where(flip, 0, batch))
        return join_sentences(first, second, length=length)

    return _swap(side(0, flips[:, 0]), side(2 * batch, flips[:, 1]), flips[:, 2])


def plain_contrast(
    source: tf.RaggedTensor, target: tf.RaggedTensor, flip: tf.Tensor, length: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """XLCO without mixup: `<s> source </s>` against `<s> target </s>`, swapped where `flip` (bool [batch]) is set."""
    return _swap(join_sentences(source, length=length), join_sentences(target, length=length), flip)


def _swap(first, second, flip):
    flip = tf.expand_dims(flip, 1)
    return tf.where(flip, second, first), tf.where(flip, first, second)
