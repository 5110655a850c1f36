"""The 8 x 8 digits that scikit-learn carries with it: 1,797 real scans, no download."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.fields import Count, Index
from isd_core.support.registry import register
from isd_image.data.arrays import ImageSource, LabelledImages

CLASSES = 10


@register("source", "digits")
@dataclass(frozen=True)
class Digits(ImageSource):
    """The UCI optical digits (sklearn.datasets.load_digits), 17 grey levels mapped to [-1, 1].

    `held_out` images are kept from training; which ones depends on `split_seed` alone.
    """

    held_out: Count
    split_seed: Index

    def split(self, name: str) -> LabelledImages:
        """The "train" or the "held_out" images, [N, 1, 8, 8]."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        count = len(digits.images)
        if not 0 < self.held_out < count:
            raise InputError(f"data.held_out={self.held_out}: expected 1 to {count - 1} of the {count} digits.")
        order = seeds.numpy_rng(self.split_seed, "digits split").permutation(count)
        chosen = order[: self.held_out] if name == "held_out" else order[self.held_out :]
        images = torch.from_numpy(digits.images[chosen]).float()[:, None] / 8 - 1
        labels = torch.from_numpy(digits.target[chosen]).long()
        return LabelledImages(images, labels, CLASSES, f"digits/{name}")
