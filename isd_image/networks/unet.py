"""The convolutional U-Net of diffusers in the network slot, for recipes that were published with one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isd_core.networks.embedding import TimeEmbedding
from isd_core.networks.group_norm import replace_group_norms
from isd_core.support.errors import InputError
from isd_core.support.fields import Decay, Depth, Index, Positive, Size
from isd_core.support.registry import register
from isd_image.networks.dit import labels_of
from isd_image.networks.layers import LabelEmbedding


@register("network", "unet", head="image")
class UNet(nn.Module):
    """F(x; t, s, label) by diffusers' UNet2DModel; images [B, channels, size, size], labels as in `DiT`.

    widths: channels of each level, the first at full size; attention: the levels (0 is the first) with self-attention.
    The two times and the label are embedded here and take the place of the model's class embedding; its own time input
    is constant. Raises `InputError` for a size that the levels cannot halve.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        clock: Callable[[Tensor], Tensor],
        widths: Sequence[Size],
        layers: Depth,
        attention: Sequence[Index],
        head_width: Size,
        dropout: Decay = 0.0,
        features: str = "t_s",
        max_frequency: Positive = 1.0,
    ) -> None:
        super().__init__()
        try:
            import diffusers
        except ImportError as error:
            raise InputError("network=unet needs the package diffusers: pip install 'isd-flow[image]'.") from error
        if size % 2 ** (len(widths) - 1):
            raise InputError(f"network.widths has {len(widths)} levels, but {size} pixels cannot be halved so often.")
        self.classes = classes
        down = ["AttnDownBlock2D" if i in attention else "DownBlock2D" for i in range(len(widths))]
        up = ["AttnUpBlock2D" if i in attention else "UpBlock2D" for i in reversed(range(len(widths)))]
        network: Any = diffusers.UNet2DModel(
            sample_size=size,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=tuple(widths),
            layers_per_block=layers,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            attention_head_dim=head_width,
            dropout=dropout,
            norm_num_groups=min(32, widths[0] // 4),
            class_embed_type="identity",
        )
        replace_group_norms(network)
        self.network = network
        width = 4 * widths[0]
        self.time = TimeEmbedding(width, max_frequency=max_frequency, features=features, clock=clock)
        self.label = LabelEmbedding(classes, width)
        nn.init.normal_(self.label.table.weight, std=0.02)
        nn.init.zeros_(network.conv_out.weight)
        nn.init.zeros_(network.conv_out.bias)

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """x: [B, C, H, W]; t, s: [B] in path time; cond["label"]: [B] -> F, of x's shape."""
        c = self.time(t, s) + self.label(labels_of(cond, x, self.classes))
        constant = torch.zeros(len(x), device=x.device)
        return self.network(x, constant, class_labels=c).sample
