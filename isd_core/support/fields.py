"""The types of a config's fields: what a value has to be, and in which range."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from isd_core.support.errors import InputError


@dataclass(frozen=True)
class Range:
    """An interval of numbers: `least` and `most` belong to it, `above` and `below` do not. Infinity does if allowed."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    infinite: bool = False

    def __contains__(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.infinite or math.isfinite(value))
        )

    def __str__(self) -> str:
        parts = [
            f"{word} {bound:g}"
            for word, bound in (
                ("of at least", self.least),
                ("above", self.above),
                ("of at most", self.most),
                ("below", self.below),
            )
            if bound is not None
        ]
        return " and ".join(parts)


Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(least=0)]
Real = Annotated[float, Range()]
"""Any finite number."""
Share = Annotated[float, Range(least=0, most=1)]
"""From 0 to 1, both included."""
OpenShare = Annotated[float, Range(above=0, most=1)]
"""A share that cannot be nothing."""
Decay = Annotated[float, Range(least=0, below=1)]
Count = Annotated[int, Range(least=1)]
Index = Annotated[int, Range(least=0)]
Size = Annotated[int, Range(least=1, most=65536)]
"""Widths, depths and horizons: bounded, so that a config from elsewhere cannot ask for all memory."""
Classes = Annotated[int, Range(least=0, most=2**20)]
"""Numbers of classes, bounded likewise; 0 for data without labels."""
Depth = Annotated[int, Range(least=1, most=1024)]
"""Numbers of layers."""


def without_none(hint: Any) -> Any:
    """`hint` without `| None` and without its range, if one type is left; else `hint` itself."""
    if typing.get_origin(hint) is Annotated:
        return without_none(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
        return without_none(rest[0]) if len(rest) == 1 else hint
    return hint


def optional(hint: Any) -> bool:
    """Whether None is a value of the field."""
    if hint is Any or hint is None or hint is types.NoneType:
        return True
    return typing.get_origin(hint) in (typing.Union, types.UnionType) and any(map(optional, typing.get_args(hint)))


def checked(value: Any, hint: Any, where: str) -> Any:
    """`value` as the field's type has it (10.0 for an integer is 10, a list for a tuple is a tuple).

    Raises `InputError` that names the place, the value and what was expected.
    """
    try:
        return _as(value, hint, where)
    except ValueError:
        raise InputError(f"{where}={shown(value)}: expected {describe(hint)}.") from None


def describe(hint: Any) -> str:
    """The type of a field in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        words = [str(extra) for extra in args[1:] if isinstance(extra, Range) and str(extra)]
        return " ".join([describe(args[0]), *words])
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(arg) for arg in args)
    if origin in (list, Sequence) or (origin is tuple and args[-1] is Ellipsis):
        return f"a list, each {describe(args[0])}"
    if origin is tuple:
        return f"a list of {len(args)}, each {describe(args[0])}"
    if origin in (dict, Mapping):
        return f"fields by name, each {describe(args[1])}"
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    return "null" if hint is types.NoneType else names.get(hint, getattr(hint, "__name__", str(hint)))


def _as(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        number = _as(value, args[0], where)
        if any(isinstance(extra, Range) and number not in extra for extra in args[1:]):
            raise ValueError
        return number
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in args):
            raise ValueError
        return value
    if origin in (typing.Union, types.UnionType):
        for arg in args:
            try:
                return _as(value, arg, where)
            except ValueError:
                continue
        raise ValueError
    if origin in (list, Sequence, tuple):
        return _sequence(value, origin, args, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError
        return {str(key): checked(entry, args[1], f"{where}.{key}") for key, entry in value.items()}
    return _scalar(value, hint)


def _sequence(value: Any, origin: Any, args: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError
    if origin is tuple and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise ValueError
        return tuple(checked(entry, arg, where) for entry, arg in zip(value, args, strict=True))
    entries = [checked(entry, args[0], where) for entry in value]
    return tuple(entries) if origin is tuple else entries


def _scalar(value: Any, hint: Any) -> Any:
    if hint is types.NoneType and value is None:
        return None
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value) or value != int(value):
            raise ValueError
        return int(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isnan(value):
            raise ValueError
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError


def shown(value: Any, most: int = 80) -> str:
    """A value in one line of a message, cut after `most` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."


def check_parts(config: Any, wanted: Mapping[str, Any], source: str) -> None:
    """Raises `InputError` unless a saved config has all `wanted` parts, dotted names with their types."""
    for name, hint in wanted.items():
        node = config
        for key in name.split("."):
            if not isinstance(node, Mapping) or key not in node:
                raise InputError(f"The config in {source} lacks `{name}` ({describe(hint)}): it is not a whole one.")
            node = node[key]
        checked(node, hint, f"{source}: {name}")
