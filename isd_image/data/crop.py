"""The centre crop of ADM (2105.05233), which ImageNet numbers are computed on."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

NAME = "adm-centre"


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """`image` cut to size x size: halved by a box filter while twice too large, then bicubic, then its centre."""
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image, channels: int) -> Tensor:
    """[channels, H, W] bytes of an image, as grey levels (1) or RGB (3)."""
    array = np.array(image.convert("L" if channels == 1 else "RGB"))
    tensor = torch.from_numpy(array)
    return tensor[None] if channels == 1 else tensor.permute(2, 0, 1).contiguous()
