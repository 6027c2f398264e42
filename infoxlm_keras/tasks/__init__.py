"""Pretext tasks. A new one is a file here and its row in `registry.py`."""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "masked_lm": ("MMLM", "TLM"),
        "pretext_task": ("PretextTask", "TaskResult"),
        "registry": ("task_class", "task_classes"),
        "xlco": ("XLCO",),
    },
)
