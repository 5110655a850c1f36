"""Tasks of other packages: registered without an import, with starts that follow from the seed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from isd_core.support.cli import compose_config, help_text
from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES, listed
from isd_envs.demonstrations.recordings import load_recording, start_of
from isd_envs.engines.factory import make_engine
from isd_envs.engines.gym.engine import GymEngine
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.env_args import spec_of_data
from isd_envs.suites import adroit, metaworld
from isd_envs.suites.suite import import_suite

HAND = {"door": (39, 28), "hammer": (46, 26), "pen": (45, 24), "relocate": (39, 30)}
SOME = ("assembly-v3", "button-press-topdown-v3", "reach-v3")


def installed(package, install):
    return pytest.importorskip(package, reason=f"{package} is not installed: {install}")


def spec_of(suite, title):
    installed("gymnasium_robotics" if suite is adroit else "metaworld", suite.INSTALL)
    return GymSpec(f"{suite.__name__.rpartition('.')[2]}/{title}")


EVERY = [*((adroit, title) for title in adroit.TASKS), *((metaworld, title) for title in SOME)]


def test_importing_the_environments_imports_no_suite() -> None:
    code = "import sys, isd_envs; print({'metaworld', 'gymnasium_robotics', 'mujoco'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_the_tasks_are_those_of_the_package() -> None:
    names = installed("metaworld.env_dict", metaworld.INSTALL).ENV_CLS_MAP
    assert sorted(names) == sorted(metaworld.TASKS) and len(metaworld.TASKS) == 50
    assert set(ROLES["task"].names()) >= {f"metaworld/{name}" for name in names}


@pytest.mark.parametrize("suite, title", EVERY)
def test_a_seed_is_a_start_whatever_went_before(suite, title) -> None:
    spec = spec_of(suite, title)
    spec.check()
    assert spec.probe.varied
    engine, other = GymEngine(spec), GymEngine(spec)
    actions = np.random.default_rng(0).uniform(-1, 1, (20, spec.definition.action_size))
    first = engine.reset(5)["state"], engine.run(actions).observations["state"]
    engine.reset(6)
    engine.run(-actions)
    again = engine.reset_to({"task": spec.task, "seed": 5})["state"], engine.run(actions).observations["state"]
    elsewhere = other.reset(5)["state"], other.run(actions).observations["state"]
    for one, two, three in zip(first, again, elsewhere, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("title", adroit.TASKS)
def test_adroits_sizes_cap_and_rate(title) -> None:
    spec = spec_of(adroit, title)
    sizes = spec.definition.observation_sizes["state"], spec.definition.action_size
    assert (sizes, spec.definition.max_steps, spec.control_freq) == (HAND[title], 200, 100)
    assert [bound.tolist() for bound in spec.action_range] == [[-1] * sizes[1], [1] * sizes[1]]


def test_metaworlds_goal_is_observed_and_differs_between_starts() -> None:
    spec = spec_of(metaworld, "reach-v3")
    engine = GymEngine(spec)
    goals = [engine.reset(seed)["state"][-3:] for seed in (1, 2)]
    assert (spec.definition.max_steps, spec.definition.action_size, spec.control_freq) == (500, 4, 80)
    assert not np.allclose(*goals) and np.all(np.abs(goals) > 0)


@pytest.mark.render
def test_metaworld_is_drawn() -> None:
    engine = GymEngine(spec_of(metaworld, "reach-v3"))
    engine.reset(1)
    assert engine.frame(64, 48, "").std() > 10


def test_its_config_holds_what_the_environment_says() -> None:
    spec_of(metaworld, "assembly-v3")
    config = compose_config("policy_train", ["task=metaworld/assembly-v3", "data=FILE"])
    assert (config.task.name, config.task.max_steps) == ("metaworld/assembly-v3", 500)
    assert list(config.task.observation_keys) == ["state"]


def test_a_data_file_names_it() -> None:
    spec = spec_of(adroit, "pen")
    assert spec_of_data(json.loads(json.dumps(spec.env_args))) == spec


def test_a_suite_that_is_not_installed_is_named_with_its_command() -> None:
    with pytest.raises(InputError, match=r"no_such_suite cannot be imported.*Install it: pip install this"):
        import_suite("no_such_suite", "pip install this")


def test_help_and_refusals_do_not_list_every_task() -> None:
    assert "metaworld/assembly-v3 and 49 more of metaworld" in help_text(lambda cfg: None, "policy_train")
    with pytest.raises(InputError, match=r"no task called `metaworld/assembly`.*Did you mean metaworld/assembly-v3"):
        compose_config("policy_train", ["task=metaworld/assembly", "data=FILE"])
    assert listed(["a", *(f"b/{i}" for i in range(8)), "c"]) == "a, " + ", ".join(f"b/{i}" for i in range(8)) + ", c"


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title in metaworld.TASKS if title not in SOME])
def test_every_other_task_of_metaworld_honours_its_seed(title) -> None:
    spec = spec_of(metaworld, title)
    spec.check()
    assert spec.probe.varied


def test_demonstrations_are_recorded_and_succeed_again(tmp_path, capsys) -> None:
    from isd_envs import demos

    spec = spec_of(metaworld, "button-press-topdown-v3")
    words = [f"task={spec.task}", "episodes=2", "workers=1", f"out={tmp_path / 'demos.hdf5'}"]
    assert demos.main.run(*words) == 0, capsys.readouterr().err
    assert f"{spec.task}: 2 of 2 expert episodes succeeded" in capsys.readouterr().out
    recording = load_recording(tmp_path / "demos.hdf5")
    engine = make_engine(recording.spec)
    assert recording.spec.task == spec.task
    for episode in recording.episodes:
        engine.reset_to(start_of(recording, episode, engine))
        assert engine.run(episode.actions).success.any()
    assert demos.main.run(*words) == 0
    assert "already" in capsys.readouterr().out
