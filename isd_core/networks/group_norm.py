"""Group normalisation that can be compiled together with its forward derivative."""

from __future__ import annotations

import torch
from torch import Tensor, nn

OLDER = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
"""In torch 2.11 the forward derivative of torch's operator needs contiguous numbers, and whoever compiles counts as
exporting."""


class GroupNorm(nn.GroupNorm):
    """Group normalisation of [B, C, ...], written out where torch.compile traces it.

    torch 2.15 cannot trace the forward derivative of its own operator (an assertion on inference mode fails), and then
    hands out a loss without gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape."""
        if not torch.compiler.is_dynamo_compiling() or (torch.compiler.is_exporting() and not OLDER):
            return super().forward(x.contiguous() if OLDER else x)
        groups = x.unflatten(1, (self.num_groups, -1)).to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(groups, dim=tuple(range(2, groups.ndim)), correction=0, keepdim=True)
        normal = ((groups - mean) * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        shape = (-1, *[1] * (x.ndim - 2))
        return normal * self.weight.view(shape) + self.bias.view(shape)


def replace_group_norms(module: nn.Module) -> None:
    """Puts this group normalisation in the place of torch's in another library's network, with the same weights."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.GroupNorm:
                own = GroupNorm(child.num_groups, child.num_channels, child.eps)
                own.weight, own.bias = child.weight, child.bias
                setattr(parent, name, own)
