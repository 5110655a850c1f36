"""Commands are given hostile files: what is in them, what they did, and that a whole file goes through."""

import copy

import pytest

from isd_core.support.errors import InputError
from isd_core.training import checkpoint
from scripts.benchmarks.attacks import commands, hostile, material
from scripts.benchmarks.attacks.tally import Tally


@pytest.fixture
def saved(tmp_path):
    return checkpoint.load(material.write_checkpoint(tmp_path / "run", 0, material.write_swings))


@pytest.mark.parametrize("changes", [commands.environment_changes, commands.robot_changes])
def test_every_change_of_an_environment_has_a_name_and_changes_something(changes, tmp_path):
    robot = checkpoint.load(material.write_checkpoint(tmp_path / "robot", 0))
    config = copy.deepcopy(dict(robot.config))
    config["task"]["id"] = "other"
    found = list(changes(tmp_path / "touched"))
    assert len({name for name, _ in found}) == len(found) > 100
    for name, change in found:
        changed = copy.deepcopy(config)
        change(changed)
        assert changed != config, name


def test_an_undamaged_file_goes_through_every_command_of_policies(saved, tmp_path):
    for act in (commands.evaluated, commands.driven, commands.bundled):
        tally = commands.attack(
            Tally("x"),
            act,
            [("nothing", lambda config: None)],
            lambda change: commands._changed(tmp_path, saved, change),
            tmp_path / "touched",
            tmp_path,
        )
        assert (tally.unharmed, tally.tried) == (1, 1), (act, tally.examples)


def test_an_undamaged_file_is_served(saved, tmp_path):
    (out := tmp_path / "out").mkdir()
    actions = commands.served(commands._bundled(tmp_path, saved, lambda card: None), out)
    assert actions.shape == (8, 1)


ODD = {
    "an environment in a package": hostile.put("schema", "env_args", "env_name", value="subprocess:Popen"),
    "a package to import": hostile.put("task", "package", value=commands.MODULE),
    "a program": hostile.put("schema", "env_args", value={"_target_": "subprocess.run", "args": ["touch"]}),
}


@pytest.mark.parametrize("name", ODD)
def test_an_evaluation_imports_and_runs_nothing_that_a_file_names(name, saved, tmp_path, monkeypatch):
    marker, package = tmp_path / "touched", tmp_path / "packages"
    package.mkdir()
    (package / f"{commands.MODULE}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(package))
    changed = commands._changed(tmp_path, saved, ODD[name])
    happened = hostile.tried(lambda: commands._fresh(commands.evaluated, changed, tmp_path), marker, seconds=60)
    assert happened != "a program ran"
    assert (happened == "refused") == (name == "an environment in a package")


def test_pickles_and_odd_descriptions_of_images_are_refused(tmp_path):
    marker, (folder, out) = tmp_path / "touched", (tmp_path / "files", tmp_path / "out")
    folder.mkdir(), out.mkdir()
    found = list(commands.image_files(folder, marker))
    assert len({path for _, path in found}) == len(found) > 15
    for name, path in found[:6]:
        with pytest.raises(InputError):
            commands.judged_files(tmp_path / "none", path, path, out)
        assert not marker.exists(), name


@pytest.mark.parametrize(
    "change",
    [
        hostile.put("data", "classes", value=2**62),
        hostile.put("codec", value={"type": "folder"}),
        hostile.put("data", "source", value=None),
        hostile.put(
            "data", "source", value={"type": "torchvision_cifar10", "root": "x", "download": True, "mirror": False}
        ),
    ],
    ids=["classes without number", "a codec without factor", "no source", "a download"],
)
def test_an_evaluation_of_images_refuses_in_words(change, tmp_path):
    (out := tmp_path / "out").mkdir()
    path = commands._image(tmp_path, *hostile.image_checkpoint(tmp_path, 0), change)
    with pytest.raises(InputError):
        commands.judged(path, out)
