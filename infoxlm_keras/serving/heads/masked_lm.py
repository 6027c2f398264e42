"""The masked-LM head: the most likely pieces for each `<mask>` in a text."""

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from infoxlm_keras.annotations import PathLike, Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.stored_weights import LayerNorm, array, dense
from infoxlm_keras.serving.text_to_ids import MaskedTextToIds
from infoxlm_keras.tokenizer import FIRST_PIECE_ID, PAD_ID

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.serving.packed_sequences import PackedSequences


class MaskedLMModule(ServingModule):
    """Text with `<mask>` to the `top_k` most likely pieces for each mask.

    Outputs, all [batch, masks, top_k] where `masks` is the largest number in a row, most likely first: `tokens`
    (string, a leading "▁" starts a word), `token_ids` (int32), `probabilities` (float32, over the whole vocabulary;
    special ids are excluded). Places without a mask hold "", 1 (`<pad>`) and 0. The head is computed at masks only.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`, with a trained head.
        top_k: int in 1..vocabulary.
        max_length: int, longest sequence in tokens; None: as many as the model has positions.
        storage: one of `STORAGES`, how weights are stored.

    Raises:
        InputError: if `top_k`, `max_length` or `storage` is out of range.
    """

    head = "masked_lm"
    needs_strings = True

    def __init__(
        self, model: "PretrainedModel", top_k: int = 5, max_length: int | None = None, storage: str = "float32"
    ) -> None:
        pieces = model.tokenizer.mask_id - FIRST_PIECE_ID
        if not 1 <= top_k <= pieces:
            raise InputError(f"top_k = {top_k}: must be in 1..{pieces}, the size of the vocabulary")
        backbone = model.backbone
        text_to_ids = MaskedTextToIds(model.tokenizer, resolve_max_length(max_length, backbone))
        super().__init__(text_to_ids, backbone, backbone.num_layers, model.masked_lm, storage, name="masked_lm")
        self.top_k = top_k
        self.mask_id = model.tokenizer.mask_id
        head = model.masked_lm.masked_lm_head
        self.intermediate_dense = dense(head._intermediate_dense, storage, name="intermediate_dense")
        self.intermediate_norm = LayerNorm(head._intermediate_layer_norm, name="intermediate_norm")
        self.output_bias = tf.Variable(array(head._bias), trainable=False, name="output_bias")

    def outputs(self, packed: "PackedSequences", states: Tensor) -> dict[str, Tensor]:
        token_ids = tf.gather(tf.pad(packed.token_ids, [[1, 0]], constant_values=PAD_ID), packed.index() + 1)
        places, rows = self._masks(token_ids)
        inner = tf.gather(states, tf.gather_nd(packed.index(), places))  # [masks in all, dim]
        inner = self.intermediate_norm(tf.nn.gelu(self.intermediate_dense(inner), approximate=False))
        logits = self.encoder.token_embedding.products(inner) + self.output_bias
        return self._best(tf.nn.softmax(logits), rows)

    def reference(self, token_ids: Tensor, padding_mask: Tensor) -> dict[str, Tensor]:
        places, rows = self._masks(tf.where(padding_mask > 0, token_ids, PAD_ID))
        positions = rows.with_values(tf.cast(places[:, 1], tf.int32)).to_tensor()
        inputs = {"token_ids": token_ids, "padding_mask": padding_mask, "mask_positions": positions}
        probabilities = tf.nn.softmax(tf.cast(self._model(inputs), tf.float32))  # [batch, masks, vocabulary]
        return self._best(tf.boolean_mask(probabilities, tf.sequence_mask(rows.row_lengths())), rows)

    def head_facts(self) -> dict[str, Any]:
        return {"top_k": self.top_k, "mask_id": self.mask_id}

    def _masks(self, token_ids):
        """Row and column of each mask, int64 [masks in all, 2], and a ragged [batch, masks] of their numbers."""
        places = tf.where(token_ids == self.mask_id)
        numbers = tf.range(tf.shape(places)[0])
        batch = tf.shape(token_ids, out_type=tf.int64)[0]
        return places, tf.RaggedTensor.from_value_rowids(numbers, places[:, 0], nrows=batch)

    def _best(self, probabilities, rows):
        """The outputs, from float32 [masks in all, vocabulary]."""
        # The special ids lie at both ends: the first four, and the mask as the last.
        best, pieces = tf.math.top_k(probabilities[:, FIRST_PIECE_ID : self.mask_id], k=self.top_k)
        filling = pieces + FIRST_PIECE_ID

        def padded(values, empty):
            shape = [None, None, self.top_k]
            return tf.ensure_shape(rows.with_values(values).to_tensor(default_value=empty), shape)

        return {
            "tokens": padded(self.text_to_ids.id_to_string(filling), ""),
            "token_ids": padded(filling, PAD_ID),
            "probabilities": padded(best, 0.0),
        }


def load_masked_lm(source: PathLike, **settings: Any) -> "tuple[MaskedLMModule, PretrainedModel]":
    """The head and the model of the preset `source`, see `infoxlm_keras.serving.heads.registry.load_head`."""
    from infoxlm_keras.pretrained import has_masked_lm_head, load_pretrained

    model = load_pretrained(source, dtype="float32")
    if not has_masked_lm_head(source):
        raise InputError(f"{source}: holds no trained masked-LM head; give one that infoxlm pretrain wrote")
    return MaskedLMModule(model, **settings), model
