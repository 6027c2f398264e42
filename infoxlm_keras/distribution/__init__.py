"""The devices of a run: one, all of a machine, those of several machines, or a TPU.

`strategies.py` turns the name on the command line into a `Distribution`. A run takes place inside `with
distribution.scope():` and makes its model inside `with distribution.variables():`. `is_chief()` and
`global_replica_count()` can be called anywhere, in any thread.
"""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.distribution.current import (
        Distribution as Distribution,
        current_distribution as current_distribution,
        global_replica_count as global_replica_count,
        is_chief as is_chief,
    )

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {"current": ("Distribution", "current_distribution", "global_replica_count", "is_chief")},
)
