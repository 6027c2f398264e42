"""The masked-LM head: the likeliest pieces for each `<mask>` in a text."""

import tensorflow as tf

from infoxlm_keras.errors import InputError
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.text_to_ids import MaskedTextToIds
from infoxlm_keras.tokenizer import FIRST_PIECE_ID, PAD_ID


class MaskedLMModule(ServingModule):
    """Text with `<mask>` in it to its `top_k` fillings.

    Outputs, all [batch, masks, top_k] with `masks` the most in any row, likeliest first: `tokens` (string, a
    leading "▁" starts a word), `token_ids` (int32), `probabilities` (float32, over the whole vocabulary;
    special ids are never offered). Places without a mask hold "", 1 (`<pad>`) and 0.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`, with a trained head.
        top_k: int in 1..vocabulary.
        max_length: int, longest sequence in tokens; None: as many as the model has positions.

    Raises:
        InputError: if `top_k` or `max_length` is out of range.
    """

    head = "masked_lm"

    def __init__(self, model, top_k=5, max_length=None):
        pieces = model.tokenizer.mask_id - FIRST_PIECE_ID
        if not 1 <= top_k <= pieces:
            raise InputError(f"top_k = {top_k}: must be in 1..{pieces}, the size of the vocabulary")
        text_to_ids = MaskedTextToIds(model.tokenizer, resolve_max_length(max_length, model.backbone))
        super().__init__(text_to_ids, model.masked_lm, name="masked_lm")
        self.top_k = top_k
        self.mask_id = model.tokenizer.mask_id

    def predict(self, token_ids, padding_mask):
        masks = tf.where(token_ids == self.mask_id)  # [number of masks, 2]: row, position
        rows = tf.RaggedTensor.from_value_rowids(
            tf.cast(masks[:, 1], tf.int32), masks[:, 0], nrows=tf.shape(token_ids, out_type=tf.int64)[0]
        )
        present = tf.expand_dims(tf.sequence_mask(rows.row_lengths()), -1)  # [batch, masks, 1]
        inputs = {"token_ids": token_ids, "padding_mask": padding_mask, "mask_positions": rows.to_tensor()}
        probabilities = tf.nn.softmax(tf.cast(self._apply(inputs), tf.float32))  # [batch, masks, vocabulary]
        # The special ids lie at both ends: the first four, and the mask as the last.
        best, pieces = tf.math.top_k(probabilities[:, :, FIRST_PIECE_ID : self.mask_id], k=self.top_k)
        filling = pieces + FIRST_PIECE_ID
        return {
            "tokens": tf.where(present, self.text_to_ids.id_to_string(filling), ""),
            "token_ids": tf.where(present, filling, PAD_ID),
            "probabilities": tf.where(present, best, 0.0),
        }

    def head_facts(self):
        return {"top_k": self.top_k, "mask_id": self.mask_id}
