"""Communication between the devices that hold parts of one batch, within a step (JAX).

Under data parallelism the compiler could choose the messages, but it sums the gradients of each task and of each
micro-batch by themselves, and where weights are cut too (`fsdp`) it sends activations instead of weights. Here each
device runs its part of the step by itself, and the messages are written down: counts, keys, gradients, cut weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import keras
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from infoxlm_keras.annotations import Tensor

# Neighbouring layers may have neighbouring seeds: a large odd step keeps all of them apart.
SEED_STEP = 0x9E3779B1


@dataclasses.dataclass(frozen=True)
class JaxReplicas:
    """The devices over which a batch is cut; `JaxReplicas.current()` makes it inside of the step.

    On one device, or where the compiler adds the messages, there is one replica: `sum`, `join` and `whole` return
    their argument.

    Attributes:
        mesh: `jax.sharding.Mesh`, or None for one device.
        axis: str, the mesh's axis along which the batch is cut.
        layout: function from a `keras.Variable` to its `PartitionSpec`; None: each device holds all of all variables.
        by_compiler: bool, whether the compiler adds the messages: under `model_parallel`.
    """

    mesh: Mesh | None = None
    axis: str = ""
    layout: Callable[[keras.Variable], PartitionSpec] | None = None
    by_compiler: bool = False

    @classmethod
    def current(cls) -> JaxReplicas:
        """The replicas of `over_devices`, else of the `keras.distribution` in force."""
        if _chosen is not None:
            return _chosen
        distribution = keras.distribution.distribution()
        if distribution is None:
            return cls()
        mesh = distribution.device_mesh.backend_mesh
        if mesh.size == 1:
            return cls()

        def layout(variable):
            return PartitionSpec(*distribution.get_variable_layout(variable).axes)

        return cls(mesh, distribution.batch_dim_name, layout, by_compiler=len(mesh.axis_names) > 1)

    @property
    def count(self) -> int:
        """int: replicas."""
        return self.mesh.size if self.mesh is not None and self._communicates else 1

    @property
    def _communicates(self):
        return self.mesh is not None and not self.by_compiler

    def places(self, variables: Sequence[keras.Variable]) -> list[PartitionSpec]:
        """How each of `variables` lies on the devices."""
        if self.layout is None or not self._communicates:
            return [PartitionSpec() for _ in variables]
        return [self.layout(variable) for variable in variables]

    def index(self) -> int | Tensor:
        """The number of this replica, an int32 scalar; 0 where there is one. Inside of `run` only."""
        return jax.lax.axis_index(self.axis) if self._communicates else 0

    def run(
        self, function: Callable[[Any, Any], Any], values: Any, batch: Any, places: Any, result_places: Any
    ) -> Any:
        """`function(values, part of batch)` on every replica.

        Args:
            function: what it returns must be equal on all replicas, unless `result_places` says that it is a part.
            values: nested arrays. Each replica gets all of them, or its part of those that are cut.
            batch: nested arrays [samples, ...]; replica i gets the i-th of equal contiguous parts.
            places, result_places: `PartitionSpec`s of `values` and of what `function` returns; one stands for all
                arrays below it.
        """
        if not self._communicates:
            return function(values, batch)
        # The check that results are equal would add a message to each derivative by a replicated value.
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=(places, PartitionSpec(self.axis)),
            out_specs=result_places,
            check_vma=False,
        )(values, batch)

    def whole(self, parts: Sequence[Tensor], places: Sequence[PartitionSpec]) -> list[Tensor]:
        """Values of variables from this replica's parts of them; a part's gradient is summed over the replicas."""

        def join(part, place):
            dimension = cut_dimension(place)
            return part if dimension is None else jax.lax.all_gather(part, self.axis, axis=dimension, tiled=True)

        return [join(part, place) for part, place in zip(parts, places, strict=True)]

    def sum_gradients(
        self, gradients: Sequence[Tensor], places: Sequence[PartitionSpec], others: Any
    ) -> tuple[list[Tensor], Any]:
        """(`gradients`, `others`) summed over the replicas in one message; those of cut weights are sums already."""
        whole = [number for number, place in enumerate(places) if cut_dimension(place) is None]
        sums, others = self.sum(([gradients[number] for number in whole], others))
        return replaced(gradients, whole, sums), others

    def sum(self, structure: Any) -> Any:
        """`structure` (nested arrays) summed over the replicas."""
        return jax.lax.psum(structure, self.axis) if self._communicates else structure

    def join(self, structure: Any, axis: int) -> Any:
        """All replicas' arrays laid end to end along `axis`, in the replicas' order."""
        if not self._communicates:
            return structure
        return jax.tree.map(lambda array: jax.lax.all_gather(array, self.axis, axis=axis, tiled=True), structure)

    def cut_along(self, array: Tensor, dimension: int) -> Tensor:
        """`array`, of which each device is to hold a part along `dimension` (int), if the compiler adds messages."""
        if self.mesh is None or not self.by_compiler:
            return array
        axes = [None] * dimension + [self.axis]
        return jax.lax.with_sharding_constraint(array, NamedSharding(self.mesh, PartitionSpec(*axes)))

    def own_seeds(self, seeds: Sequence[Tensor]) -> list[Tensor]:
        """The states of seed generators (uint32 [2]) from which this replica draws; all replicas hold `seeds`."""
        return [seed.at[0].add(self._offset()) for seed in seeds]

    def common_seeds(self, seeds: Sequence[Tensor]) -> list[Tensor]:
        """What all replicas hold, from this replica's states: the inverse of `own_seeds`."""
        return [seed.at[0].add(-self._offset()) for seed in seeds]

    def _offset(self):
        index = jax.numpy.asarray(self.index(), "uint32")
        return index * jax.numpy.uint32(SEED_STEP)


def cut_dimension(place: PartitionSpec) -> int | None:
    """The dimension along which a variable is cut, or None."""
    return next((index for index, axis in enumerate(place) if axis is not None), None)


def replaced(values: Sequence[Any], indices: Iterable[int], others: Iterable[Any]) -> list[Any]:
    """`values` with those at `indices` replaced by `others`."""
    values = list(values)
    for index, other in zip(indices, others, strict=True):
        values[index] = other
    return values


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
