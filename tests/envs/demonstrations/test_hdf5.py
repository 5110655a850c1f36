"""What a file of demonstrations may not do: reach outside itself, or be broken without being told so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import is_group, open_group
from isd_envs.demonstrations import hdf5
from isd_envs.spec import EnvSpec

Change = Callable[[h5py.File], None]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """make(change, name): a file of two demonstrations of three steps, after a change."""

    def made(change: Change | None = None, name: str = "demos.hdf5") -> Path:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = json.dumps(EnvSpec("lift").env_args)
            for i in range(2):
                demo = data.create_group(f"demo_{i}")
                demo.attrs["num_samples"] = 3
                demo.attrs["model_file"] = "<mujoco/>"
                demo["actions"], demo["states"] = np.zeros((3, 7)), np.zeros((3, 32))
                demo["obs/object"] = np.full((3, 10), float(i))
            file["mask/train"] = np.array([b"demo_0"])
            if change is not None:
                change(file)
        return path

    return made


def read(path: Path, external: bool = False) -> np.ndarray:
    with hdf5.opened(path, external) as file:
        found = file.find("demo_1", "obs/object")
        assert found is not None
        values: np.ndarray = found[()]
        return values


def external_link(file: h5py.File) -> None:
    del file["data/demo_1/obs/object"]
    file["data/demo_1/obs/object"] = h5py.ExternalLink("other.hdf5", "data/demo_0/obs/object")


def external_group(file: h5py.File) -> None:
    del file["data/demo_1"]
    file["data/demo_1"] = h5py.ExternalLink("other.hdf5", "data/demo_0")


def behind_a_soft_link(file: h5py.File) -> None:
    external_group(file)
    file.move("data/demo_1", "data/hidden")
    file["data/demo_1"] = h5py.SoftLink("hidden")


def external_storage(file: h5py.File) -> None:
    del file["data/demo_1/obs/object"]
    here = Path(file.filename).parent
    (here / "raw.bin").write_bytes(np.zeros((3, 10)).tobytes())
    external = [(str(here / "raw.bin"), 0, 240)]
    file.create_dataset("data/demo_1/obs/object", (3, 10), "f8", external=external)


def view(file: h5py.File) -> None:
    del file["data/demo_1/obs/object"]
    layout = h5py.VirtualLayout((3, 10), "f8")
    layout[:] = h5py.VirtualSource("other.hdf5", "data/demo_0/obs/object", (3, 10))
    file.create_virtual_dataset("data/demo_1/obs/object", layout)


@pytest.mark.parametrize("change", [external_link, external_group, behind_a_soft_link, external_storage, view])
def test_data_of_other_files_is_refused_unless_allowed(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Change
) -> None:
    make(name="other.hdf5")
    path = make(change)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"(other\.hdf5|raw\.bin).*external=true"):
        read(path)
    np.testing.assert_array_equal(read(path, external=True), np.zeros((3, 10)))
    with pytest.raises(InputError, match=r"other\.hdf5|raw\.bin"):
        hdf5.check_own(path)


def test_a_view_of_the_file_itself_is_its_own(make: Callable[..., Path]) -> None:
    def change(file: h5py.File) -> None:
        del file["data/demo_1/obs/object"]
        layout = h5py.VirtualLayout((3, 10), "f8")
        layout[:] = h5py.VirtualSource(".", "data/demo_0/obs/object", (3, 10))
        file.create_virtual_dataset("data/demo_1/obs/object", layout)
        file["data/demo_2"] = h5py.SoftLink("/data/demo_0")
        file["data/demo_0/ring"] = file["data"]

    path = make(change)
    np.testing.assert_array_equal(read(path), np.zeros((3, 10)))
    hdf5.check_own(path)
    with hdf5.opened(path) as file:
        assert file.names == ("demo_0", "demo_1", "demo_2")


@pytest.mark.parametrize("name", ["../secret.xml", "/etc/hostname", "sub/model.xml"])
def test_a_model_is_beside_the_file_or_in_it(make: Callable[..., Path], tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.xml").write_text("<mujoco/>")
    path = make(lambda file: file["data/demo_0"].attrs.__setitem__("model_file", name))
    with hdf5.opened(path) as file, pytest.raises(InputError, match="the model of data/demo_0 is the file"):
        file.model_xml("demo_0")


def test_a_link_out_of_the_models_folder_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "secret.xml").write_text("<mujoco/>")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.xml").symlink_to(tmp_path / "secret.xml")
    path = make(lambda file: file["data/demo_0"].attrs.__setitem__("model_file", np.bytes_("model.xml")))
    with hdf5.opened(path) as file, pytest.raises(InputError, match=r"the file model\.xml"):
        file.model_xml("demo_0")


def dangling(file: h5py.File) -> None:
    file["data/demo_2"] = h5py.SoftLink("/data/gone")


def ring(file: h5py.File) -> None:
    file["data/demo_2"], file["data/demo_3"] = h5py.SoftLink("/data/demo_3"), h5py.SoftLink("/data/demo_2")


@pytest.mark.parametrize("change", [dangling, ring])
def test_a_link_that_leads_nowhere_is_named(make: Callable[..., Path], change: Change) -> None:
    with pytest.raises(InputError, match="data/demo_2 is a link to /data/"):
        read(make(change))


def nested(file: h5py.File) -> None:
    file["mask/part/a"] = np.array([b"demo_0"])


def numbers(file: h5py.File) -> None:
    file["mask/part"] = np.arange(2)


def table(file: h5py.File) -> None:
    file["mask/part"] = np.array([[b"demo_0"]])


@pytest.mark.parametrize(
    "change, found", [(nested, "is a group"), (numbers, "is int64 of shape"), (table, r"of shape \(1, 1\)")]
)
def test_a_filter_key_that_lists_no_names_is_named(make: Callable[..., Path], change: Change, found: str) -> None:
    with (
        hdf5.opened(make(change)) as file,
        pytest.raises(InputError, match=f"mask/part {found}|mask/part is .*{found}"),
    ):
        file.mask("part")


@pytest.mark.parametrize("value", ["many", np.arange(2), np.nan])
def test_a_count_that_is_none_is_named(make: Callable[..., Path], value: object) -> None:
    path = make(lambda file: file["data/demo_0"].attrs.__setitem__("num_samples", value))
    with hdf5.opened(path) as file, pytest.raises(InputError, match="data/demo_0 says num_samples = "):
        file.steps_stated("demo_0")


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"env_name": 3}', "7"])
def test_a_description_that_is_none_is_named(make: Callable[..., Path], text: str) -> None:
    path = make(lambda file: file["data"].attrs.__setitem__("env_args", text))
    with hdf5.opened(path) as file, pytest.raises(InputError, match="does not say of which environment"):
        _ = file.env_args


RECORDER = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"


def test_a_file_that_is_open_in_its_recorder_is_not_called_damaged(make: Callable[..., Path]) -> None:
    path = make()
    command = [sys.executable, "-c", RECORDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        recorder.stdout.readline()
        with pytest.raises(InputError, match="open in another program, probably its recorder") as caught:
            read(path)
        recorder.communicate("")
    assert "damaged" not in str(caught.value)
    read(path)


def test_a_file_of_a_recorder_that_was_killed_is_named(make: Callable[..., Path]) -> None:
    path = make()
    with h5py.File(path, "w", libver="latest") as file:
        file["data/demo_0/actions"] = np.zeros((3, 7))
    killed = RECORDER.replace("'r+'", "'r+', libver='latest'").replace("sys.stdin.read()", "import os; os._exit(1)")
    subprocess.run([sys.executable, "-c", killed, str(path)], stdout=subprocess.DEVNULL)
    with pytest.raises(InputError, match=r"marked as open for writing.*h5clear -s demos\.hdf5"):
        read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(make: Callable[..., Path]) -> None:
    path = make()
    path.chmod(0)
    with pytest.raises(InputError, match="may not be read"):
        read(path)


def test_a_zarr_store_with_links_that_lead_out_is_refused_unless_allowed(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="the zarr extra is not installed")
    store, other = tmp_path / "a.zarr", tmp_path / "b.zarr"
    for path in (store, other):
        zarr.open_group(path, mode="w")["x"] = np.arange(3)
    own = next(file for file in (store / "x").rglob("*") if file.is_file() and file.name != "zarr.json")
    own.unlink()
    own.symlink_to(other / own.relative_to(store))
    with pytest.raises(InputError, match=r"is a link to .*b\.zarr.*external=true"):
        open_group(store)
    assert open_group(store, external=True)["x"][:].tolist() == [0, 1, 2]


def test_hidden_members_of_an_archive_are_no_stores(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/.zgroup", "{}")
        archive.writestr(".trash/x.zarr/.zgroup", "{}")
    assert not is_group(path)
