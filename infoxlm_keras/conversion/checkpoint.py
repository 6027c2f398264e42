"""Tensors of a checkpoint under the names of `infoxlm_keras.conversion.parameters`, whichever library wrote it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.conversion.tensor_files import TensorFiles
from infoxlm_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where a tensor is stored: as the whole tensor `name`, or as part number `part` of its `parts` equal parts."""

    name: str
    part: int = 0
    parts: int = 1


class Checkpoint:
    """A view of `TensorFiles` under our names. A tensor is read from its file only on request.

    Args:
        files: `TensorFiles`.
        stored: dict of our name to `Stored`.
        arguments: dict, arguments of `XLMRobertaBackbone`.
        directory: path, for messages.
    """

    def __init__(
        self, files: TensorFiles, stored: dict[str, Stored], arguments: dict[str, Any], directory: PathLike
    ) -> None:
        self.files = files
        self.stored = stored
        self.arguments = arguments
        self.directory = directory

    def __contains__(self, name: str) -> bool:
        return name in self.stored

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of tensor `name`, tuple of int."""
        where = self.stored[name]
        rows, *rest = self.files.shape(where.name) or (1,)
        return rows // where.parts, *rest

    def read(self, name: str) -> Array:
        """Tensor `name` as a NumPy array in the dtype stored."""
        where = self.stored[name]
        if where.parts == 1:
            return self.files.read(where.name)
        size = self.files.shape(where.name)[0] // where.parts
        return self.files.read(where.name, slice(where.part * size, (where.part + 1) * size))

    def require(self, name: str, shape: Sequence[int | None]) -> None:
        """Raises InputError unless tensor `name` exists, holds floats and has `shape` (None: any length)."""
        if name not in self.stored:
            raise InputError(f"{self.directory}: holds no tensor {name}; the checkpoint is not whole")
        found = self.shape(name)
        path = self.files.path(self.stored[name].name)
        if len(found) != len(shape) or any(want not in (None, have) for want, have in zip(shape, found, strict=True)):
            raise InputError(
                f"{path}: {self.stored[name].name} has shape {found}, but the configuration asks for {tuple(shape)}"
            )
        self.files.check_dtype(self.stored[name].name)
