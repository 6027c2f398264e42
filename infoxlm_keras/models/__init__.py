"""The encoder: KerasHub's XLM-R backbone, its hidden states by index, pooling, and a question-answering head."""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "encoder": ("Encoder", "build_masked_lm", "hidden_state_model", "hidden_states_model", "with_dropout"),
        "pooling": ("l2_normalize", "pool"),
        "question_answering": ("QuestionAnswering",),
        "sizes": ("ENCODER_SIZES", "EncoderSize", "default_universal_layer"),
    },
)
