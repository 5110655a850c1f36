"""Weights of eight bits for the processor: a quarter of the memory to read, which is what a call of one row waits for.

ONNX Runtime computes matrix products of bytes fast and convolutions of bytes slowly, so convolutions along the chunk
are first written as matrix products, in the graph itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError


def quantise(file: Path) -> None:
    """Rewrites an ONNX file with fixed shapes: the weights of its products become bytes, with one scale a column.

    What they are multiplied with is brought to bytes at each product, with one scale for a whole call, so that the rows
    of a call would depend on each other a little.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic, shape_inference
    except ImportError as error:
        raise InputError(f"precision=int8 needs the extra [export] ({error}).") from error
    onnx.save(in_products(onnx.load(file)), file)
    shape_inference.quant_pre_process(file, file, skip_optimization=True, skip_symbolic_shape=True)
    quantize_dynamic(
        file,
        file,
        op_types_to_quantize=["MatMul"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        reduce_range=True,  # seven bits: sums of two products of eight overflow on processors without VNNI
    )


def in_products(model: Any) -> Any:
    """The same graph with its convolutions along the last axis, and its linear layers, as matrix products."""
    rewriter = _Rewriter(model)
    nodes = [new for node in model.graph.node for new in rewriter.nodes(node)]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(rewriter.added.values())
    return model


def taps(steps: int, kernel: int, stride: int, padding: int, transposed: bool) -> np.ndarray:
    """Which of `steps` inputs each tap of each output of a convolution reads, [outputs, kernel]; `steps` for a zero."""
    if transposed:
        outputs = (steps - 1) * stride - 2 * padding + kernel
        reach = np.arange(outputs)[:, None] + padding - np.arange(kernel)
        source = np.where(reach % stride == 0, reach // stride, -1)
    else:
        outputs = (steps + 2 * padding - kernel) // stride + 1
        source = np.arange(outputs)[:, None] * stride + np.arange(kernel) - padding
    return np.where((source >= 0) & (source < steps), source, steps)


class _Rewriter:
    """Replaces nodes of a graph one by one. added: the new constants, by name, so that two nodes may share them."""

    def __init__(self, model: Any) -> None:
        from onnx import helper, numpy_helper

        self.helper, self.numpy = helper, numpy_helper
        self.weights = {constant.name: constant for constant in model.graph.initializer}
        values = [*model.graph.value_info, *model.graph.input]
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
        self.added: dict[str, Any] = {}

    def nodes(self, node: Any) -> Iterator[Any]:
        """What stands for a node: itself, or the nodes of its product."""
        given = {attribute.name: self.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type in ("Conv", "ConvTranspose") and self._along_the_chunk(node, given):
            yield from self._convolution(node, given)
        elif node.op_type == "Gemm" and node.input[1] in self.weights and not given.get("transA"):
            yield from self._linear(node, bool(given.get("transB")))
        else:
            yield node

    def _along_the_chunk(self, node: Any, given: dict[str, Any]) -> bool:
        kernel, ones = self.numpy.to_array(self.weights[node.input[1]]).shape, ([1, 1], None)
        return (
            len(kernel) == 4
            and kernel[2] == 1
            and given.get("group", 1) == 1
            and given.get("dilations") in ones
            and not any(given.get("output_padding", ()))
        )

    def _linear(self, node: Any, transposed: bool) -> Iterator[Any]:
        """x W (+ b)."""
        weight = self.numpy.to_array(self.weights[node.input[1]])
        right = self._constant(f"{node.input[1]}_right", weight.T if transposed else weight)
        yield from self._product(node, node.input[0], right, node.output[0])

    def _convolution(self, node: Any, given: dict[str, Any]) -> Iterator[Any]:
        """[B, C, 1, T]: channels last, the inputs of every output side by side, one product, channels first again."""
        name, transposed = node.output[0], node.op_type == "ConvTranspose"
        weight = self.numpy.to_array(self.weights[node.input[1]])[
            :, :, 0
        ]  # [C_out, C_in, k], transposed [C_in, C_out, k]
        right = weight.transpose(2, 0, 1) if transposed else weight.transpose(2, 1, 0)  # [k, C_in, C_out]
        index = taps(self.shapes[node.input[0]][3], len(right), given["strides"][1], given["pads"][1], transposed)
        flat = self._constant(f"{node.input[1]}_right", right.reshape(-1, right.shape[2]))
        make = self.helper.make_node
        yield make("Transpose", [node.input[0]], [f"{name}_last"], perm=[0, 2, 3, 1])  # [B, 1, T, C_in]
        pads = self._constant("one_zero_step", np.array([0, 0, 0, 0, 0, 0, 1, 0]))
        yield make("Pad", [f"{name}_last", pads], [f"{name}_padded"])
        taken = self._constant(f"{name}_taps", index.reshape(-1))
        yield make("Gather", [f"{name}_padded", taken], [f"{name}_taken"], axis=2)
        shape = self._constant(f"{name}_shape", np.array([0, 1, len(index), right.shape[0] * right.shape[1]]))
        yield make("Reshape", [f"{name}_taken", shape], [f"{name}_seen"])
        yield from self._product(node, f"{name}_seen", flat, f"{name}_product")
        yield make("Transpose", [f"{name}_product"], [name], perm=[0, 3, 1, 2])

    def _product(self, node: Any, left: str, right: str, out: str) -> Iterator[Any]:
        """left right (+ the node's bias)."""
        make = self.helper.make_node
        bias = node.input[2] if len(node.input) > 2 else ""
        yield make("MatMul", [left, right], [f"{out}_plain" if bias else out], name=f"{out}_matmul")
        if bias:
            yield make("Add", [f"{out}_plain", bias], [out])

    def _constant(self, name: str, values: np.ndarray) -> str:
        if name not in self.added:
            self.added[name] = self.numpy.from_array(np.ascontiguousarray(values), name)
        return name
