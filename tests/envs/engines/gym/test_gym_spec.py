import json
import sys

import gymnasium
import numpy as np
import pytest
import toy_environments as toys

from isd_core.presets import config_from
from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_envs.engines.gym.making import import_package
from isd_envs.engines.gym.spec import GymSpec, spec_of_factory
from isd_envs.engines.gym.success import SuccessRule
from isd_envs.env_args import spec_of_data
from isd_envs.spec import check_fits, observation_shapes, spec_from_dict
from isd_envs.task_configs import registered_tasks, settings_of_data, spec_of_task, task_config


def test_the_definition_comes_from_the_spaces() -> None:
    spec = GymSpec("toys/PictureReach-v0")
    assert observation_shapes(spec) == {"robot_point": (2,), "camera": (16, 16, 3)}
    assert (spec.definition.action_size, spec.definition.max_steps, spec.definition.graded) == (2, 30, False)
    assert [bound.tolist() for bound in spec.action_range] == [[-1, -1], [1, 1]]
    assert spec.control_freq == 10


def test_fields_of_the_spec_go_before_what_the_environment_says() -> None:
    spec = GymSpec("toy_reach", max_steps=12, rate=25.0, score="closeness")
    assert (spec.definition.max_steps, spec.control_freq, spec.definition.graded) == (12, 25, True)


def test_gymnasiums_own_environments_do(capsys) -> None:
    spec = GymSpec("Pendulum-v1", success=SuccessRule(reward=-0.1))
    spec.check()
    assert observation_shapes(spec) == {"state": (3,)}
    assert (spec.definition.action_size, spec.definition.max_steps) == (1, 200)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "spec",
    [
        GymSpec(
            "toys/Reach-v0",
            {"radius": 1.0},
            {"all": "observation"},
            SuccessRule(reward=-1.0),
            "closeness",
            12,
            5.0,
            False,
        ),
        GymSpec("toy_picture_reach"),
    ],
)
def test_a_spec_and_a_data_file_are_json_and_give_the_spec_again(spec) -> None:
    assert spec_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec_of_data(json.loads(json.dumps(spec.env_args))) == spec


def test_robomimics_description_of_a_gym_environment_is_read() -> None:
    assert spec_of_data({"env_name": "toys/Reach-v0", "type": 2, "env_kwargs": {"radius": 2.0}}) == GymSpec(
        "toys/Reach-v0", {"radius": 2.0}
    )


def test_what_a_file_names_is_never_imported(tmp_path, monkeypatch) -> None:
    (tmp_path / "named_by_a_file.py").write_text("import gymnasium\ngymnasium.register('Theirs-v0', 'theirs:Env')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for env_args in (
        {"env_name": "named_by_a_file:Theirs-v0", "type": "gymnasium"},
        {"env_name": "Theirs-v0", "type": "gymnasium", "package": "named_by_a_file"},
    ):
        with pytest.raises(InputError, match=r"never imported|no environment called"):
            spec_of_data(env_args)
    with pytest.raises(InputError, match="never imported"):
        GymSpec("named_by_a_file:Theirs-v0").check()
    assert "named_by_a_file" not in sys.modules
    import_package("named_by_a_file")
    assert spec_of_data({"env_name": "Theirs-v0", "type": "gymnasium"}).task == "Theirs-v0"
    del gymnasium.registry["Theirs-v0"], sys.modules["named_by_a_file"]


def test_without_pictures_they_are_not_read() -> None:
    spec = GymSpec("toys/PictureReach-v0")
    assert observation_shapes(spec.with_pictures({})) == {"robot_point": (2,)}
    assert spec.with_pictures({"camera": (16, 16, 3)}) == spec
    with pytest.raises(InputError, match=r"no picture `camera` \[8, 8, 3\]; its pictures: camera \[16, 16, 3\]"):
        spec.with_pictures({"camera": (8, 8, 3)})


