"""Momentum contrast: the queue of past keys, the key encoder and its momentum."""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "key_encoder": ("KeyEncoder",),
        "momentum": ("MomentumSchedule",),
        "moving_average": ("MovingAverage",),
        "queue": ("KeyQueue",),
    },
)
