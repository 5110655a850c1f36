"""Roles and their members: all that a config may build.

A *role* is a part that can be exchanged: a path, a time law, a network, a codec. Its *members* are classes (or
functions with a declared return type) under a name:

    @role("times", "times")
    class TimeLaw(ABC): ...

    @register("times", "beta_pair")
    @dataclass(frozen=True)
    class BetaPair(TimeLaw):
        a: Positive = 0.8

    build("times", {"type": "beta_pair", "a": 2.0})

What a config names is looked up here and never imported. Which role is asked for is decided by the place in the config:
by the caller at the top, and below it by the annotation of the constructor's parameter, so `times: TimeLaw` takes
members of the role `times` and `a: Positive` takes a positive number. A config from elsewhere, such as the one inside a
bundle, can therefore build what its slots ask for, with the fields that the constructors take, and nothing else.

Installed distributions announce members by entry points of the group `isd_flow.<plural of the role>`
(`isd_flow.networks`, `isd_flow.times`); they are imported when a config names them. A program registers its own by the
decorator.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, TypeVar

from isd_core.support import fields
from isd_core.support.errors import InputError

TYPE = "type"
"""The key of a config that names the member."""
NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_-]+)*")
DEEPEST = 16
MOST_OF_A_FOLDER = 8
"""Up to so many names of one folder are listed one by one."""
T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Member:
    """A class, or a function that returns one's instances, under its name. head: `policy` or `image` for those of one
    head alone; given: the parameters that the program passes, which no config sets.
    """

    role: str
    name: str
    build: Callable[..., Any]
    head: str | None = None
    given: frozenset[str] = frozenset()

    @property
    def takes(self) -> frozenset[str]:
        """The names of all parameters, those among them that the program passes."""
        return frozenset(_parameters(self.build))

    def parameters(self) -> dict[str, inspect.Parameter]:
        """What a config may set, by name, with annotations as objects."""
        return {key: p for key, p in _parameters(self.build).items() if key not in self.given}


@dataclass
class Role:
    """A role: its name, the plural that entry points use, what its members must be, and what the program gives them."""

    name: str
    plural: str
    base: type
    given: frozenset[str] = frozenset()
    annotated: bool = True  # whether a parameter annotated with the base takes members; not so for torch's own classes
    describe: Callable[[str], dict[str, Any]] | None = None  # a member's name -> its config, if not its fields
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The group of entry points that announces members."""
        return f"isd_flow.{self.plural}"

    def announced(self) -> dict[str, metadata.EntryPoint]:
        """What installed distributions announce, by name, not imported."""
        return {point.name: point for point in metadata.entry_points(group=self.group)}

    def names(self) -> list[str]:
        """All names, those of installed distributions included."""
        return sorted({*self.members, *self.announced()})

    def get(self, name: str, where: str | None = None) -> Member:
        """The member of that name; `InputError` with the known ones when there is none. where: the config's slot."""
        if name not in self.members and (point := self.announced().get(name)) is not None:
            try:
                found = point.load()
            except Exception as error:
                raise InputError(
                    f"{where or self.name}={name} is announced by the installed distribution "
                    f"`{point.dist.name if point.dist else point.value}`, which cannot be imported: {error}."
                ) from error
            if name not in self.members:
                register(self.name, name)(found)
        if name not in self.members:
            raise InputError(
                f"{where or self.name}: there is no {self.name} called `{name}` here; known: "
                f"{listed(self.names())}. One of your own is registered before it is used: by "
                f'@register("{self.name}", "{name}"), or by an installed distribution\'s entry point in the group '
                f"{self.group}."
            )
        return self.members[name]


ROLES: dict[str, Role] = {}


def announced() -> bool:
    """Whether any installed distribution announces members of a role."""
    return any(group.startswith("isd_flow.") for group in metadata.entry_points().groups)


def role(name: str, plural: str, given: Collection[str] = ()) -> Callable[[type], type]:
    """Declares the decorated class as the base of a role.

    given: the parameters that the program passes to every member's constructor, which no config sets.
    """

    def declare(base: type) -> type:
        _declare(Role(name, plural, base, frozenset(given)))
        return base

    return declare


