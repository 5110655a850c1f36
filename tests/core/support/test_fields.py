"""Typed fields: what a value has to be, the borders of its range, and the one set of defaults."""

import importlib
import math
import typing
from inspect import Parameter
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from isd_core.support import fields
from isd_core.support.cli import CONFIGS
from isd_core.support.errors import InputError
from isd_core.support.fields import Count, Decay, Depth, Index, NonNegative, OpenShare, Positive, Range, Share, Size
from isd_core.support.registry import ROLES, default_config, structured
from isd_core.training.config import TrainerConfig
from isd_policy.horizons import Horizons

for _room in ("isd_policy.build", "isd_image.build", "isd_image.data", "isd_image.metrics.extractors"):
    importlib.import_module(_room)  # all roles with their members, as a program that loads anything has them


@pytest.mark.parametrize(
    "hint, good, bad",
    [
        (Positive, [1, 1e-9, 5.0], [0, -1, math.inf, math.nan, True, "1", None]),
        (NonNegative, [0, 2.5], [-1e-9, math.inf]),
        (Share, [0, 0.5, 1], [-0.1, 1.1]),
        (OpenShare, [0.1, 1], [0, 1.1]),
        (Decay, [0, 0.9999], [1, -0.1]),
        (Count, [1, 3.0, 1e4], [0, 1.5, "3", math.inf, math.nan]),
        (Index, [0, 7], [-1]),
        (Size, [1, 65536], [0, 65537, 10**12]),
        (Depth, [1024], [1025]),
        (typing.Annotated[float, Range(above=0, infinite=True)], [math.inf], [math.nan]),
        (tuple[Decay, Decay], [[0.9, 0.95], (0, 0)], [[0.9], [0.9, 1.0], 0.9]),
        (typing.Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (bool | str, [True, "x"], [1, None]),
        (int | None, [None, 3], ["3"]),
        (dict[str, float], [{"a": 1}], [{"a": "x"}, [1]]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_values_of_a_type_and_those_that_are_not(hint, good, bad):
    for value in good:
        fields.checked(value, hint, "place")
    for value in bad:
        with pytest.raises(InputError, match=r"^place.*: expected "):
            fields.checked(value, hint, "place")


def test_whole_numbers_and_lists_become_what_the_field_says():
    assert fields.checked(1e4, Count, "steps") == 10000 and isinstance(fields.checked(1e4, Count, "steps"), int)
    assert fields.checked([1, 2], tuple[int, int], "x") == (1, 2)
    assert fields.checked("a/b", Path, "x") == Path("a/b")


def numbers(hint):
    """The numeric parts of an annotation, each with whether it has a range."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        ranged = any(isinstance(extra, Range) for extra in arguments[1:])
        return [(kind, ranged or given) for kind, given in numbers(arguments[0])]
    if typing.get_origin(hint) is typing.Literal:
        return []
    if arguments:
        return [found for argument in arguments for found in numbers(argument)]
    return [(hint, False)] if hint in (int, float) else []


def all_fields():
    """(where, parameter) of every field that a config can set."""
    for asked in ROLES.values():
        for member in asked.members.values():
            for key, parameter in member.parameters().items():
                yield f"{asked.name}.{member.name}.{key}", parameter
    for cls in (TrainerConfig, Horizons):
        hints = typing.get_type_hints(cls, include_extras=True)
        for key, hint in hints.items():
            yield f"{cls.__name__}.{key}", Parameter(key, Parameter.KEYWORD_ONLY, annotation=hint)


FREE = {
    "guidance.none.null",
    "guidance.pre.null",
    "guidance.post.null",
    "guidance.interval.null",
    "guidance.mixed.null",
}
"""The values of the conditioning that mean none: any number."""


@pytest.mark.parametrize("where, parameter", [pytest.param(*found, id=found[0]) for found in all_fields()])
def test_every_number_of_every_config_has_a_range(where, parameter):
    if where not in FREE:
        assert all(ranged for _, ranged in numbers(parameter.annotation)), parameter.annotation


def presets():
    """(file, its content, the member) of every YAML file that is named like the member that it configures."""
    for asked in ROLES.values():
        for path in sorted((CONFIGS / asked.name).glob("*.yaml")):
            content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
            if content.get("type") == path.stem and path.stem in asked.members:
                yield pytest.param(content, asked.members[path.stem], id=f"{asked.name}/{path.stem}")


@pytest.mark.parametrize("content, member", list(presets()))
def test_a_members_own_file_has_its_constructors_defaults(content, member):
    """One set of defaults: whoever builds a part in Python gets what the command line shows."""
    for key, value in default_config(member).items():
        written = content.get(key, value)
        if value != "???" and not (isinstance(written, str) and written.startswith("${")) and key in content:
            assert written == value, key


def test_the_trainers_file_has_its_classs_defaults():
    content = OmegaConf.to_container(OmegaConf.load(CONFIGS / "trainer" / "default.yaml"))
    built = structured(TrainerConfig, content, where="trainer")
    assert built == TrainerConfig(content["steps"], content["batch_size"])
