"""Token classification: a class for each token, such as its part of speech or its place in a name.

<s> word word word </s>   ->   logits of the classes for each token
"""

from typing import Any

import keras
import keras_hub


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class TokenClassification(keras_hub.models.Task):
    """A backbone with dropout and one dense layer over its last hidden states.

    Inputs: `{"token_ids", "padding_mask"}`, int32 [batch, length]. Output: float [batch, length, classes], logits.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone`.
        num_classes: int.
        dropout: float, rate of the dropout before the dense layer.
        preprocessor: must be None; the model is trained on token ids.

    Example:
    ```python
    model = TokenClassification(load_pretrained("runs/demo/model").backbone, num_classes=17)
    model.compile(optimizer="adam", loss=...)  # labels: a class for each token
    save_token_classification("runs/pos", model, tokenizer, labels)
    ```
    """

    backbone_cls = keras_hub.models.XLMRobertaBackbone
    preprocessor_cls = None

    def __init__(
        self,
        backbone: keras_hub.models.XLMRobertaBackbone,
        num_classes: int,
        dropout: float = 0.0,
        preprocessor: None = None,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.output_dropout = keras.layers.Dropout(dropout, dtype=backbone.dtype_policy, name="output_dropout")
        self.output_dense = keras.layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=backbone.dtype_policy,
            name="logits",
        )

        # === Functional model ===
        inputs = backbone.input
        super().__init__(inputs=inputs, outputs=self.output_dense(self.output_dropout(backbone(inputs))), **kwargs)

        # === Config ===
        self.num_classes = num_classes
        self.dropout = dropout

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "dropout": self.dropout}
