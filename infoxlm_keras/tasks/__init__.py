"""Pretext tasks. A new one is a file here, its name in `choices.py` and its branch in `training/assemble.py`."""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "masked_lm": ("MMLM", "TLM"),
        "pretext_task": ("PretextTask", "TaskResult"),
        "xlco": ("XLCO",),
    },
)
