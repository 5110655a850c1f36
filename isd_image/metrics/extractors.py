"""Feature extractors. A number is only comparable to others of the same extractor, so its name goes with it.

An extractor turns bytes [B, C, H, W] into `Features`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.fields import Count, Depth, Index, Size
from isd_core.support.registry import register, role
from isd_image.metrics.resnet import ResNet
from isd_image.weights import read_weights

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
INCEPTION_SHA256 = "6726825d"


class Features(NamedTuple):
    """What an extractor says of B images: features [B, D]; logits [B, K] of one that classifies; spatial features
    [B, S] of one that gives ADM's (2105.05233, for sFID).
    """

    features: Tensor
    logits: Tensor | None = None
    spatial: Tensor | None = None


@role("extractor", "extractors")
class Extractor(ABC):
    """`name` labels every number; `weights` is a hash of what decides the features; `classes` counts the logits.

    `resize` says what happens to an image first.
    """

    name: str
    weights: str
    resize: str
    classes: int

    @abstractmethod
    def __call__(self, images: Tensor) -> Features: ...


@register("extractor", "pixels")
class Pixels(Extractor):
    """The pixels themselves in [-1, 1], of small images; with `side`, means over a grid of side x side cells."""

    weights, classes = "none", 0

    def __init__(self, side: Size | None, limit: Count) -> None:
        self.side, self.limit = side, limit
        self.name = "pixels" if side is None else f"pixels{side}"
        self.resize = "none" if side is None else f"means over {side} x {side} cells"

    def __call__(self, images: Tensor) -> Features:
        x = images.float() / 127.5 - 1
        features = (x if self.side is None else F.adaptive_avg_pool2d(x, self.side)).flatten(1)
        if features.shape[1] > self.limit:
            raise InputError(
                f"extractor=pixels: an image has {features.shape[1]} values, more than extractor.limit={self.limit}; "
                "set extractor.side to average over cells, or choose another extractor."
            )
        return Features(features)


@register("extractor", "digits")
class DigitPixels(Extractor):
    """The 64 pixels of a digit, and a support vector machine that was fitted to the real training digits."""

    name, resize, classes = "pixels", "none", 10

    def __init__(self, held_out: Count, split_seed: Index) -> None:
        from sklearn.svm import SVC

        from isd_image.data import Digits

        train = Digits(held_out, split_seed).split("train")
        self._machine = SVC(C=10.0, gamma="scale").fit(train.images.flatten(1).numpy(), train.labels.numpy())
        self.weights = f"SVC of scikit-learn, held_out={held_out}, split_seed={split_seed}"

    def __call__(self, images: Tensor) -> Features:
        features = images.flatten(1).float() / 127.5 - 1
        if features.shape[1] != self._machine.n_features_in_:
            raise InputError(
                f"extractor=digits judges grey images of 8 x 8 pixels; these are {list(images.shape[1:])}. "
                "Choose another extractor, such as extractor=pixels."
            )
        return Features(features, torch.from_numpy(self._machine.decision_function(features.numpy())))


@register("extractor", "cifar_resnet")
class CifarResNet(Extractor):
    """ResNet-20 or -56 for CIFAR-10 with the weights of github.com/akamaster/pytorch_resnet_cifar10; 64 features."""

    resize, classes = "none", 10

    def __init__(self, depth: Depth, source: str | None) -> None:
        how = f"Download resnet{depth}-*.th of github.com/akamaster/pytorch_resnet_cifar10 and set extractor.source."
        if source is None or not Path(source).is_file():
            raise InputError(f"extractor=cifar_resnet has no weights: {source} is no file. {how}")
        saved = read_weights(Path(source), "extractor=cifar_resnet")
        self._network = ResNet((depth - 2) // 6)
        try:
            state = saved["state_dict"]
            self._network.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{source} does not hold a ResNet-{depth} for CIFAR-10: {str(error)[:200]}") from error
        self._network.eval()
        self.name, self.weights = f"resnet{depth}-cifar10", files.sha256(source)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        if images.shape[1:] != (3, 32, 32):
            raise InputError(f"extractor=cifar_resnet takes images of 3 x 32 x 32, not {list(images.shape[1:])}.")
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        features = self._network.features((images.float() / 255 - mean) / std)
        return Features(features, self._network.linear(features))


@register("extractor", "inception")
class Inception(Extractor):
    """torch-fidelity's Inception-v3 with the original TensorFlow weights: the extractor of the FID."""

    name, resize, classes = "inception-v3", "bilinear to 299 x 299 as in TensorFlow 1 (torch-fidelity)", 1008

    def __init__(self, source: str | None, device: str) -> None:
        how = (
            f"Download {INCEPTION_URL} and set extractor.source to the file. Without it, extractor=pixels or "
            "cifar_resnet give Fréchet distances under their own names."
        )
        if source is None or not Path(source).is_file():
            raise InputError(f"extractor=inception has no weights: {source} is no file. {how}")
        self.weights = files.sha256(source)
        if not self.weights.startswith(INCEPTION_SHA256):
            raise InputError(f"{source} is not {INCEPTION_FILE}: its SHA-256 begins with {self.weights[:8]}. {how}")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise InputError("extractor=inception needs torch-fidelity: pip install 'isd-flow[eval]'.") from error
        read_weights(Path(source), "extractor=inception")  # torch-fidelity's own reading would run code in the file
        from isd_core.support.device import pick_device

        self._device = pick_device(device)
        network: Any = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(source))
        self._network = network.to(self._device)
        self._spatial: list[Tensor] = []
        self._network.Mixed_6d.branch1x1.register_forward_hook(self._keep_spatial)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        features, logits = self._network(images.expand(-1, 3, -1, -1).to(self._device))
        return Features(features.cpu(), logits.cpu(), self._spatial.pop())

    def _keep_spatial(self, module: nn.Module, given: Any, out: Tensor) -> None:
        """ADM's mixed_6/conv: the first 7 channels of a 17 x 17 map, flattened with the channels last."""
        self._spatial.append(out[:, :7].permute(0, 2, 3, 1).flatten(1).float().cpu())


def describe(extractor: Extractor) -> dict[str, str]:
    """What decides the features, as it is written beside every number."""
    return {"name": extractor.name, "weights": extractor.weights, "resize": extractor.resize}


def digest(protocol: Any) -> str:
    """A short hash of a protocol's JSON."""
    return hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:12]
