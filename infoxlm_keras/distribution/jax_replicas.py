"""Communication between the devices that hold parts of one batch, within a step (JAX).

Under data parallelism the compiler could choose the messages, but it sums the gradients of each task and of each
micro-batch by themselves. Here each device runs its part of the step by itself, and the messages are written down:
counts, keys, gradients.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
from jax.sharding import Mesh, PartitionSpec

from infoxlm_keras.annotations import Tensor

# Neighbouring layers may have neighbouring seeds: a large odd step keeps all of them apart.
SEED_STEP = 0x9E3779B1


@dataclasses.dataclass(frozen=True)
class JaxReplicas:
    """The devices over which a batch is cut; `JaxReplicas.current()` makes it inside of the step.

    On one device, or where weights are cut too, there is one replica, and `sum` and `join` return their argument.

    Attributes:
        mesh: `jax.sharding.Mesh`, or None for one replica.
        axis: str, the mesh's axis along which the batch is cut.
    """

    mesh: Mesh | None = None
    axis: str = ""

    @classmethod
    def current(cls) -> JaxReplicas:
        """The replicas of `over_devices`, else of the `keras.distribution.DataParallel` in force."""
        if _chosen is not None:
            return _chosen
        distribution = keras.distribution.distribution()
        if not isinstance(distribution, keras.distribution.DataParallel):
            return cls()
        mesh = distribution.device_mesh.backend_mesh
        return cls(mesh, distribution.batch_dim_name) if mesh.size > 1 else cls()

    @property
    def count(self) -> int:
        """int: replicas."""
        return 1 if self.mesh is None else self.mesh.size

    def index(self) -> int | Tensor:
        """The number of this replica, an int32 scalar; 0 where there is one. Inside of `run` only."""
        return 0 if self.mesh is None else jax.lax.axis_index(self.axis)

    def run(self, function: Callable[[Any, Any], Any], values: Any, batch: Any) -> Any:
        """`function(values, part of batch)` on every replica.

        Args:
            function: what it returns must be equal on all replicas.
            values: nested arrays, the same on all replicas.
            batch: nested arrays [samples, ...]; replica i gets the i-th of equal contiguous parts.
        """
        if self.mesh is None:
            return function(values, batch)
        specs = (PartitionSpec(), PartitionSpec(self.axis))
        # The check that results are equal would add a message to each derivative by a replicated value.
        return jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False)(
            values, batch
        )

    def sum(self, structure: Any) -> Any:
        """`structure` (nested arrays) summed over the replicas."""
        return structure if self.mesh is None else jax.lax.psum(structure, self.axis)

    def join(self, structure: Any, axis: int) -> Any:
        """All replicas' arrays laid end to end along `axis`, in the replicas' order."""
        if self.mesh is None:
            return structure
        return jax.tree.map(lambda array: jax.lax.all_gather(array, self.axis, axis=axis, tiled=True), structure)

    def own_seeds(self, seeds: Sequence[Tensor]) -> list[Tensor]:
        """The states of seed generators (uint32 [2]) from which this replica draws; all replicas hold `seeds`."""
        return [seed.at[0].add(self._offset()) for seed in seeds]

    def common_seeds(self, seeds: Sequence[Tensor]) -> list[Tensor]:
        """What all replicas hold, from this replica's states: the inverse of `own_seeds`."""
        return [seed.at[0].add(-self._offset()) for seed in seeds]

    def _offset(self):
        index = jax.numpy.asarray(self.index(), "uint32")
        return index * jax.numpy.uint32(SEED_STEP)


_chosen: JaxReplicas | None = None


@contextlib.contextmanager
def over_devices(replicas: JaxReplicas) -> Iterator[None]:
    """Context within which steps are traced for `replicas`, whose devices Keras need not know (they may not exist)."""
    global _chosen
    before, _chosen = _chosen, replicas
    try:
        yield
    finally:
        _chosen = before
