"""CIFAR-10 in torchvision's layout."""

import hashlib
import pickle

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_image.data import TorchvisionCIFAR10

datasets = pytest.importorskip("torchvision.datasets")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Six images in the files of the true data set, whose hashes torchvision is told."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    pixels = np.arange(6 * 3072).astype(np.uint8).reshape(6, 3072)
    train = [[name, write(name, {"data": pixels[:4], "labels": [3, 1, 9, 0]})] for name in ("data_batch_1",)]
    test = [["test_batch", write("test_batch", {"data": pixels[4:], "labels": [7, 7]})]]
    meta = {"filename": "batches.meta", "key": "label_names", "md5": write("batches.meta", {"label_names": ["a"] * 10})}
    for name, value in {"train_list": train, "test_list": test, "meta": meta}.items():
        monkeypatch.setattr(datasets.CIFAR10, name, value)
    return tmp_path


def source(root) -> TorchvisionCIFAR10:
    return TorchvisionCIFAR10(str(root), download=False, mirror=False)


def test_both_splits_with_their_pixels_and_labels(root):
    train, held_out = source(root).split("train"), source(root).split("held_out")
    assert (train.shape, train.classes, train.labels.tolist()) == ((3, 32, 32), 10, [3, 1, 9, 0])
    assert held_out.labels.tolist() == [7, 7]
    pixels = np.arange(6 * 3072).astype(np.uint8).reshape(6, 3, 32, 32)
    np.testing.assert_array_equal(train.images.numpy(), pixels[:4])


def test_files_that_are_absent_or_changed_are_refused(root, tmp_path):
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"changed")
    for place in (root, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"data\.source\.root=.* holds no whole cifar-10-batches-py"):
            source(place).split("train")
