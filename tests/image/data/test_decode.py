"""From encoded files to pixels: formats, depth, orientation, transparency, damage."""

import io
import subprocess

import numpy as np
import pytest
from PIL import Image

from isd_core.support.errors import InputError
from isd_image.data.decode import BadImageError, check_bad, decode


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_another_format_under_an_images_name_is_never_opened(monkeypatch):
    """Pillow would start Ghostscript on an EPS."""
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: pytest.fail("a program was started"))
    eps = encoded(Image.new("RGB", (4, 4)), "EPS")
    for data in (eps, encoded(Image.new("RGB", (4, 4)), "TIFF"), encoded(Image.new("RGB", (4, 4)), "GIF")):
        with pytest.raises(BadImageError, match="no image of a known format"):
            decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_the_content_decides_the_format(kind, picture):
    assert decode(encoded(picture(1), kind)).size == (40, 32)


def test_sixteen_bits_are_scaled_and_not_clipped():
    levels = np.array([[0, 257, 32768, 65535]], np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(levels)))).tolist() == [[0, 1, 128, 255]]


def test_a_photograph_stands_upright():
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = np.asarray(decode(encoded(image, exif=exif)))
    assert turned.shape == (3, 2, 3)
    assert turned[0, 1].tolist() == [255, 255, 255]


def test_a_damaged_exif_block_costs_no_image(picture):
    data = encoded(picture(1), exif=b"Exif\x00\x00nonsense")
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(picture(1)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_what_is_transparent_is_white(mode):
    grey = Image.fromarray(np.array([[0, 100]], np.uint8))
    if mode in ("RGBA", "LA"):
        image, options = grey.convert(mode), {}
        image.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    else:
        image, options = grey.convert(mode), {"transparency": 0}
    found = np.asarray(decode(encoded(image, **options)).convert("L"))
    assert found.tolist() == [[255, 100]]


def test_opaque_pixels_stay_as_they_are(picture):
    for mode in ("RGB", "RGBA", "L", "1"):
        image = picture(3).convert(mode)
        expected = image.convert("L" if mode in ("L", "1") else "RGB")
        np.testing.assert_array_equal(np.asarray(decode(encoded(image))), np.asarray(expected))


def test_every_damage_is_a_bad_image(picture):
    """Whatever a decoder raises: cuts and flipped bytes of all four formats."""
    rng = np.random.default_rng(0)
    said = []
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        whole = encoded(picture(2), kind)
        for _ in range(40):
            data = bytearray(whole[: rng.integers(0, len(whole))] if rng.random() < 0.3 else whole)
            for place in rng.integers(0, max(len(data), 1), 4)[: len(data)]:
                data[place] ^= 1 << rng.integers(8)
            try:
                decode(bytes(data))
            except BadImageError as error:
                said.append(str(error))
    assert len(said) > 20
    assert all(said)


def test_any_exception_of_a_decoder_is_a_bad_image(picture, monkeypatch):
    def fails(self):
        raise IndexError("list index out of range")

    data = encoded(picture(1))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails)
    with pytest.raises(BadImageError, match="list index"):
        decode(data)


def test_bad_files_count_against_a_share():
    check_bad(["a: x"], 10, 0.1)
    with pytest.raises(InputError, match="bad file a: x"):
        check_bad(["a: x"], 10, 0.05)
    with pytest.raises(InputError, match="max_bad=1 is a share"):
        check_bad([], 10, 1)
