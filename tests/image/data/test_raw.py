"""Raw images: trees, flat folders, what is left out, and the crop."""

import numpy as np
import pytest
from PIL import Image

from isd_core.support.errors import InputError
from isd_image.data.crop import centre_crop, to_tensor
from isd_image.data.folder import Folder
from isd_image.data.raw import open_images


def test_classes_are_numbered_by_their_names(tree):
    raw = open_images(str(tree))
    assert (len(raw), raw.classes, raw.names) == (9, 3, ["class_0", "class_1", "class_2"])
    assert [raw.label(i) for i in range(9)] == [0] * 4 + [1] * 3 + [2] * 2


def test_a_flat_folder_has_no_classes(tree):
    raw = open_images(str(tree / "class_0"))
    assert (len(raw), raw.classes) == (4, 0)


def test_a_place_without_images_is_named(tmp_path):
    with pytest.raises(InputError, match="there are no images"):
        open_images(str(tmp_path))
    with pytest.raises(InputError, match="expected a folder"):
        open_images(str(tmp_path / "nothing"))


def test_an_empty_class_is_named(tree):
    (tree / "class_9").mkdir()
    with pytest.raises(InputError, match="class_9 holds no images"):
        open_images(str(tree))


def test_a_flat_folder_with_thumbnails_stays_flat(tree, picture):
    flat = tree / "class_0"
    for name in ("thumbs", "__MACOSX"):
        (flat / name).mkdir()
        picture(0).save(flat / name / "0.png")
    raw = open_images(str(flat))
    assert (len(raw), raw.classes) == (4, 0)
    assert raw.skipped == {"in the sub-folder thumbs": 1, "hidden": 1}


def test_strays_beside_classes_are_refused_and_no_class_is_dropped(tree, picture):
    picture(0).save(tree / "overview.png")
    with pytest.raises(InputError, match=r"1 images of its own \(overview\.png.* 9 in 3 sub-folders"):
        open_images(str(tree))


def test_hidden_files_are_nowhere_data(tree, picture):
    picture(0).save(tree / "class_0" / "._0.png")
    for name in (".cache", "__MACOSX", "class_1/.thumbs"):
        (tree / name).mkdir()
        picture(0).save(tree / name / "0.png")
    raw = open_images(str(tree))
    assert (len(raw), raw.classes, raw.skipped) == (9, 3, {"hidden": 4})


def test_what_is_left_out_is_counted_by_kind(tree, capsys):
    (tree / "class_0" / "notes.txt").write_text("")
    (tree / "class_0" / "x.gif").write_text("")
    (tree / "class_1" / "README").write_text("")
    (tree / "class_1" / "gone.png").symlink_to(tree / "nowhere.png")
    raw = open_images(str(tree))
    kinds = {"with the suffix .txt": 1, "with the suffix .gif": 1, "without a suffix": 1, "broken links": 1}
    assert raw.skipped == kinds
    raw.tell_skipped()
    assert "left out 1 broken links, 1 with the suffix .gif" in capsys.readouterr().err


def test_links_do_not_lead_out_of_the_folder_unless_allowed(tree, tmp_path, picture):
    (tmp_path / "elsewhere").mkdir()
    picture(5).save(tmp_path / "elsewhere" / "secret.png")
    (tree / "class_0" / "file.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (tree / "class_0" / "folder").symlink_to(tmp_path / "elsewhere")
    (tree / "class_0" / "inside.png").symlink_to(tree / "class_1" / "0.png")
    (tree / "class_0" / "round").symlink_to(tree)
    raw = open_images(str(tree))
    assert len(raw) == 10
    assert sum(raw.skipped.values()) == 3
    assert len(open_images(str(tree), follow_links=True)) == 12


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


def test_an_unreadable_image_is_named(tree):
    (tree / "class_1" / "broken.png").write_bytes((tree / "class_0" / "0.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"bad file class_1/broken\.png"):
        folder(tree).split("train")


def test_a_folder_without_held_out_images_says_so(tree):
    with pytest.raises(InputError, match="nothing is held out"):
        folder(tree).split("held_out")


def test_a_few_unreadable_images_are_left_out_and_told(tree, capsys):
    (tree / "class_1" / "broken.png").write_bytes(b"no picture")
    data = folder(tree, max_bad=0.2).split("train")
    assert data.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 2
    assert "class_1/broken.png" in capsys.readouterr().err
