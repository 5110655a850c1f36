"""What a user installs: the metadata, the built wheel used outside the checkout, and packages that hide ours."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("isd_core", "isd_policy", "isd_image", "isd_envs")


def direct_requirements():
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    parsed = [Requirement(text) for texts in lists for text in texts]
    return [r for r in parsed if r.name != PROJECT["name"]]


def pins():
    lines = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in lines}


# -- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", direct_requirements(), ids=str)
def test_the_tested_version_satisfies_the_bounds(requirement):
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_pin_stands_once():
    text = (ROOT / "constraints.txt").read_text()
    names = [canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)]
    assert len(names) == len(set(names))


def test_upper_bounds_say_what_breaks():
    text = (ROOT / "pyproject.toml").read_text()
    bounded = [line for line in text.splitlines() if re.match(r'\s+"[\w-]+[^"]*<', line)]
    assert bounded
    assert not [line for line in bounded if "# " not in line]


@pytest.mark.parametrize("name", PROJECT["scripts"])
def test_installed_commands_lead_to_a_function(name):
    module, _, function = PROJECT["scripts"][name].partition(":")
    assert callable(getattr(import_module(module), function))


# -- the wheel, the source distribution and another folder ----------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with wheel and sdist, built from this checkout."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    """The wheel's files, outside the checkout."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder


def outside(code, unpacked, tmp_path, *before):
    """Runs code in an empty folder with the wheel's files as the only copy of ours; `before` come first on the path."""
    path = os.pathsep.join(map(str, [*before, unpacked]))
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_every_config(unpacked):
    ours, theirs = ROOT / "configs", unpacked / "isd_core" / "configs"
    assert {path.relative_to(ours) for path in ours.rglob("*.yaml")} == {
        path.relative_to(theirs) for path in theirs.rglob("*.yaml")
    }


def test_the_wheel_holds_nothing_else(unpacked):
    top = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert top == set(PACKAGES)


def test_the_wheel_holds_the_licence(unpacked):
    assert list(unpacked.glob("*.dist-info/licenses/LICENSE"))


def test_the_sdist_holds_what_the_tests_need(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"scripts/test.sh", "constraints.txt", "tests/conftest.py", "configs/policy_train.yaml"} <= names


def test_configs_are_found_outside_the_checkout(unpacked, tmp_path):
    code = "import sys; sys.argv[1:] = ['data=x.hdf5', '--cfg']; from isd_policy.commands import train; train()"
    answer = outside(code, unpacked, tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "data: x.hdf5" in answer.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_network.py", "own_objective.py"])
def test_examples_run_with_the_wheel_alone(name, unpacked, tmp_path):
    example = (ROOT / "docs" / "examples" / name).read_text()
    (tmp_path / name).write_text(example + "\nprint('ours:', isd_core.__file__)\n")
    answer = outside(f"import isd_core, runpy; runpy.run_path({name!r}, {{'isd_core': isd_core}})", unpacked, tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == f"ours: {unpacked / 'isd_core' / '__init__.py'}"


def test_commands_outside_the_checkout_leave_no_files(unpacked, tmp_path):
    outside("import sys; sys.argv[1:] = ['--help']; from isd_policy.commands import train; train()", unpacked, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [["-m", "isd_policy.train"], ["-c", "import isd_policy.training, isd_policy.commands as c; c.train()"]]
)
def test_a_projects_own_envs_and_configs_are_not_in_the_way(words, unpacked, tmp_path):
    """A project of robot learning, in whose folder a command is given: its folders go before ours on the path."""
    for name in ("envs", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('theirs')")
    (tmp_path / "configs" / "policy_train.yaml").write_text("data: theirs\n")
    (tmp_path / "envs" / "tasks.py").touch()
    answer = subprocess.run(
        [sys.executable, *words, "data=x.hdf5", "--cfg"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "data: x.hdf5" in answer.stdout


def test_the_core_imports_without_any_extra(unpacked, tmp_path):
    """The packages of the extras are made impossible to import."""
    extras = {"robosuite", "mujoco", "robomimic", "sklearn", "wandb", "zarr", "ray", "onnx", "PIL", "torchvision"}
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {extras!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import isd_policy.training, isd_core.training.trainer, isd_image, isd_envs
"""
    answer = outside(code, unpacked, tmp_path)
    assert answer.returncode == 0, answer.stderr


def test_policies_load_without_hydra_and_simulator(unpacked, tmp_path):
    code = """
import isd_policy, sys
print({"hydra", "omegaconf", "robosuite", "mujoco", "h5py", "gymnasium"} & {m.partition(".")[0] for m in sys.modules})
"""
    answer = outside(code, unpacked, tmp_path)
    assert answer.stdout.strip() == "set()", answer.stdout + answer.stderr
