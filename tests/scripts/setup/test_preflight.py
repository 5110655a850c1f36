"""What the machine lacks is named with the package to install; only what nothing works without is an error."""

import os
import sys

import pytest

from scripts.setup import preflight
from scripts.setup.preflight import Finding, check_disk, check_rendering, describe, renderer, require


def no_library(*names):
    return False


def every_library(*names):
    return True


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A /dev without a GPU, and a user who has not chosen a renderer."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    (tmp_path / "dri").mkdir()
    return tmp_path


def test_rendering_without_gpu_and_osmesa_names_its_package(devices):
    assert check_rendering(no_library, devices).package == "libosmesa6"


def test_missing_rendering_is_not_fatal(devices):
    assert not check_rendering(no_library, devices).fatal


def test_osmesa_renders_without_a_gpu(devices):
    assert check_rendering(every_library, devices) is None


def test_osmesa_is_chosen_without_a_gpu(devices):
    assert renderer(every_library, devices) == "osmesa"


def test_egl_is_chosen_with_a_gpu(devices):
    (devices / "nvidia0").touch()
    assert renderer(every_library, devices) == "egl"


def test_the_users_renderer_is_trusted(devices, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glx")
    assert check_rendering(no_library, devices) is None


def test_a_gpu_without_egl_names_its_package(devices):
    (devices / "dri" / "renderD128").touch()
    assert check_rendering(no_library, devices).package == "libegl1"


def test_missing_ensurepip_names_the_venv_package(monkeypatch):
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    assert preflight.check_venv().package == f"python3.{sys.version_info.minor}-venv"


def test_too_small_a_disk_is_fatal(tmp_path):
    assert check_disk(tmp_path, 10**18).fatal


def test_enough_disk_is_no_finding(tmp_path):
    assert check_disk(tmp_path, 1) is None


def test_one_command_installs_all_packages():
    text = describe([Finding("A", "a", "liba"), Finding("B", "b", "libb", fatal=False), Finding("C", "c")])
    assert text.splitlines()[-1].endswith("apt-get install -y liba libb")


def test_sudo_is_named_for_users_who_are_not_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo apt-get" in describe([Finding("A", "a", "liba")])


def test_a_fatal_finding_ends_with_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        require([Finding("the thing", "nothing works", "libthing")])
    assert exit_.value.code == 2


def test_the_message_says_what_is_lacking_and_what_follows(capsys):
    require([Finding("the thing", "there are no pictures", "libthing", fatal=False)])
    assert "lacks the thing: there are no pictures" in capsys.readouterr().err
