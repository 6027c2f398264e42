"""Where a run computes: one device, all of a machine, several machines, a TPU; behind one name.

`strategies.py` turns the name on the command line into a `Distribution`; a run takes place inside `with
distribution.scope():`, and makes its model inside `with distribution.variables():`. `is_chief()` and
`global_replica_count()` answer anywhere, in any thread.
"""

from infoxlm_keras.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {"current": ("Distribution", "current_distribution", "global_replica_count", "is_chief")},
)
