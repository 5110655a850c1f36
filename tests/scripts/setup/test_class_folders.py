"""Unpacking a zip of images into one folder a class."""

import zipfile

import pytest

from isd_core.support.errors import InputError
from scripts.setup.class_folders import unpack


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        for name in ("n1_cat.jpg", "sub/n1_other.JPEG", "n2_dog.png", "readme.txt", "../n3_escape.jpg"):
            file.writestr(name, name)
    return tmp_path / "images.zip"


def test_each_class_has_its_folder(archive, tmp_path):
    assert unpack(archive, tmp_path / "out") == 4
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["n1/n1_cat.jpg", "n1/n1_other.JPEG", "n2/n2_dog.png", "n3/n3_escape.jpg"]


def test_nothing_is_written_outside_the_folder(archive, tmp_path):
    unpack(archive, tmp_path / "deep" / "out")
    assert not list(tmp_path.glob("*escape*"))


def test_a_file_that_is_no_zip_is_named(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no")
    with pytest.raises(InputError, match=r"x\.zip"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


def test_a_zip_without_images_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a.txt", "a")
    with pytest.raises(InputError, match="holds no files"):
        unpack(tmp_path / "x.zip", tmp_path / "out")
