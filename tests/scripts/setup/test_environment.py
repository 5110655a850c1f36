"""The environment's installation: what it installs, when it has nothing to do, how it goes on after a kill."""

import json
import os
import subprocess
import sys
import tomllib

import pytest

from scripts.setup import environment, preflight
from scripts.setup.environment import Environment, edit, ensure, fingerprint, remove_half_installed, requirements

PROJECT = {
    "name": "thing",
    "dependencies": ["numpy>=1.26"],
    "optional-dependencies": {"a": ["x>=1"], "b": ["thing[a]", "y"], "c": ["thing[a,b]"]},
}


class FakeEnvironment(Environment):
    """Notes what it would do. `fails`: the installation is cut off."""

    def __init__(self, root, fails=False):
        super().__init__(root, root / ".venv")
        self.fails = fails
        self.done = []

    def make(self):
        self.done.append("make")
        self.python.parent.mkdir(parents=True, exist_ok=True)
        self.python.touch()

    def install(self, extras):
        self.done.append(tuple(extras))
        if self.fails:
            raise KeyboardInterrupt


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with nothing installed, on a machine that lacks nothing."""
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    monkeypatch.setattr(preflight, "check_machine", lambda folder, needed: [])
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "constraints.txt").write_text("numpy==1.26.4")
    return tmp_path


def installs(root, purpose="demo", fresh=False):
    fake = FakeEnvironment(root)
    ensure(purpose, fresh, fake)
    return fake.done


def test_references_to_own_extras_are_resolved():
    assert requirements(PROJECT, ["c"]) == ["numpy>=1.26", "x>=1", "y"]


def test_requirements_without_extras_are_the_core():
    assert requirements(PROJECT, []) == ["numpy>=1.26"]


def test_what_would_compile_is_left_out():
    assert edit(["numpy>=1", "pynput", "egl_probe>=1.0.1"]) == ["numpy>=1"]


def test_opencv_is_installed_headless():
    assert edit(["opencv-python>=4"]) == ["opencv-python-headless>=4"]


def test_extras_of_a_requirement_survive():
    assert edit(["qpsolvers[quadprog]>=4.3.1"]) == ["qpsolvers[quadprog]>=4.3.1"]


def test_a_packages_own_extras_are_not_installed():
    assert edit(["pygame; extra == 'screen'"]) == []


def test_the_first_run_installs(root):
    assert installs(root) == ["make", ("sim",)]


def test_the_second_run_has_nothing_to_do(root):
    installs(root)
    assert installs(root) == []


def test_the_tests_environment_serves_the_demo(root):
    installs(root, "test")
    assert installs(root, "demo") == []


def test_the_demos_environment_is_extended_for_the_tests(root):
    installs(root, "demo")
    assert installs(root, "test") == ["make", ("dev", "sim")]


def test_changed_pins_install_again(root):
    installs(root)
    (root / "constraints.txt").write_text("numpy==1.26.3")
    assert installs(root) == ["make", ("sim",)]


def test_another_index_for_torch_installs_again(root, monkeypatch):
    installs(root)
    monkeypatch.setenv("TORCH_INDEX_URL", "https://example.org/cpu")
    assert installs(root) == ["make", ("sim",)]


def test_an_interrupted_installation_goes_on(root):
    with pytest.raises(KeyboardInterrupt):
        ensure("demo", False, FakeEnvironment(root, fails=True))
    assert installs(root) == ["make", ("sim",)]


def test_a_lost_interpreter_installs_again(root):
    installs(root)
    (root / ".venv/bin/python").unlink()
    assert installs(root) == ["make", ("sim",)]


def test_fresh_removes_the_environment(root):
    installs(root)
    (root / ".venv/leftover").touch()
    installs(root, fresh=True)
    assert not (root / ".venv/leftover").exists()


def test_fresh_leaves_a_foreign_environment_alone(root):
    (root / ".venv/bin").mkdir(parents=True)
    with pytest.raises(SystemExit) as exit_:
        installs(root, fresh=True)
    assert exit_.value.code == 2
    assert (root / ".venv/bin").exists()


def test_the_download_and_the_smaller_build_are_said(root, capsys):
    installs(root)
    assert "GB to download; TORCH_INDEX_URL=" in capsys.readouterr().out


def test_metadata_without_installer_is_removed(tmp_path):
    whole, half, replaced = (tmp_path / name for name in ("a-1.dist-info", "b-1.dist-info", "~umpy"))
    for folder in (whole, half, replaced):
        folder.mkdir()
    (whole / "INSTALLER").write_text("pip")
    assert remove_half_installed(tmp_path) == ["b-1.dist-info", "~umpy"]
    assert [path.name for path in tmp_path.iterdir()] == ["a-1.dist-info"]


def test_the_fingerprint_keeps_its_parts_apart(root):
    before = fingerprint(root, "")
    (root / "pyproject.toml").write_text("[project]numpy")
    (root / "constraints.txt").write_text("==1.26.4")
    assert fingerprint(root, "") != before


def test_pips_failure_shows_its_last_lines_and_ends_with_1(tmp_path, capsys):
    failing = Environment(tmp_path, tmp_path / "venv")
    (tmp_path / "venv").mkdir()
    failing.python = tmp_path / "python"
    failing.python.write_text("#!/bin/sh\necho 'No matching distribution'\nexit 1\n")
    failing.python.chmod(0o755)
    with pytest.raises(SystemExit) as exit_:
        failing.pip("nothing")
    assert exit_.value.code == 1
    assert "No matching distribution" in capsys.readouterr().err


def test_every_left_out_package_is_required_by_what_is_edited():
    """An entry that no longer applies would mislead."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        required = {environment.distribution_name(r) for name in environment.EDITED for r in requires(name) or []}
    except PackageNotFoundError as error:
        pytest.skip(f"{error} is not installed")
    assert {*environment.LEFT_OUT, *environment.REPLACED} <= required


