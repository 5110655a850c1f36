"""Frames: msgpack maps whose arrays are maps of dtype, shape and bytes. No pickle, and numbers only.

The layout of an array is that of openpi-client 0.1: {b"__ndarray__": True, b"data": bytes, b"dtype": str, b"shape":
[int]}, and {b"__npgeneric__": True, b"data": number, b"dtype": str} for one number of NumPy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

ARRAY, NUMBER, DATA, DTYPE, SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"
JPEG = b"__jpeg__"
KINDS = "biuf"
"""Booleans, integers and floating-point numbers."""
LARGEST_ITEM = 8
MOST_AXES = 8


class WireError(ValueError):
    """A frame that is not of this protocol."""


@dataclass(frozen=True)
class Jpeg:
    """A picture as the bytes of a JPEG file, {b"__jpeg__": True, b"data": bytes}."""

    data: bytes


def pack(content: Any) -> bytes:
    """A frame of nested maps, lists, texts, numbers, numeric arrays and JPEGs; `WireError` for anything else."""
    try:
        frame: bytes = msgpack.packb(content, default=_encode)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"This cannot be sent: {error}.") from error
    return frame


def unpack(frame: bytes) -> Any:
    """What was packed. Arrays are views of the frame, not to be written to. `WireError` for everything else."""
    try:
        return msgpack.unpackb(frame, object_hook=_decode, strict_map_key=False)
    except WireError:
        raise
    except Exception as error:  # msgpack's exceptions have no common class, and the frame is a stranger's
        raise WireError(f"The frame of {len(frame)} bytes is not msgpack: {error or type(error).__name__}.") from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        _check_kind(value.dtype)
        return {ARRAY: True, DATA: value.tobytes(), DTYPE: value.dtype.str, SHAPE: list(value.shape)}
    if isinstance(value, np.generic):
        _check_kind(value.dtype)
        return {NUMBER: True, DATA: value.item(), DTYPE: value.dtype.str}
    if isinstance(value, Jpeg):
        return {JPEG: True, DATA: value.data}
    raise WireError(f"{type(value).__name__} is neither a number, a text, a list, a map nor an array.")


def _decode(content: dict[Any, Any]) -> Any:
    if ARRAY in content:
        dtype, shape, data = _dtype(content), _shape(content), content.get(DATA)
        if not isinstance(data, bytes) or math.prod(shape) * dtype.itemsize != len(data):
            length = len(data) if isinstance(data, bytes) else "no"
            raise WireError(f"An array of type {dtype} and shape {list(shape)} has {length} bytes.")
        return np.frombuffer(data, dtype).reshape(shape)
    if NUMBER in content:
        number = content.get(DATA)
        if not isinstance(number, int | float):
            raise WireError(f"A number of NumPy is {type(number).__name__}.")
        return _dtype(content).type(number)
    if JPEG in content:
        if not isinstance(content.get(DATA), bytes):
            raise WireError("A JPEG has no bytes.")
        return Jpeg(content[DATA])
    return content


def _shape(content: dict[Any, Any]) -> tuple[int, ...]:
    shape = content.get(SHAPE)
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError(f"An array has the shape {shape}.")
    return tuple(shape)


def _dtype(content: dict[Any, Any]) -> np.dtype[Any]:
    name = content.get(DTYPE)
    name = name.decode("ascii", "replace") if isinstance(name, bytes) else name
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None:
        raise WireError(f"An array has the type {name!r}, which is none.")
    _check_kind(dtype)
    return dtype


def _check_kind(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in KINDS or dtype.itemsize > LARGEST_ITEM or dtype.shape:
        raise WireError(f"An array has the type {dtype}; only booleans, integers and floating-point numbers are sent.")
