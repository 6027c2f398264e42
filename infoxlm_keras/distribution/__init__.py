"""The devices of a run: one, all of a machine, those of several machines, or a TPU.

`strategies.py` turns the name on the command line into a `Distribution`. A run takes place inside `with
distribution.scope():` and makes its model inside `with distribution.variables():`. `is_chief()` and
`global_replica_count()` can be called anywhere, in any thread.
"""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {"current": ("Distribution", "current_distribution", "global_replica_count", "is_chief")},
)
