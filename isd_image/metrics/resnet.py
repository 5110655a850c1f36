"""The residual networks of CIFAR-10 (1512.03385, section 4.2) with the names of akamaster/pytorch_resnet_cifar10."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a skip that drops pixels and pads channels where the size changes (1512.03385)."""

    def __init__(self, of: int, to: int) -> None:
        super().__init__()
        self.stride, self.pad = to // of, (to - of) // 2
        self.conv1 = nn.Conv2d(of, to, 3, stride=self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(to)
        self.conv2 = nn.Conv2d(to, to, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(to)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        skip = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + skip)


class ResNet(nn.Module):
    """6 n + 2 layers on 32 x 32 images."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[BasicBlock(16, 16) for _ in range(n)])
        self.layer2 = nn.Sequential(BasicBlock(16, 32), *[BasicBlock(32, 32) for _ in range(n - 1)])
        self.layer3 = nn.Sequential(BasicBlock(32, 64), *[BasicBlock(64, 64) for _ in range(n - 1)])
        self.linear = nn.Linear(64, 10)

    def features(self, x: Tensor) -> Tensor:
        """[B, 3, 32, 32] -> [B, 64], the mean over the last map."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))