# -- the check before a rollout -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "Unseeded",
            "toys/Unseeded-v0 does not honour its seed: .* the same seed `observation` differs at the reset",
        ),
        ("NoisySteps", "differs after step 1, with the same actions"),
        ("Silent", "info has no 'success' or 'is_success' .* it has distance"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_name(name, expected) -> None:
    with pytest.raises(InputError, match=expected):
        GymSpec(f"toys/{name}-v0").check()


def test_an_environment_that_does_not_honour_its_seed_may_be_let_pass(capsys) -> None:
    GymSpec("toys/Unseeded-v0", seeded=False).check()
    assert "toys/Unseeded-v0 does not honour its seed" in capsys.readouterr().err


def test_a_single_start_is_told(capsys) -> None:
    GymSpec("toys/Constant-v0").check()
    assert "toys/Constant-v0 starts alike whatever the seed" in capsys.readouterr().err


def test_success_may_be_told_at_the_end_of_an_episode_alone() -> None:
    GymSpec("toys/AtTheEnd-v0").check()


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: GymSpec("CartPole-v1").check(), r"actions of CartPole-v1 are Discrete\(2\)"),
        (lambda: GymSpec("Pendulum").check(), "no environment called `Pendulum`.*Did you mean Pendulum-v1"),
        (lambda: GymSpec("Pendulum-v1", {"weight": 2}).check(), "Pendulum-v1 cannot be made with weight=2: TypeError"),
        (lambda: GymSpec("toy_reach", {"weight": 2}).check(), "task toy_reach has no field `weight`.*radius"),
        (lambda: GymSpec("toy_reach", {"radius": object()}), "no plain JSON"),
        (lambda: GymSpec("toy_reach", max_steps=0), "task.max_steps=0: expected an integer of at least 1"),
        (lambda: GymSpec("toy_reach", success={"key": "done"}), "expected one of the fields info, reward"),
        (lambda: GymSpec("toy_reach", success=SuccessRule("done", 1.0)), "two rules, info=done and reward=1.0"),
        (lambda: GymSpec("toy_reach", score="coverage").check(), "info has no 'coverage'.*it has closeness, success"),
        (
            lambda: GymSpec("toy_picture_reach", observations={"mode": "robot/mode"}).observed,
            r"robot/mode \(Discrete\(3\), which cannot be read\)",
        ),
        (lambda: GymSpec("toy_reach").with_action_mode("delta"), "no action_mode=delta"),
    ],
)
def test_bad_input_is_named(make, expected) -> None:
    with pytest.raises(InputError, match=expected):
        make()


def test_a_policy_of_other_spaces_is_refused() -> None:
    spec = GymSpec("toy_picture_reach")
    check_fits(spec, {"robot_point": (2,), "camera": (16, 16, 3)}, 2, "p.isd")
    with pytest.raises(
        InputError, match=r"p.isd sees `goal` of shape \[2\].*no such observation: robot_point \[2\], camera"
    ):
        check_fits(spec, {"goal": (2,)}, 2, "p.isd")
    with pytest.raises(InputError, match=r"gives it as \[2\]"):
        check_fits(spec, {"robot_point": (3,)}, 2, "p.isd")
    with pytest.raises(InputError, match="predicts 7 numbers an action; the environment toy_picture_reach takes 2"):
        check_fits(spec, {"robot_point": (2,)}, 7, "p.isd")


# -- functions --------------------------------------------------------------------------------------------------------


def test_a_function_has_to_make_a_new_environment_each_time() -> None:
    one = toys.Reach()
    spec = spec_of_factory(lambda: one, name="mine")
    spec.source.make()
    with pytest.raises(InputError, match="returned one that it had returned before"):
        spec.source.make()


def test_a_function_is_named_after_what_it_makes_and_described_but_not_restored() -> None:
    spec = spec_of_factory(lambda: gymnasium.make("toys/Reach-v0"))
    assert (spec.task, spec.definition.max_steps) == ("toys/Reach-v0", 30)
    json.dumps(spec.to_dict())
    with pytest.raises(InputError, match="made by a function"):
        spec_from_dict(spec.to_dict())
    with pytest.raises(InputError, match="env=FUNCTION"):
        spec_of_data(spec.env_args)


@pytest.mark.parametrize(
    "given, expected", [(toys.Reach(), "env is a Reach; expected a function"), (dict, "returned dict")]
)
def test_what_makes_no_environments_is_refused(given, expected) -> None:
    with pytest.raises(InputError, match=expected):
        spec_of_factory(given)


# -- configs of tasks ------------------------------------------------------------------------------------------------


