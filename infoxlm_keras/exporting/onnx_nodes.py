"""Collects the nodes and constants of an ONNX graph. Needs the package onnx."""

from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.optional_library import import_library

# Opset 20 brought Gelu. Both are read by ONNX Runtime 1.17 and OpenVINO 2024 and later.
OPSET, IR_VERSION = 20, 9


class OnnxNodes:
    """A graph under construction: `op` adds a node and returns the name of its output.

    Raises:
        InputError: if onnx is not installed.

    Example:
    ```python
    nodes = OnnxNodes()
    doubled = nodes.op("Mul", "numbers", nodes.constant(2.0))
    model = nodes.model({"numbers": ("INT64", ["rows"])}, {doubled: ("FLOAT", ["rows"])})
    ```
    """

    def __init__(self) -> None:
        self._onnx = import_library("onnx", "an export to ONNX", "onnx")
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def constant(self, values: Any, name: str | None = None) -> str:
        """Adds a constant, floats as float32 and integers as int64 unless it is an array; returns its name."""
        if not isinstance(values, np.ndarray):
            values = np.array(values)
            values = values.astype(np.float32 if values.dtype.kind == "f" else np.int64)
        name = name or f"{values.dtype}_{'_'.join(map(str, [*values.shape, *values.ravel().tolist()]))}"
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def op(self, kind: str, *inputs: str, name: str | None = None, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node of the operator `kind`; returns the name of its output, or a list of names of several."""
        name = name or f"{kind}_{len(self._nodes)}"
        names = [name if outputs == 1 else f"{name}_{number}" for number in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, names, name=f"{name}/{kind}", **attributes))
        return names[0] if outputs == 1 else names

    def dense(self, inputs: str, kernel: Array, bias: Array, name: str) -> str:
        """`inputs` [..., in] times `kernel` float32 [in, out], plus `bias` [out]."""
        product = self.op("MatMul", inputs, self.constant(kernel, f"{name}.weight"), name=f"{name}.product")
        return self.op("Add", product, self.constant(bias, f"{name}.bias"), name=name)

    def layer_norm(self, inputs: str, gamma: Array, beta: Array, epsilon: float, name: str) -> str:
        """Layer normalisation of `inputs` over the last axis."""
        scale, shift = self.constant(gamma, f"{name}.weight"), self.constant(beta, f"{name}.bias")
        return self.op("LayerNormalization", inputs, scale, shift, name=name, axis=-1, epsilon=epsilon)

    def model(self, inputs: dict[str, tuple[str, list[Any]]], outputs: dict[str, tuple[str, list[Any]]]) -> Any:
        """The `onnx.ModelProto`.

        Args:
            inputs, outputs: dict of name to (type, shape): a name of `onnx.TensorProto`, and a list of int and of
                names of dimensions that are not fixed.
        """
        helper = self._onnx.helper

        def infos(tensors):
            return [
                helper.make_tensor_value_info(name, getattr(self._onnx.TensorProto, kind), shape)
                for name, (kind, shape) in tensors.items()
            ]

        graph = helper.make_graph(
            self._nodes, "infoxlm", infos(inputs), infos(outputs), list(self._constants.values())
        )
        return helper.make_model(
            graph,
            producer_name="infoxlm_keras",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
