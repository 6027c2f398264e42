"""Extractive question answering: where in a text does the answer begin and end? (Devlin et al., 2019, section 4.2.)

<s> question </s></s> context </s>   ->   a start and an end logit for each token
"""

from typing import Any

import keras
import keras_hub


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class QuestionAnswering(keras_hub.models.Task):
    """A backbone with one dense layer over its last hidden states.

    Inputs: `{"token_ids", "padding_mask"}`, int32 [batch, length]. Output: float [batch, length, 2], the logits of
    start and end.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone`.
        preprocessor: must be None; the model is trained on token ids.

    Example:
    ```python
    model = QuestionAnswering(load_pretrained("runs/demo/model").backbone)
    model.compile(optimizer="adam", loss=...)  # labels: start and end positions
    save_question_answering("runs/qa", model, tokenizer)
    ```
    """

    backbone_cls = keras_hub.models.XLMRobertaBackbone
    preprocessor_cls = None

    def __init__(
        self, backbone: keras_hub.models.XLMRobertaBackbone, preprocessor: None = None, **kwargs: Any
    ) -> None:
        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.span_dense = keras.layers.Dense(
            2,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=backbone.dtype_policy,
            name="span_logits",
        )

        # === Functional model ===
        inputs = backbone.input
        super().__init__(inputs=inputs, outputs=self.span_dense(backbone(inputs)), **kwargs)
