"""Every setting of a data file's environment is honoured, has no effect here, or is refused by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isd_core.support.errors import InputError
from isd_envs.env_args import FIXED, WITHOUT_EFFECT, spec_of_data, spec_of_robosuite
from isd_envs.spec import EnvSpec

SCALES = [0.05, 0.05, 0.05, 0.5, 0.5, 0.5]


def env_args(task: str = "lift", part: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """What this package writes, with changes to the arm's controller and to robosuite's arguments."""
    found: dict[str, Any] = json.loads(json.dumps(EnvSpec(task).env_args))
    found["env_kwargs"]["controller_configs"]["body_parts"]["right"].update(part or {})
    found["env_kwargs"].update(arguments)
    return found


def old_env_args(**part: Any) -> dict[str, Any]:
    """What robosuite 1.4.1 wrote for Can."""
    own = {
        "type": "OSC_POSE",
        "input_max": 1,
        "input_min": -1,
        "output_max": SCALES,
        "output_min": [-value for value in SCALES],
        "kp": 150,
        "damping": 1,
        "impedance_mode": "fixed",
        "control_delta": True,
        "interpolation": None,
        "ramp_ratio": 0.2,
    }
    arguments = {"robots": ["Panda"], "controller_configs": own | part, "control_freq": 20}
    return {"env_name": "PickPlaceCan", "env_version": "1.4.1", "env_kwargs": arguments}


def old_default(task: str) -> EnvSpec:
    return EnvSpec(task=task, frame="world", lite_physics=False)


def test_env_args_of_this_package_are_read_back() -> None:
    spec = EnvSpec(task="square", action_mode="absolute", frame="world", kp=200.0, position_scale=0.1)
    assert spec_of_robosuite(json.loads(json.dumps(spec.env_args))) == spec


def test_env_args_of_robosuite_1_4_are_translated() -> None:
    assert spec_of_robosuite(old_env_args()) == old_default("can")
    assert spec_of_robosuite(old_env_args(control_delta=False)).action_mode == "absolute"


def test_an_arm_alone_in_a_file_of_robosuite_1_5_means_what_1_5_made_of_it() -> None:
    found = old_env_args() | {"env_version": "1.5.1"}
    assert spec_of_robosuite(found) == EnvSpec(task="can")
    found["env_kwargs"]["controller_configs"]["control_delta"] = False
    with pytest.raises(InputError, match="control_delta to False"):
        spec_of_robosuite(found)


@pytest.mark.parametrize(
    "part, field, expected",
    [
        ({"kp": [150] * 6}, "kp", 150.0),
        ({"kp": [200, 200, 200, 100, 100, 100]}, "kp", (200, 200, 200, 100, 100, 100)),
        ({"damping_ratio": [0.8] * 6}, "damping_ratio", 0.8),
        ({"input_max": [1] * 6, "input_min": [-1] * 6}, "position_scale", 0.05),
        ({"output_max": 0.1, "output_min": -0.1}, "rotation_scale", 0.1),
        ({"kp_limits": [0, 1], "damping_ratio_limits": [0, 1], "ramp_ratio": 1.0}, "kp", 150.0),
        ({"input_type": "absolute"}, "action_mode", "absolute"),
        ({"input_ref_frame": "world"}, "frame", "world"),
    ],
)
def test_legal_forms_of_a_controller_work(part: dict[str, Any], field: str, expected: object) -> None:
    assert getattr(spec_of_robosuite(env_args(part=part)), field) == expected


@pytest.mark.parametrize(
    "part, message",
    [
        ({"type": "JOINT_POSITION"}, "the controller's type to 'JOINT_POSITION'"),
        ({"impedance_mode": "variable"}, "impedance_mode"),
        ({"uncouple_pos_ori": False}, "uncouple_pos_ori"),
        ({"control_ori": False}, "control_ori"),
        ({"interpolation": "linear"}, "interpolation"),
        ({"position_limits": [0, 1]}, "position_limits"),
        ({"orientation_limits": [0, 1]}, "orientation_limits"),
        ({"gripper": {"type": "JOINT_VELOCITY"}}, "the controller's gripper"),
        ({"input_type": "velocity"}, "input_type to 'velocity'"),
        ({"input_ref_frame": "camera"}, "input_ref_frame"),
        ({"control_delta": False}, "control_delta"),
        ({"input_max": 2}, "input_max"),
        ({"input_min": [0] * 6}, "input_min"),
        ({"output_max": [0.05, 0.05, 0.1, 0.5, 0.5, 0.5]}, "scale actions"),
        ({"output_max": [0.05] * 5}, "output_max.*a number or six numbers"),
        ({"kp": "stiff"}, "kp to 'stiff'"),
        ({"kp": [150, 150]}, "kp"),
        ({"damping_ratio": True}, "damping_ratio"),
        ({"kq": 3}, "the controller's kq"),
    ],
)
def test_a_controller_without_an_equivalent_is_refused_by_name(part: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec_of_robosuite(env_args(part=part))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"robots": ["Sawyer"]}, "robots"),
        ({"robots": 7}, "robots"),
        ({"gripper_types": "RethinkGripper"}, "gripper_types"),
        ({"gripper_types": None}, "gripper_types to None"),
        ({"base_types": "NullMount"}, "base_types"),
        ({"mount_types": ["NullMount"]}, "mount_types"),
        ({"env_configuration": "bimanual"}, "env_configuration"),
        ({"initialization_noise": None}, "initialization_noise"),
        ({"initialization_noise": {"magnitude": 0.1, "type": "gaussian"}}, "initialization_noise"),
        ({"initialization_noise": {"magnitude": 0.02, "type": "uniform"}}, "initialization_noise"),
        ({"table_full_size": [1.0, 1.0, 0.05]}, "table_full_size"),
        ({"table_friction": [0.5, 5e-3, 1e-4]}, "table_friction"),
        ({"table_offset": [0, 0, 0.9]}, "table_offset.*Lift does not have"),
        ({"placement_initializer": {"x_range": [0, 1]}}, "placement_initializer"),
        ({"control_freq": 15.5}, "control_freq to 15.5"),
        ({"control_freq": 0}, "control_freq"),
        ({"control_freq": float("inf")}, "control_freq"),
        ({"lite_physics": "yes"}, "lite_physics"),
        ({"layout_id": 3}, "layout_id"),
    ],
)
def test_a_setting_of_the_scene_without_an_equivalent_is_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        spec_of_robosuite(env_args(**arguments))


@pytest.mark.parametrize("task", FIXED)
def test_each_settings_default_is_taken_as_it_is(task: str) -> None:
    robots = EnvSpec(task).definition.robots
    arguments = dict(FIXED[task]) | {
        "gripper_types": ["PandaGripper"] * robots,
        "base_types": "default",
        "mount_types": "default",
        "env_configuration": "default",
        "initialization_noise": [{"magnitude": 0.02, "type": "gaussian"}] * robots,
        "control_freq": 20.0,
    }
    assert spec_of_robosuite(json.loads(json.dumps(env_args(task, **arguments)))) == EnvSpec(task)


@pytest.mark.parametrize("task, key", [(task, key) for task, fixed in FIXED.items() for key in fixed])
def test_each_setting_of_a_scene_is_refused_where_it_differs(task: str, key: str) -> None:
    with pytest.raises(InputError, match=f"set {key} to"):
        spec_of_robosuite(env_args(task, **{key: [0.5, 0.5, 0.5]}))


@pytest.mark.parametrize("key", sorted(WITHOUT_EFFECT))
def test_settings_without_effect_may_be_anything(key: str) -> None:
    assert spec_of_robosuite(env_args(**{key: "anything"})) == EnvSpec()


def test_transport_in_the_words_of_robosuite_1_4() -> None:
    assert spec_of_robosuite(env_args("transport", env_configuration="single-arm-opposed")) == EnvSpec("transport")
    with pytest.raises(InputError, match="env_configuration"):
        spec_of_robosuite(env_args("transport", env_configuration="parallel"))


def composite(**changes: Any) -> dict[str, Any]:
    found = env_args()
    found["env_kwargs"]["controller_configs"].update(changes)
    return found


def test_the_composite_controller_is_honoured_or_refused() -> None:
    right = EnvSpec().controller["body_parts"]["right"]
    assert spec_of_robosuite(composite(body_parts={"arms": {"right": right}, "torso": {}, "legs": {}})) == EnvSpec()
    with pytest.raises(InputError, match="the composite controller to 'WHOLE_BODY_IK'"):
        spec_of_robosuite(composite(type="WHOLE_BODY_IK"))
    with pytest.raises(InputError, match="composite_controller_specific_configs"):
        spec_of_robosuite(composite(composite_controller_specific_configs={"x": 1}))
    with pytest.raises(InputError, match="no controller for the right arm"):
        spec_of_robosuite(composite(body_parts={"left": right}))
    with pytest.raises(InputError, match="the controller of tail"):
        spec_of_robosuite(composite(body_parts={"right": right, "tail": {}}))


def test_two_arms_have_one_controller() -> None:
    controller = EnvSpec("transport").controller
    assert spec_of_robosuite(env_args("transport", controller_configs=[controller, controller])) == EnvSpec("transport")
    other = {"type": "BASIC", "body_parts": {"right": controller["body_parts"]["right"] | {"kp": 90}}}
    with pytest.raises(InputError, match="different controllers"):
        spec_of_robosuite(env_args("transport") | {"env_kwargs": {"controller_configs": [controller, other]}})


@pytest.mark.parametrize("found", [{}, {"controller_configs": None}, {"controller_configs": []}, [1], "x"])
def test_a_description_without_a_controller_is_refused(found: Any) -> None:
    with pytest.raises(InputError, match=r"controller_configs|env_kwargs"):
        spec_of_robosuite({"env_name": "Lift", "env_kwargs": found})


def test_another_robosuite_task_is_refused() -> None:
    with pytest.raises(InputError, match="NutAssemblyRound"):
        spec_of_data({"env_name": "NutAssemblyRound"})


def test_gains_by_axis_survive_the_way_through_a_file() -> None:
    spec = EnvSpec(kp=(200, 200, 200, 100, 100, 100))
    assert spec_of_robosuite(json.loads(json.dumps(spec.env_args))) == spec
    assert EnvSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