def declare_role(
    name: str,
    plural: str,
    base: type,
    given: Collection[str] = (),
    describe: Callable[[str], dict[str, Any]] | None = None,
) -> None:
    """The same for a base that is not ours, such as `torch.nn.Module`: annotations with it ask for no member.

    describe: gives the config by which a command chooses a member, where it is more than its constructor's fields.
    """
    _declare(Role(name, plural, base, frozenset(given), annotated=False, describe=describe))


def _declare(declared: Role) -> None:
    if declared.name in ROLES:
        raise ValueError(f"the role {declared.name} is declared already, with members of {ROLES[declared.name].base}")
    ROLES[declared.name] = declared


def role_named(name: str) -> Role:
    """The role of that name; `ValueError` with the known ones when it is not declared."""
    if name not in ROLES:
        raise ValueError(
            f"no role is called {name!r}; declared are {', '.join(sorted(ROLES))}. Those of policies and images are "
            "declared by isd_policy.register and isd_image.register, `task` by `import isd_envs`."
        )
    return ROLES[name]


def register(role: str, name: str, *, head: str | None = None, given: Collection[str] = ()) -> Callable[[T], T]:
    """Adds the decorated class, or function with a declared return type, to a role.

    head: "policy" or "image" for a member that makes sense for one of them alone. given: further parameters that the
    program passes. Raises `TypeError` for a class that is not what the role asks for, `ValueError` for a name that is
    taken or odd.
    """

    def add(target: T) -> T:
        asked = role_named(role)
        made = target if isinstance(target, type) else _returned(target)
        if not (isinstance(made, type) and issubclass(made, asked.base)):
            raise TypeError(f"{target.__qualname__} is no {role}: expected a subclass of {asked.base.__qualname__}")
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a member: lower-case letters, digits and _")
        known = asked.members.get(name)
        if known is not None and _origin(known.build) != _origin(target):
            raise ValueError(f"{role} `{name}` is taken by {_origin(known.build)}")
        asked.members[name] = Member(role, name, target, head, asked.given | frozenset(given))
        return target

    return add


def build(role: str, config: Mapping[str, Any], /, *, where: str | None = None, **given: Any) -> Any:
    """The member of `role` that `config["type"]` names, from the config's other fields and what the program gives.

    Raises `InputError` for an unknown name, for fields that its constructor does not take, and for values out of the
    field's range or of another type. where: the place in the config, for messages.
    """
    return _build(role_named(role), config, where or role, given, 0)


def structured(cls: type, config: Mapping[str, Any], /, *, where: str, **given: Any) -> Any:
    """An instance of one class, whose fields may be members of roles; otherwise as `build`."""
    return _construct(cls, config, where, given, frozenset(), 0)


def listed(names: Collection[str]) -> str:
    """Names for a message; of many in one folder the first stands for all."""
    folders = Counter(name.rpartition("/")[0] for name in names)
    shown: dict[str, str] = {}
    for name in names:
        folder = name.rpartition("/")[0]
        if folder and folders[folder] > MOST_OF_A_FOLDER:
            shown.setdefault(folder, f"{name} and {folders[folder] - 1} more of {folder}")
        else:
            shown[name] = name
    return ", ".join(shown.values())


def name_of(target: Callable[..., Any]) -> str:
    """The registered name of a class, for messages; its own name where it is not registered."""
    names = (m.name for asked in ROLES.values() for m in asked.members.values() if m.build is target)
    return next(names, target.__qualname__)


def default_config(member: Member, slots: Collection[str] = ()) -> dict[str, Any]:
    """A config of the member with its constructor's defaults; `???` for what has none.

    slots: the roles that are top-level fields of the config; a parameter named after one refers to it.
    """
    config: dict[str, Any] = {TYPE: member.name}
    for key, parameter in member.parameters().items():
        if _role_of(parameter.annotation) is not None and key in slots:
            config[key] = f"${{{key}}}"
        else:
            config[key] = "???" if parameter.default is inspect.Parameter.empty else _plain(parameter.default)
    return config


# -- building ---------------------------------------------------------------------------------------------------------


