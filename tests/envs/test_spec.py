import json

import pytest

from isd_core.support.errors import InputError
from isd_envs.spec import EnvSpec


def test_a_spec_survives_json() -> None:
    spec = EnvSpec(task="can", action_mode="absolute", frame="world", lite_physics=False)
    assert EnvSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "fields",
    [{"task": "sweep"}, {"engine": "gpu"}, {"mode": "quick"}, {"kp": -1}, {"kp": [150] * 5}, {"control_freq": True}],
)
def test_a_wrong_value_is_named(fields: dict[str, object]) -> None:
    (name,) = fields
    with pytest.raises(InputError, match=name):
        EnvSpec.from_dict(fields)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(InputError, match="no field `engin`"):
        EnvSpec.from_dict({"engin": "compiled"})
