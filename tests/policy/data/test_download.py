import hashlib

import pytest

from isd_core.support.errors import InputError
from isd_policy.data.download import download, file_name

CONTENT = b"demonstrations" * 100


class FakeHub:
    """A hub with one file; `breaks` downloads are cut off half-way first."""

    def __init__(self, content=CONTENT, breaks=0, digest=None):
        self.content, self.breaks = content, breaks
        self.digest = digest or hashlib.sha256(CONTENT).hexdigest()
        self.sent = 0

    def sha256(self, name):
        return self.digest

    def fetch(self, name, folder):
        folder.mkdir(parents=True, exist_ok=True)
        part, whole = folder / "part", folder / "file"
        have = part.stat().st_size if part.exists() else 0
        with part.open("ab") as file:
            rest = self.content[have:]
            if self.breaks:
                self.breaks -= 1
                file.write(rest[: len(rest) // 2])
                raise ConnectionError("cut off")
            file.write(rest)
            self.sent = len(rest)
        part.rename(whole)
        return whole


def test_the_file_arrives_whole_and_alone(tmp_path):
    out = tmp_path / "lift.hdf5"
    download("lift", "ph", out, FakeHub())
    assert out.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [out]


def test_an_interrupted_download_goes_on(tmp_path):
    out, hub = tmp_path / "lift.hdf5", FakeHub(breaks=1)
    with pytest.raises(InputError, match="cut off"):
        download("lift", "ph", out, hub)
    assert not out.exists()
    download("lift", "ph", out, hub)
    assert hub.sent < len(CONTENT)
    assert out.read_bytes() == CONTENT


def test_a_whole_file_is_not_fetched_again(tmp_path):
    out = tmp_path / "lift.hdf5"
    out.write_bytes(CONTENT)
    hub = FakeHub(breaks=1)
    download("lift", "ph", out, hub)
    assert hub.breaks == 1


def test_damaged_bytes_are_removed(tmp_path):
    out = tmp_path / "lift.hdf5"
    with pytest.raises(InputError, match="damaged"):
        download("lift", "ph", out, FakeHub(content=b"other"))
    assert list(tmp_path.iterdir()) == []


def test_files_are_named_as_the_hub_names_them():
    assert file_name("tool_hang", "ph") == "v1.5/tool_hang/ph/low_dim_v15.hdf5"
    assert file_name("can", "mg") == "v1.5/can/mg/low_dim_sparse_v15.hdf5"


@pytest.mark.parametrize("task, kind, match", [("pusht", "ph", "lift, can"), ("square", "mg", "ph, mh")])
def test_data_that_do_not_exist(task, kind, match):
    with pytest.raises(InputError, match=match):
        file_name(task, kind)