def _build(asked: Role, config: Any, where: str, given: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(config, Mapping):
        raise InputError(
            f"{where}: expected a {asked.name} ({TYPE}: NAME and its fields), found {fields.shown(config, 60)}."
        )
    if "_target_" in config:
        target = fields.shown(config["_target_"], 60)
        raise InputError(
            f"{where} names the Python object `{target}`. What a config names is looked up among "
            f"the registered members and never imported: expected {TYPE}: one of {listed(asked.names())}. "
            "Files of version 0.1 are read by version 0.1."
        )
    name = config.get(TYPE)
    if not isinstance(name, str):
        raise InputError(f"{where}.{TYPE}: expected the name of a {asked.name}, one of {listed(asked.names())}.")
    member = asked.get(name, where)
    values = {key: value for key, value in config.items() if key != TYPE}
    built = _construct(member.build, values, where, given, member.given, depth)
    if not isinstance(built, asked.base):
        raise TypeError(f"{where}: the {asked.name} `{name}` made a {type(built).__name__}")
    return built


def _construct(
    constructor: Callable[..., Any],
    config: Any,
    where: str,
    given: Mapping[str, Any],
    reserved: frozenset[str],
    depth: int,
) -> Any:
    if depth > DEEPEST:
        raise InputError(f"{where}: the config is nested more than {DEEPEST} deep.")
    if not isinstance(config, Mapping):
        raise InputError(f"{where}: expected fields by name, found {fields.shown(config, 60)}.")
    parameters = _parameters(constructor)
    settable = [key for key in parameters if key not in reserved and key not in given]
    if unknown := sorted(str(key) for key in config if key not in settable):
        raise InputError(
            f"{where} has no field {', '.join(f'`{key[:60]}`' for key in unknown[:5])}; "
            f"{name_of(constructor)} takes: {', '.join(settable) or 'none'}."
        )
    values = {
        key: _value(value, parameters[key].annotation, f"{where}.{key}", depth + 1) for key, value in config.items()
    }
    if absent := [
        key for key, p in parameters.items() if p.default is p.empty and key not in values and key not in given
    ]:
        raise InputError(f"{where}: no value was given for {', '.join(absent)}.")
    return constructor(**values, **given)


def _value(value: Any, hint: Any, where: str, depth: int) -> Any:
    """`value` as a parameter annotated `hint` takes it: members built, numbers checked."""
    asked = _role_of(hint)
    if asked is not None:
        if value is None and fields.optional(hint):
            return None
        return value if isinstance(value, asked.base) else _build(asked, value, where, {}, depth)
    plain = fields.without_none(hint)
    if dataclasses.is_dataclass(plain) and isinstance(plain, type) and isinstance(value, Mapping):
        return _construct(plain, value, where, {}, frozenset(), depth)
    if (inner := _mapping_of_members(plain)) is not None and isinstance(value, Mapping):
        return {str(key): _build(inner, entry, f"{where}.{key}", {}, depth) for key, entry in value.items()}
    return fields.checked(value, hint, where)


def _role_of(hint: Any) -> Role | None:
    plain = fields.without_none(hint)
    return next((asked for asked in ROLES.values() if asked.annotated and asked.base is plain), None)


def _mapping_of_members(hint: Any) -> Role | None:
    if typing.get_origin(hint) in (dict, Mapping) and len(inner := typing.get_args(hint)) == 2:
        return _role_of(inner[1])
    return None


@functools.cache
def _parameters(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a class or function by name, annotations resolved."""
    annotated: Any = constructor
    if isinstance(constructor, type) and not dataclasses.is_dataclass(constructor):
        annotated = constructor.__init__  # type: ignore[misc]  # a dataclass knows the modules of inherited fields itself
    hints = typing.get_type_hints(annotated, include_extras=True)
    skipped = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    made = _made_defaults(constructor)
    return {
        key: parameter.replace(annotation=hints.get(key, Any), default=made.get(key, parameter.default))
        for key, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind not in skipped
    }


def _made_defaults(constructor: Callable[..., Any]) -> dict[str, Any]:
    """The defaults that a dataclass makes by a factory, which its signature does not show."""
    if not (isinstance(constructor, type) and dataclasses.is_dataclass(constructor)):
        return {}
    factories = {f.name: f.default_factory for f in dataclasses.fields(constructor)}
    return {key: make() for key, make in factories.items() if make is not dataclasses.MISSING}


def _returned(function: Callable[..., Any]) -> Any:
    return typing.get_type_hints(function).get("return")


def _origin(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{target.__qualname__}"


def _plain(value: Any) -> Any:
    """A default as a config writes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {TYPE: name_of(type(value)), **inner}
    return list(value) if isinstance(value, tuple) else value
