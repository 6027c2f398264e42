"""The encoder: KerasHub's XLM-R backbone, its hidden states by index, pooling, and heads for answers and tags."""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.models.encoder import (
        Encoder as Encoder,
        build_masked_lm as build_masked_lm,
        hidden_state_model as hidden_state_model,
        hidden_states_model as hidden_states_model,
        with_dropout as with_dropout,
    )
    from infoxlm_keras.models.pooling import l2_normalize as l2_normalize, pool as pool
    from infoxlm_keras.models.question_answering import QuestionAnswering as QuestionAnswering
    from infoxlm_keras.models.sizes import (
        ENCODER_SIZES as ENCODER_SIZES,
        EncoderSize as EncoderSize,
        default_universal_layer as default_universal_layer,
    )
    from infoxlm_keras.models.token_classification import TokenClassification as TokenClassification

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "encoder": ("Encoder", "build_masked_lm", "hidden_state_model", "hidden_states_model", "with_dropout"),
        "pooling": ("l2_normalize", "pool"),
        "question_answering": ("QuestionAnswering",),
        "sizes": ("ENCODER_SIZES", "EncoderSize", "default_universal_layer"),
        "token_classification": ("TokenClassification",),
    },
)