def test_the_config_of_a_registered_task_comes_from_its_environment() -> None:
    config = task_config("toy_picture_reach")
    assert "toy_picture_reach" in registered_tasks()
    assert "lift" not in registered_tasks()
    assert config["name"] == "toy_picture_reach"
    assert config["kwargs"] == {"radius": 0.5}
    assert (config["max_steps"], config["observation_keys"]) == (30, ["camera", "robot_point"])
    assert spec_of_task(config) == GymSpec("toy_picture_reach", {"radius": 0.5}, max_steps=30)


def test_a_function_may_be_a_task_and_a_needed_argument_stays_open() -> None:
    def make(radius: float) -> toys.Reach:
        return toys.Reach(radius=radius)

    register("task", "toy_of_a_function")(make)
    assert task_config("toy_of_a_function")["kwargs"] == {"radius": "???"}
    assert observation_shapes(GymSpec("toy_of_a_function", {"radius": 1.0})) == {"state": (4,)}


def test_what_is_no_environment_is_no_task() -> None:
    with pytest.raises(TypeError, match="is no task"):
        register("task", "not_one")(dict)


def test_the_task_of_a_config_decides_and_the_data_have_to_be_of_it() -> None:
    task = {
        "name": "gym",
        "id": "toys/Reach-v0",
        "kwargs": {"radius": 2.0},
        "success": {"reward": -1.0},
        "max_steps": 9,
    }
    spec = GymSpec("toys/Reach-v0", {"radius": 2.0}, success=SuccessRule(reward=-1.0), max_steps=9)
    assert spec_of_task(task) == spec_of_task(task, GymSpec("toys/Reach-v0").env_args) == spec
    with pytest.raises(InputError, match="data are of the environment Pendulum-v1, but the task is toys/Reach-v0"):
        spec_of_task(task, {"env_name": "Pendulum-v1", "type": "gymnasium"})
    with pytest.raises(InputError, match="task=lift is Lift"):
        spec_of_task({"name": "lift"}, GymSpec("toys/Reach-v0").env_args)


def test_the_yaml_of_the_group_has_the_fields_of_the_spec() -> None:
    task = compose_config("policy_train", ["task=gym", "task.id=toys/Reach-v0", "data=x"])["task"]
    assert spec_of_task(task) == GymSpec("toys/Reach-v0")


def test_vectors_of_one_number_and_matrices_are_flattened() -> None:
    from isd_envs.engines.gym.spaces import observed

    space = gymnasium.spaces.Dict(
        {
            "angle": gymnasium.spaces.Box(-1, 1, ()),
            "pose": gymnasium.spaces.Box(-1, 1, (4, 4)),
            "contacts": gymnasium.spaces.MultiBinary(3),
            "first": gymnasium.spaces.Box(0, 255, (3, 16, 16), np.uint8),
        }
    )
    found = observed(space, {}, "this")
    assert found.shapes == {"angle": (1,), "pose": (16,), "contacts": (3,)}
    row = found.read({"angle": 0.5, "pose": np.eye(4), "contacts": np.array([0, 1, 1], np.int8)})
    assert (row["angle"].tolist(), row["contacts"].tolist()) == ([0.5], [0, 1, 1])
    with pytest.raises(InputError, match=r"first \(bytes \[3, 16, 16\], not \[H, W, C\], which cannot be read\)"):
        observed(space, {"image": "first"}, "this")


def test_a_registered_task_is_chosen_like_a_file_of_the_group() -> None:
    task = compose_config("policy_train", ["task=toy_reach", "task.kwargs.radius=2", "data=x"])["task"]
    assert (task["max_steps"], list(task["observation_keys"])) == (30, ["state"])
    assert spec_of_task(resolved(task)) == GymSpec("toy_reach", {"radius": 2, "border": 100.0}, max_steps=30)


def test_data_of_gymnasium_say_which_task_they_are_of() -> None:
    for spec in (GymSpec("toys/Reach-v0", success=SuccessRule(reward=-1.0)), GymSpec("toy_reach", {"radius": 1.0})):
        config = config_from("policy_train", {"data": "x", **settings_of_data(spec.env_args)})
        made = spec_of_task(config["task"], spec.env_args)
        assert (made.task, made.success, made.kwargs.get("radius")) == (
            spec.task,
            spec.success,
            spec.kwargs.get("radius"),
        )
    assert settings_of_data(None) == settings_of_data({"env_name": "Other"}) == {"task": "own"}
    assert settings_of_data({"env_name": "Lift"}) == {"task": "lift"}
