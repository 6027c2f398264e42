"""Pretext tasks. A new one is a file here and its row in `registry.py`."""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.tasks.distillation import Distillation as Distillation
    from infoxlm_keras.tasks.masked_lm import MMLM as MMLM, TLM as TLM
    from infoxlm_keras.tasks.pretext_task import PretextTask as PretextTask, TaskResult as TaskResult
    from infoxlm_keras.tasks.registry import task_class as task_class, task_classes as task_classes
    from infoxlm_keras.tasks.replaced_tokens import MRTD as MRTD, TRTD as TRTD
    from infoxlm_keras.tasks.word_alignment import DWA as DWA
    from infoxlm_keras.tasks.xlco import XLCO as XLCO

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "distillation": ("Distillation",),
        "masked_lm": ("MMLM", "TLM"),
        "pretext_task": ("PretextTask", "TaskResult"),
        "registry": ("task_class", "task_classes"),
        "replaced_tokens": ("MRTD", "TRTD"),
        "word_alignment": ("DWA",),
        "xlco": ("XLCO",),
    },
)
