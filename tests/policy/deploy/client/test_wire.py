"""Frames carry numbers and nothing that runs code; whatever a stranger sends is a `WireError`."""

import contextlib

import msgpack
import numpy as np
import pytest

from isd_policy.deploy.client.wire import WireError, pack, unpack


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float32", ">f4", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_arrays_come_back(dtype, shape):
    array = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2, dtype)
    back = unpack(pack({"a": array}))["a"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


def test_nested_content_comes_back():
    content = {"a": [1, 2.5, "text", None, True], "b": {"c": {"d": -7}}, "e": np.float32(0.5)}
    assert unpack(pack(content)) == content


def test_arrays_have_the_layout_of_the_published_client():
    inner = msgpack.unpackb(pack(np.zeros((2, 3), np.float32)))
    assert inner == {b"__ndarray__": True, b"data": bytes(24), b"dtype": "<f4", b"shape": [2, 3]}


@pytest.mark.parametrize(
    "value", [np.array(["a"]), np.array([object()]), np.zeros(2, complex), np.zeros(2, "V4"), object(), {1, 2}]
)
def test_what_is_no_number_is_not_sent(value):
    with pytest.raises(WireError):
        pack({"a": value})


def array(data=bytes(8), dtype="<f4", shape=(2,)):
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


@pytest.mark.parametrize(
    "content",
    [
        array(dtype="|O"),
        array(dtype="|S8", shape=[1]),
        array(dtype="<U2", shape=[1]),
        array(dtype="<c8", shape=[1]),
        array(dtype="<M8[s]", shape=[1]),
        array(dtype="(2,)f4", shape=[1]),
        array(dtype="f4,f4", shape=[1]),
        array(dtype="nonsense"),
        array(dtype=3),
        array(dtype=None),
        array(shape=[3]),
        array(shape=[2, -1]),
        array(shape=[2**62, 2**62]),
        array(shape=[True, 2]),
        array(shape="2"),
        array(shape=None),
        array(shape=[1] * 30 + [2]),
        array(data="text"),
        array(data=None),
        {b"__npgeneric__": True, b"data": "1", b"dtype": "<f4"},
        {b"__npgeneric__": True, b"data": 1, b"dtype": "|O"},
    ],
    ids=str,
)
def test_arrays_that_are_none(content):
    with pytest.raises(WireError):
        unpack(msgpack.packb({"a": content}))


@pytest.mark.parametrize(
    "frame", [b"", b"\xc1", b"\x80\x80", b"garbage!", b"\xdf\xff\xff\xff\xff", b"\x91" * 5000, b"\xc6\xff\xff\xff\xff"]
)
def test_frames_that_are_none(frame):
    with pytest.raises(WireError):
        unpack(frame)


def test_every_cut_frame_is_refused():
    frame = pack({"a": np.arange(5.0), "b": [1, "two"]})
    for end in range(len(frame)):
        with pytest.raises(WireError):
            unpack(frame[:end])


def test_changed_bytes_never_raise_anything_else():
    frame = pack({"a": np.arange(5.0), "b": [1, "two"]})
    rng = np.random.default_rng(0)
    for _ in range(2000):
        changed = bytearray(frame)
        for place in rng.integers(len(frame), size=3):
            changed[place] = rng.integers(256)
        with contextlib.suppress(WireError):
            unpack(bytes(changed))
