"""What a config may build: members of the role that its slot asks for, with fields of the right type, nothing else."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
import torch
from torch import nn

from isd_core.objectives import Eulerian
from isd_core.paths import Linear, VarianceExploding
from isd_core.support import fields
from isd_core.support.errors import InputError
from isd_core.support.registry import DEEPEST, ROLES, build, default_config, name_of, register, structured
from isd_core.times import BetaPair, LogNormalOnGrid, TimeLaw
from isd_core.training.config import TrainerConfig
from isd_core.velocities import Conditional, OwnDiagonal
from isd_image.released import MixedClock

for _room in ("isd_policy.build", "isd_image.build", "isd_image.data", "isd_image.metrics.extractors"):
    importlib.import_module(_room)  # all roles with their members, as a program that loads anything has them


@pytest.fixture
def own_times():
    """A time law that a program registers; gone afterwards."""

    @register("times", "own_times")
    @dataclass(frozen=True)
    class OwnTimes(TimeLaw):
        share: Annotated[float, fields.Range(least=0, most=1)] = 0.5

        def sample(self, n, path, rng, step):
            t = torch.full((n,), self.share * path.T)
            return t, t

    yield OwnTimes
    del ROLES["times"].members["own_times"]


def test_a_config_becomes_the_member_with_its_own_members():
    assert build("path", {"type": "variance_exploding", "sigma_max": 5.0}, rho=3.0) == VarianceExploding(
        sigma_max=5.0, rho=3.0
    )
    size = {"type": "doubling", "steps": 100.0, "s0": 10, "s1": 1280}
    law = build("times", {"type": "log_normal_on_grid", "grid": {"type": "karras", "size": size}})
    assert isinstance(law, LogNormalOnGrid) and law.grid.size.steps == 100 and isinstance(law.grid.size.steps, int)


def test_the_slot_decides_the_role():
    """`linear` is a path; where a time law is asked for there is no such name."""
    objective = {"type": "eulerian", "path": {"type": "linear"}, "target": {"type": "conditional"}, "tangent": None}
    built = build("objective", objective)
    assert isinstance(built, Eulerian) and built.target == Conditional() and built.tangent is None
    assert built.path == Linear() and built.times == BetaPair()
    with pytest.raises(InputError, match=r"objective\.times: there is no times called `linear` here; known: beta_pair"):
        build("objective", objective | {"times": {"type": "linear"}})


@pytest.mark.parametrize(
    "config, message",
    [
        ({"type": "os.system"}, "no times called `os.system`"),
        ({"_target_": "os.system", "command": "true"}, "looked up among the registered members and never imported"),
        ({"type": "beta_pair", "_target_": "isd_core.times.BetaPair"}, "never imported"),
        ({"type": "nothing"}, "no times called `nothing` here; known: beta_pair"),
        ({"type": ["beta_pair"]}, "expected the name of a times"),
        ({}, "expected the name of a times"),
        ("beta_pair", "expected a times"),
        ({"type": "beta_pair", "c": 1}, "no field `c`; beta_pair takes: a, b"),
        ({"type": "beta_pair", "a": "1"}, "times.a=1: expected a number above 0"),
        ({"type": "beta_pair", "a": -1}, "times.a=-1: expected a number above 0"),
        ({"type": "beta_pair", "a": float("nan")}, "times.a=nan"),
        ({"type": "beta_pair", "a": float("inf")}, "times.a=inf"),
        ({"type": "beta_pair", "a": True}, "times.a=True"),
        ({"type": "beta_pair", "a": {"type": "beta_pair"}}, "times.a="),
        ({"type": "log_normal_on_grid"}, "no value was given for grid"),
    ],
)
def test_what_is_no_member_or_no_field_is_refused_by_name(config, message):
    with pytest.raises(InputError, match=message):
        build("times", config)


def test_deep_nesting_ends_in_an_error():
    config: dict = {"type": "post", "null": {}}
    for _ in range(5 * DEEPEST):
        config = {"type": name_of(MixedClock), "inner": config, "rate": 1.0}
    with pytest.raises(InputError, match="nested more than"):
        build("derivative", config)


def test_a_config_does_not_set_what_the_program_gives():
    with pytest.raises(InputError, match="no field `clock`"):
        build("network", {"type": "unet1d", "clock": {"type": "linear"}}, action_size=2, condition_size=3, horizon=8)


def test_registered_members_are_built_and_refused_for_the_wrong_type(own_times):
    assert build("times", {"type": "own_times", "share": 0.25}) == own_times(share=0.25)
    assert name_of(own_times) == "own_times"
    assert default_config(ROLES["times"].get("own_times")) == {"type": "own_times", "share": 0.5}
    # a dataclass's factories too
    assert default_config(ROLES["objective"].get("eulerian"))["target"] == {"type": "own_diagonal"}
    with pytest.raises(TypeError, match="is no path"):
        register("path", "own_times")(own_times)
    with pytest.raises(ValueError, match="is taken"):

        @register("times", "beta_pair")
        class Other(TimeLaw):
            pass


def test_an_installed_distribution_announces_its_members(tmp_path, monkeypatch):
    (tmp_path / "their_flow.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, action_size: int, condition_size: int, horizon: int, clock: object, width: int = 4):\n"
        "        super().__init__()\n"
        "        self.width = width\n"
    )
    info = tmp_path / "their_flow-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-flow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isd_flow.networks]\ntheirs = their_flow:Net\nbroken = their_flow:No\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_flow", raising=False)
    importlib.invalidate_caches()
    given = {"action_size": 2, "condition_size": 3, "horizon": 8, "clock": None}
    try:
        assert "theirs" in ROLES["network"].names() and "their_flow" not in sys.modules
        assert build("network", {"type": "theirs", "width": 7}, **given).width == 7
        with pytest.raises(InputError, match="announced by the installed distribution `their-flow`"):
            build("network", {"type": "broken"}, **given)
    finally:
        ROLES["network"].members.pop("theirs", None)


def test_a_class_of_fields_is_checked_alike():
    config = structured(TrainerConfig, {"steps": 1e3, "batch_size": 4, "optimizer": {"type": "adamw"}}, where="trainer")
    assert config == TrainerConfig(1000, 4) and isinstance(config.steps, int)
    averages = {"short": {"type": "constant", "decay": 0.5}}
    built = structured(TrainerConfig, {"steps": 1, "batch_size": 1, "averages": averages}, where="trainer")
    assert built.averages["short"](1) == 0.5
    with pytest.raises(InputError, match=r"trainer\.steps=1\.5: expected an integer"):
        structured(TrainerConfig, {"steps": 1.5, "batch_size": 4}, where="trainer")


def reachable():
    """Every (role, member, parameter, annotation) that a config can reach."""
    return [
        pytest.param(key, parameter.annotation, id=f"{asked.name}.{member.name}.{key}")
        for asked in ROLES.values()
        for member in asked.members.values()
        for key, parameter in member.parameters().items()
    ]


PLAIN = (int, float, bool, str, type(None))


def kinds(hint):
    """The plain types and the classes that an annotation is made of."""
    arguments = fields.typing.get_args(hint)
    if fields.typing.get_origin(hint) is fields.Literal:
        return {type(choice) for choice in arguments}
    if fields.typing.get_origin(hint) is Annotated:
        return kinds(arguments[0])
    if arguments:
        return set().union(*(kinds(argument) for argument in arguments if argument is not Ellipsis))
    return {hint}


@pytest.mark.parametrize("key, annotation", reachable())
def test_everything_that_a_file_can_reach_is_plain_data_or_a_member(key, annotation):
    """No field takes a callable, a module, a dotted name or an object of any kind: enumerated over all roles."""
    roles = {asked.base for asked in ROLES.values() if asked.annotated}
    assert all(kind in PLAIN or kind in roles for kind in kinds(annotation)), annotation


def test_the_members_are_what_their_roles_ask_for():
    assert len(ROLES) >= 18
    for asked in ROLES.values():
        for member in asked.members.values():
            made = (
                member.build if isinstance(member.build, type) else fields.typing.get_type_hints(member.build)["return"]
            )
            assert issubclass(made, asked.base)
    assert all(issubclass(m.build, nn.Module) for m in ROLES["network"].members.values())
    assert OwnDiagonal is ROLES["velocity"].get("own_diagonal").build
