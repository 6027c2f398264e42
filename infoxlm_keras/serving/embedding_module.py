"""The sentence-vector head: the universal layer, pooled and normalised."""

from infoxlm_keras.models import default_universal_layer, hidden_state_model, l2_normalize, pool
from infoxlm_keras.models.pooling import check_pooling
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.text_to_ids import TextToIds


class EmbeddingModule(ServingModule):
    """Text to `embedding`, float32 [batch, dim]; runs and holds Transformer layers 1..`layer` only.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        layer: int in 0..L, hidden state to pool (0 = embeddings). None: the universal layer the model was
            trained with, or the usual one for its depth if it was not trained here.
        pooling: "cls" or "mean". None: as trained, else "mean".
        normalize: bool, scale to unit length.
        max_length: int, longest sequence in tokens; None: as many as the model has positions.

    Raises:
        InputError: if `layer`, `pooling` or `max_length` is out of range.
    """

    head = "embedding"

    def __init__(self, model, layer=None, pooling=None, normalize=True, max_length=None):
        backbone = model.backbone
        if layer is None:
            layer = model.info.universal_layer if model.info else default_universal_layer(backbone.num_layers)
        if pooling is None:
            pooling = model.info.pooling if model.info else "mean"
        check_pooling(pooling)
        text_to_ids = TextToIds(model.tokenizer, resolve_max_length(max_length, backbone))
        super().__init__(text_to_ids, hidden_state_model(backbone, layer), name="embedding")
        self.layer, self.pooling, self.normalize = layer, pooling, normalize
        self.dim = backbone.hidden_dim

    def predict(self, token_ids, padding_mask):
        hidden_state = self._apply({"token_ids": token_ids, "padding_mask": padding_mask})
        vectors = pool(hidden_state, padding_mask, self.pooling)
        return {"embedding": l2_normalize(vectors) if self.normalize else vectors}

    def head_facts(self):
        return {"layer": self.layer, "pooling": self.pooling, "normalize": self.normalize, "dim": self.dim}
