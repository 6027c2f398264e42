"""SavedModels for TensorFlow Serving that take strings and return tensors. Needs tensorflow and tensorflow-text.

Reading order: `text_to_ids` -> `packed_sequences`, `stored_weights`, `packed_encoder` (the encoder without Keras and
without padding) -> `serving_module` (the base of all heads) -> `heads/` -> `export` -> `warmup` and `server_files`
(files for the server) -> `verification` and `check` (the fresh process).
"""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "heads.classification": ("ClassifierModule",),
        "heads.embedding": ("EmbeddingModule",),
        "export": (
            "Export",
            "export_classifier",
            "export_embedding",
            "export_masked_lm",
            "export_question_answering",
            "export_tagging",
        ),
        "heads.masked_lm": ("MaskedLMModule",),
        "heads.question_answering": ("QuestionAnsweringModule",),
        "heads.tagging": ("TaggingModule",),
        "stored_weights": ("STORAGES",),
        "text_to_ids": ("MaskedTextToIds", "TextToIds"),
        "verification": ("run_in_fresh_process", "verify_export"),
        "warmup": ("read_warmup", "write_warmup"),
    },
)
