"""Small images on disk, and commands called in this process."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def call():
    """call(command or its module, config_name, *overrides): the exit code."""
    return lambda command, name, *overrides: getattr(command, "main", command).run(*overrides)


@pytest.fixture(scope="session")
def picture():
    """picture(seed, size=(40, 32)): smooth random colours."""

    def make(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)

    return make


@pytest.fixture
def tree(tmp_path, picture):
    """Three classes with 4, 3 and 2 pictures."""
    root = tmp_path / "images"
    for label, count in enumerate((4, 3, 2)):
        folder = root / f"class_{label}"
        folder.mkdir(parents=True)
        for i in range(count):
            picture(10 * label + i).save(folder / f"{i}.png")
    return root
