"""webdataset's tar shards: keys, labels, and what is refused."""

import io
import tarfile

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_image.data.decode import decode
from isd_image.data.raw import open_images
from isd_image.data.tars import split_name


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


@pytest.mark.parametrize(
    "name, parts",
    [
        ("x.jpg", ("x", "jpg")),
        ("./x.jpg", ("./x", "jpg")),
        ("v1.0/x.JPG", ("v1.0/x", "jpg")),
        ("a/x.left.png", ("a/x", "left.png")),
        ("x", ("x", "")),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_base_name(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize("folder", ["./", "v1.0/", "a.b/c.d/"])
def test_images_in_folders_with_dots_keep_their_labels(tmp_path, png, folder):
    members = {f"{folder}x.jpg": png(1), f"{folder}x.CLS": b"1", f"{folder}y.JPG": png(2), f"{folder}y.cls": b"0"}
    write_tar(tmp_path / "a.tar", members)
    raw = open_images(str(tmp_path / "a.tar"))
    assert [raw.label(i) for i in range(len(raw))] == [1, 0]


def test_img2datasets_json_has_no_label(tmp_path, png):
    about = b'{"url": "x", "caption": "a cat", "key": "000", "width": 40, "pwatermark": NaN}'
    write_tar(tmp_path / "a.tar", {"000.jpg": png(1), "000.json": about, "000.txt": b"a cat"})
    raw = open_images(str(tmp_path / "a.tar"))
    assert (len(raw), raw.classes, raw.skipped) == (1, 0, {"with the suffix .txt": 1})


def test_more_classes_may_be_declared_than_the_shards_use(tmp_path, png):
    write_tar(tmp_path / "a.tar", {"x.png": png(1), "x.cls": b"2"})
    assert open_images(str(tmp_path / "a.tar"), classes=1000).classes == 1000
    with pytest.raises(InputError, match="has 3 classes"):
        open_images(str(tmp_path / "a.tar"), classes=2)


def test_hidden_members_and_links_are_no_data(tmp_path, png):
    path = tmp_path / "a.tar"
    write_tar(path, {"x.png": png(1), "._x.png": b"fork", "__MACOSX/x.png": b"fork"})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("y.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    raw = open_images(str(path))
    assert (len(raw), raw.skipped) == (1, {"hidden": 2, "links": 1})


@pytest.mark.parametrize(
    "members, message",
    [
        ({"x.json": b'{"label": 1.5}'}, "found 1.5"),
        ({"x.json": b'{"label": true}'}, "found True"),
        ({"x.json": b"{"}, "not valid JSON"),
        ({"x.cls": b"-1"}, "negative"),
        ({"x.cls": b"1", "x.json": b'{"label": 2}'}, "says class 2, .*x.cls says 1"),
        ({"x.png": b""}, "two images"),
    ],
)
def test_labels_that_make_no_sense_are_named(tmp_path, png, members, message):
    write_tar(tmp_path / "a.tar", {"x.jpg": png(1)} | members)
    with pytest.raises(InputError, match=message):
        open_images(str(tmp_path / "a.tar"))