def test_the_extras_exist():
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text())["project"]
    for extras in environment.EXTRAS.values():
        assert requirements(project, extras)


def test_it_runs_on_a_bare_python():
    """Nothing outside the standard library is imported before the environment exists."""
    loaded = "[m for m in ('numpy', 'torch', 'isd_core') if m in sys.modules]"
    code = f"import sys, scripts.setup.environment; print({loaded})"
    answer = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=environment.ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def run_shell(script, **variables):
    return subprocess.run(
        ["bash", "-c", script], cwd=environment.ROOT, env=os.environ | variables, capture_output=True, text=True
    )


def test_a_missing_python_is_named_with_its_package():
    answer = run_shell(". scripts/setup/lib.sh; prepare demo", PYTHON="/nowhere/python")
    assert answer.returncode == 2
    assert "apt-get install python3.11 python3.11-venv" in answer.stderr


def named(folder, name, version):
    """A program that answers as a Python of that version would, when it is asked whether it is supported."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = {version}; exec(sys.argv[1])" "$2"\n'
    )
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    "pythons, chosen",
    [
        ({"python3.11": (3, 11, 9), "python3.12": (3, 12, 0)}, "python3.11"),
        ({"python3.12": (3, 12, 0), "python3": (3, 13, 0)}, "python3.12"),
        ({"python3": (3, 13, 1), "python": (3, 12, 1)}, "python"),
    ],
)
def test_any_supported_python_is_taken_the_oldest_first(tmp_path, pythons, chosen):
    for name, version in pythons.items():
        named(tmp_path / "bin", name, version)
    answer = run_shell(". scripts/setup/lib.sh; PATH=$ONLY; find_python", ONLY=str(tmp_path / "bin"), PYTHON="")
    assert answer.stdout.strip() == chosen


def test_one_that_uv_knows_is_taken_where_no_name_is_there(tmp_path):
    named(tmp_path / "hidden", "python", (3, 12, 3))
    named(tmp_path / "bin", "python3", (3, 10, 2))
    (tmp_path / "bin" / "uv").write_text(f"#!/bin/sh\necho {tmp_path}/hidden/python\n")
    (tmp_path / "bin" / "uv").chmod(0o755)
    answer = run_shell(". scripts/setup/lib.sh; PATH=$ONLY; find_python", ONLY=str(tmp_path / "bin"), PYTHON="")
    assert answer.stdout.strip() == f"{tmp_path}/hidden/python"


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 13, 0)])
def test_other_versions_are_refused(tmp_path, version):
    named(tmp_path, "python", version)
    answer = run_shell(". scripts/setup/lib.sh; find_python", PYTHON=str(tmp_path / "python"))
    assert answer.returncode == 2 and "no Python 3.11 or 3.12" in answer.stderr


@pytest.mark.parametrize("name", ["demo", "test"])
def test_help_lists_every_flag_without_installing(name):
    answer = run_shell(f"bash scripts/{name}.sh --help", PYTHON="/nowhere/python")
    assert answer.returncode == 0
    assert "--fresh" in answer.stdout
    assert "TORCH_INDEX_URL" in answer.stdout


def test_the_stamp_is_readable_json(root):
    installs(root)
    assert json.loads((root / ".venv" / environment.STAMP).read_text())["extras"] == ["sim"]


@pytest.fixture
def asked(monkeypatch):
    """What pip is asked to install for the tests of this checkout, call by call."""
    calls = []
    monkeypatch.setattr(Environment, "pip", lambda self, *arguments: calls.append(arguments))
    monkeypatch.setattr(Environment, "requires", lambda self, names: ["pynput", "scipy>=1.2"])

    def install(extras, index_url=""):
        calls.clear()
        monkeypatch.setenv("TORCH_INDEX_URL", index_url)
        Environment(environment.ROOT, environment.ROOT / "no-such-venv").install(extras)
        return calls

    return install


def test_torch_and_torchvision_come_from_the_chosen_index(asked):
    first = asked(["dev"], "https://example.org/cpu")[0]
    assert first == ("--no-deps", "--index-url", "https://example.org/cpu", "torch", "torchvision")


def test_without_a_chosen_index_torch_is_installed_with_the_rest(asked):
    calls = asked(["sim"])
    assert not [call for call in calls if "--index-url" in call]
    assert any(argument.startswith("torch>=") for call in calls for argument in call)


def test_what_would_compile_is_never_asked_for(asked):
    words = {environment.distribution_name(word) for call in asked(["dev"]) for word in call}
    assert not words & {*environment.LEFT_OUT, *environment.REPLACED}


def test_robosuite_is_installed_without_its_requirements(asked):
    calls = [call for call in asked(["sim"]) if any(word.startswith("robosuite") for word in call)]
    assert [call[0] for call in calls] == ["--no-deps"]


def test_the_checkout_is_installed_editable(asked):
    assert asked(["sim"])[-1] == ("--no-deps", "--editable", str(environment.ROOT))
