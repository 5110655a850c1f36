"""Raw images: trees, flat folders, tar shards, and the crop."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from isd_core.support.errors import InputError
from isd_image.data.crop import centre_crop, to_tensor
from isd_image.data.folder import Folder
from isd_image.data.raw import decode, open_images


@pytest.fixture
def png(picture):
    """png(seed): an encoded picture."""

    def make(seed: int) -> bytes:
        buffer = io.BytesIO()
        picture(seed).save(buffer, "PNG")
        return buffer.getvalue()

    return make


def write_tar(path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_classes_are_numbered_by_their_names(tree):
    raw = open_images(str(tree))
    assert (len(raw), raw.classes, raw.names) == (9, 3, ["class_0", "class_1", "class_2"])
    assert [raw.label(i) for i in range(9)] == [0] * 4 + [1] * 3 + [2] * 2


def test_a_flat_folder_has_no_classes(tree):
    raw = open_images(str(tree / "class_0"))
    assert (len(raw), raw.classes) == (4, 0)


def test_tar_shards_give_images_and_labels(tmp_path, png, picture):
    write_tar(tmp_path / "a-0.tar", {"x1.png": png(1), "x1.cls": b"2", "x2.png": png(2), "x2.cls": b"0"})
    write_tar(tmp_path / "a-1.tar", {"y.json": b'{"label": 1}', "y.png": png(3)})
    raw = open_images(str(tmp_path / "a-*.tar"))
    assert (len(raw), raw.classes, [raw.label(i) for i in range(3)]) == (3, 3, [2, 0, 1])
    np.testing.assert_array_equal(np.asarray(decode(raw.read(2))), np.asarray(picture(3)))


def test_a_tar_image_without_its_label_is_named(tmp_path, png):
    write_tar(tmp_path / "a.tar", {"x1.png": png(1), "x1.cls": b"2", "x2.png": png(2)})
    with pytest.raises(InputError, match=r"image x2 has neither x2\.cls"):
        open_images(str(tmp_path / "a.tar"))


def test_a_label_that_is_no_number_is_named(tmp_path, png):
    write_tar(tmp_path / "a.tar", {"x1.png": png(1), "x1.cls": b"cat"})
    with pytest.raises(InputError, match=r"x1\.cls: expected a class number"):
        open_images(str(tmp_path / "a.tar"))


def test_a_file_that_is_no_tar_is_named(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar" * 300)
    with pytest.raises(InputError, match="not a whole tar file"):
        open_images(str(tmp_path / "a.tar"))


def test_a_place_without_images_is_named(tmp_path):
    with pytest.raises(InputError, match="there are no images"):
        open_images(str(tmp_path))
    with pytest.raises(InputError, match="expected a folder"):
        open_images(str(tmp_path / "nothing"))


def test_an_empty_class_is_named(tree):
    (tree / "class_9").mkdir()
    with pytest.raises(InputError, match="class_9 holds no images"):
        open_images(str(tree))


def test_the_digest_sees_a_changed_label(tree):
    before = open_images(str(tree)).digest()
    (tree / "class_0" / "0.png").rename(tree / "class_1" / "9.png")
    assert open_images(str(tree)).digest() != before


@pytest.mark.parametrize("size", [(500, 375), (64, 64), (70, 300), (33, 32)])
def test_the_crop_has_the_size_and_the_centre(size):
    image = Image.new("RGB", size, (255, 255, 255))
    width, height = size
    half = min(size) // 4
    image.paste((255, 0, 0), (width // 2 - half, height // 2 - half, width // 2 + half, height // 2 + half))
    crop = centre_crop(image, 32)
    assert crop.size == (32, 32)
    red = np.asarray(crop)[:, :, 1] < 128
    rows, columns = np.nonzero(red)
    assert abs(rows.mean() - 15.5) < 1
    assert abs(columns.mean() - 15.5) < 1


def test_a_crop_of_the_right_size_changes_nothing(picture):
    image = picture(0, (32, 32))
    np.testing.assert_array_equal(np.asarray(centre_crop(image, 32)), np.asarray(image))


def test_channels_of_a_tensor(picture):
    assert to_tensor(picture(0), 3).shape == (3, 32, 40)
    assert to_tensor(picture(0), 1).shape == (1, 32, 40)


def folder(tree, **changes) -> Folder:
    fields = {
        "root": str(tree),
        "train": "",
        "held_out": None,
        "size": 16,
        "channels": 3,
        "mirror": False,
        "labelled": True,
    }
    return Folder(**(fields | changes))


def test_a_folder_in_memory(tree):
    data = folder(tree).split("train")
    assert (data.shape, data.classes, len(data)) == ((3, 16, 16), 3, 9)
    assert data.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 2


def test_a_folder_without_its_labels(tree):
    data = folder(tree, labelled=False).split("train")
    assert (data.classes, data.labels.tolist()) == (0, [0] * 9)


def test_an_unreadable_image_is_named(tree, png):
    (tree / "class_1" / "broken.png").write_bytes(png(1)[:60])
    with pytest.raises(InputError, match=r"class_1/broken\.png cannot be read"):
        folder(tree).split("train")


def test_a_folder_without_held_out_images_says_so(tree):
    with pytest.raises(InputError, match="nothing is held out"):
        folder(tree).split("held_out")
