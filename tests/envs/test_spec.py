import json

import pytest

from envs.spec import EnvSpec
from isd_core.support.errors import InputError


def test_a_spec_survives_json() -> None:
    spec = EnvSpec(task="can", action_mode="absolute", frame="world", lite_physics=False)
    assert EnvSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "fields", [{"task": "sweep"}, {"engine": "gpu"}, {"mode": "quick"}, {"kp": -1}, {"control_freq": True}]
)
def test_a_wrong_value_is_named(fields: dict[str, object]) -> None:
    (name,) = fields
    with pytest.raises(InputError, match=name):
        EnvSpec.from_dict(fields)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(InputError, match="no field `engin`"):
        EnvSpec.from_dict({"engin": "compiled"})


def test_env_args_of_this_package_are_read_back() -> None:
    spec = EnvSpec(task="square", action_mode="absolute", frame="world", kp=200.0, position_scale=0.1)
    assert EnvSpec.from_env_args(json.loads(json.dumps(spec.env_args))) == spec


def test_env_args_of_robosuite_1_4_are_translated() -> None:
    part = {
        "type": "OSC_POSE",
        "input_max": 1,
        "input_min": -1,
        "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
        "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
        "kp": 150,
        "damping": 1,
        "impedance_mode": "fixed",
        "control_delta": True,
        "interpolation": None,
    }
    arguments = {"robots": ["Panda"], "controller_configs": part, "control_freq": 20}
    spec = EnvSpec.from_env_args({"env_name": "PickPlaceCan", "env_version": "1.4.1", "env_kwargs": arguments})
    assert spec == EnvSpec(task="can", frame="world", lite_physics=False)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"type": "JOINT_POSITION"}, "controller type"),
        ({"impedance_mode": "variable"}, "impedance_mode"),
        ({"output_max": [0.05, 0.05, 0.1, 0.5, 0.5, 0.5]}, "scale actions"),
    ],
)
def test_a_controller_without_an_equivalent_is_refused(change: dict[str, object], message: str) -> None:
    env_args = json.loads(json.dumps(EnvSpec().env_args))
    env_args["env_kwargs"]["controller_configs"]["body_parts"]["right"].update(change)
    with pytest.raises(InputError, match=message):
        EnvSpec.from_env_args(env_args)


def test_another_robosuite_task_is_refused() -> None:
    with pytest.raises(InputError, match="NutAssemblyRound"):
        EnvSpec.from_env_args({"env_name": "NutAssemblyRound"})
