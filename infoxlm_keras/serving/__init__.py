"""SavedModels for TensorFlow Serving: raw strings in, tensors out. Needs tensorflow and tensorflow-text.

Reading order: `text_to_ids` -> `packed_sequences`, `stored_weights`, `packed_encoder` (the encoder without Keras and
without padding) -> `serving_module` (what all heads share) -> `embedding_module`, `masked_lm_module`,
`classifier_module`, `question_answering_module` -> `export` -> `warmup` and `server_files` (what a server reads) ->
`verification` and `check` (the fresh process).
"""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "classifier_module": ("ClassifierModule",),
        "embedding_module": ("EmbeddingModule",),
        "export": (
            "Export",
            "export_classifier",
            "export_embedding",
            "export_masked_lm",
            "export_question_answering",
        ),
        "masked_lm_module": ("MaskedLMModule",),
        "question_answering_module": ("QuestionAnsweringModule",),
        "stored_weights": ("STORAGES",),
        "text_to_ids": ("MaskedTextToIds", "TextToIds"),
        "verification": ("run_in_fresh_process", "verify_export"),
        "warmup": ("read_warmup", "write_warmup"),
    },
)
