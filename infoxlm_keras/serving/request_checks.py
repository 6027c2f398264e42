"""Checks of requests inside the graph: an invalid request is refused instead of answered wrongly.

A signature states the type and rank of its inputs, but TensorFlow does not enforce the rank. Packed tokens depend on
the `padding_mask`: a 2 in it would shift tokens of one row into another, and servers batch the rows of several
clients.
"""

import tensorflow as tf

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.tokenizer import START_ID


def checked_texts(**inputs: Tensor) -> list[Tensor]:
    """The inputs of a signature on strings.

    Args:
        inputs: input name -> string tensor.

    Returns:
        list of string [batch], in the order given.

    Raises:
        tf.errors.InvalidArgumentError: when the graph runs, if an input is not of rank 1, or they differ in number.
    """
    # `ensure_shape` runs in the graph; a check of the static shape would see the signature's shape only.
    texts = [tf.ensure_shape(text, [None], name=name) for name, text in inputs.items()]
    if len(texts) == 1:
        return texts
    message = f"{' and '.join(inputs)}: differ in number"
    equal = [tf.debugging.assert_equal(tf.size(texts[0]), tf.size(other), message) for other in texts[1:]]
    with tf.control_dependencies(equal):
        return [tf.identity(text) for text in texts]


def checked_tokens(
    token_ids: Tensor, padding_mask: Tensor, vocabulary_size: int, max_length: int
) -> tuple[Tensor, Tensor]:
    """The inputs of the signature `tokens`, with a server's own padding marked as padding.

    Args:
        token_ids, padding_mask: int32 tensors.
        vocabulary_size: int, rows of the embedding table.
        max_length: int, most tokens of a row.

    Returns:
        (token_ids, padding_mask): int32 [batch, length] each.

    Raises:
        tf.errors.InvalidArgumentError: when the graph runs, if an input is not of rank 2, the shapes differ, a row is
            longer than `max_length`, a mask is neither 0 nor 1, or an id with mask 1 is outside of the vocabulary.
            Ids with mask 0 are not checked.
    """
    token_ids = tf.ensure_shape(token_ids, [None, None], name="token_ids")
    padding_mask = tf.ensure_shape(padding_mask, [None, None], name="padding_mask")
    shape = tf.shape(token_ids)
    checks = [
        tf.debugging.assert_equal(shape, tf.shape(padding_mask), "token_ids and padding_mask: differ in shape"),
        tf.debugging.assert_less_equal(
            shape[1], max_length, f"token_ids: longer than the limit of {max_length} tokens"
        ),
    ]
    # Without these dependencies a later operation fails first, with a message that does not help a client.
    with tf.control_dependencies(checks):
        token_ids, padding_mask = tf.identity(token_ids), tf.identity(padding_mask)
    zero_or_one = tf.reduce_all((padding_mask == 0) | (padding_mask == 1))
    # A server that batches requests of different lengths pads rows with a tensor's first value, so with <s> and 1.
    # A sequence has <s> at its first place only.
    filled = (token_ids == START_ID) & (tf.range(tf.shape(token_ids)[1]) > 0)
    mask = tf.where(filled, 0, padding_mask)
    known = tf.reduce_all((mask == 0) | ((token_ids >= 0) & (token_ids < vocabulary_size)))
    checks = [
        tf.debugging.Assert(zero_or_one, ["padding_mask: holds another value than 0 (padding) and 1 (a token)"]),
        tf.debugging.Assert(known, [f"token_ids: holds an id outside of 0..{vocabulary_size - 1}"]),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(token_ids), tf.identity(mask)
