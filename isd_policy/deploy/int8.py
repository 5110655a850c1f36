"""Weights of eight bits for the processor: a quarter of the memory to read, which is what a call of one row waits for.

ONNX Runtime computes matrix products of bytes fast and convolutions of bytes slowly, so convolutions along the chunk
are first written as matrix products.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isd_core.errors import InputError
from isd_policy.policy import Policy


class Linear(nn.Module):
    """A linear layer with its weight as the right factor, [in, out]: two calls of the network may share it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().T.contiguous())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class Product(nn.Module):
    """A convolution along the last axis of [B, C, 1, T] as one matrix product of [B, T', kernel * C].

    spread: a transposed convolution first puts so many minus one zeros between two steps; pad: (left, right) zeros.
    """

    def __init__(self, kernel: Tensor, bias: Tensor | None, stride: int, spread: int, pad: tuple[int, int]) -> None:
        """kernel: [C_out, C_in, k]."""
        super().__init__()
        self.width, self.stride, self.spread, self.pad = kernel.shape[-1], stride, spread, pad
        self.weight = nn.Parameter(kernel.permute(2, 1, 0).flatten(0, 1).contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, 1, T] -> [B, C_out, 1, T']."""
        x = x.squeeze(2).transpose(1, 2)  # [B, T, C_in]
        if self.spread > 1:
            apart = torch.cat([x, *[torch.zeros_like(x)] * (self.spread - 1)], dim=-1)
            x = apart.reshape(x.shape[0], self.spread * x.shape[1], x.shape[2])[:, : 1 - self.spread]
        x = F.pad(x, (0, 0, *self.pad))
        steps = (x.shape[1] - self.width) // self.stride + 1
        last = (steps - 1) * self.stride + 1
        seen = torch.cat([x[:, i : i + last : self.stride] for i in range(self.width)], dim=-1)
        y = seen @ self.weight
        return (y if self.bias is None else y + self.bias).transpose(1, 2).unsqueeze(2)


def product_of(layer: nn.Conv2d | nn.ConvTranspose2d) -> Product:
    """The same map as a `Product`; `InputError` for a convolution that is not along the last axis alone."""
    (height, width), stride, padding = layer.kernel_size, layer.stride[1], layer.padding[1]
    if height != 1 or layer.groups != 1 or set(layer.dilation) != {1} or set(layer.output_padding) != {0}:
        raise InputError(f"precision=int8 knows convolutions along the chunk, not {layer}.")
    weight = layer.weight.detach()[:, :, 0]
    bias = None if layer.bias is None else layer.bias.detach()
    if isinstance(layer, nn.ConvTranspose2d):
        edge = width - 1 - int(padding)
        return Product(weight.transpose(0, 1).flip(-1), bias, 1, int(stride), (edge, edge))
    return Product(weight, bias, int(stride), 1, (int(padding), int(padding)))


def with_products(policy: Policy) -> Policy:
    """A copy of the policy whose network computes its convolutions and linear layers as plain matrix products."""
    policy = copy.deepcopy(policy)
    for name, layer in list(policy.net.named_modules()):
        parent, _, own = name.rpartition(".")
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            setattr(policy.net.get_submodule(parent), own, product_of(layer))
        elif isinstance(layer, nn.Linear):
            setattr(policy.net.get_submodule(parent), own, Linear(layer))
    return policy


def quantise(file: Path) -> None:
    """Rewrites an ONNX file: the weights of its matrix products become bytes, with one scale a column.

    What they are multiplied with is brought to bytes at each product, with one scale for a whole call, so that the rows
    of a call depend on each other a little.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic, shape_inference
    except ImportError as error:
        raise InputError(
            f"precision=int8 needs the extra [export] ({error}): pip install 'isd-flow[export]'."
        ) from error
    model = onnx.load(file)
    del model.graph.value_info[:]  # the exporter's shapes, which quantisation changes
    onnx.save(model, file)
    shape_inference.quant_pre_process(file, file, skip_optimization=True, skip_symbolic_shape=True)
    quantize_dynamic(
        file,
        file,
        op_types_to_quantize=["MatMul", "Gemm"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        reduce_range=True,  # seven bits: sums of two products of eight overflow on processors without VNNI
    )
