"""Momentum contrast: the queue of past keys, the key encoder and its momentum."""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.contrast.key_encoder import KeyEncoder as KeyEncoder
    from infoxlm_keras.contrast.momentum import MomentumSchedule as MomentumSchedule
    from infoxlm_keras.contrast.moving_average import MovingAverage as MovingAverage
    from infoxlm_keras.contrast.queue import KeyQueue as KeyQueue

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "key_encoder": ("KeyEncoder",),
        "momentum": ("MomentumSchedule",),
        "moving_average": ("MovingAverage",),
        "queue": ("KeyQueue",),
    },
)
