"""Pictures as JPEG: a small part of the bytes, the same answers, and nothing that a stranger's file could break."""

import io

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.deploy.client import RemotePolicy, ServerError, WireError, pack, unpack
from isd_policy.deploy.client.wire import Jpeg
from isd_policy.deploy.serve.pictures import decoded
from tests.policy.deploy.serving import running

Image = pytest.importorskip("PIL.Image")
SHAPE = (32, 48, 3)
CARD = {
    "horizons": {"observation": 2, "prediction": 16, "execution": 8},
    "observations": {"view": {"shape": list(SHAPE)}, "state": {"shape": [3]}},
    "actions": {"size": 2},
}


class Looking:
    """A policy whose actions are the mean of what it sees."""

    longest_prefix = None

    def __init__(self):
        from isd_policy.horizons import Horizons
        from isd_policy.observations import ObservationSchema

        self.schema, self.horizons = ObservationSchema({"view": SHAPE, "state": (3,)}), Horizons()

    def row(self, obs):
        return self.schema.row(obs)

    def preprocess(self, calls):
        return [np.mean([row["view"].mean() for row in call.history]) for call in calls]

    def infer(self, means):
        return np.stack([np.full((15, 2), mean, np.float32) for mean in means])


@pytest.fixture
def view():
    """A picture as smooth as those of a camera."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([4 * x, 4 * y, 2 * (x + y)], axis=-1).clip(0, 255).astype(np.uint8)


def jpeg(size, mode="RGB", format="JPEG"):
    file = io.BytesIO()
    Image.new(mode, size).save(file, format)
    return file.getvalue()


def test_a_jpeg_is_a_part_of_the_bytes_and_the_same_answer(view):
    obs = {"view": view, "state": np.zeros(3)}
    served = running(Looking(), CARD, batch=1)
    with served as server, RemotePolicy(server.url) as plain, RemotePolicy(server.url, jpeg=90) as small:
        assert abs(plain.act(obs) - small.act(obs)).max() < 1.0  # of 255
        assert small.timing.keys() == {"encode", "network", "queue", "infer", "decode"}
        assert all(milliseconds >= 0 for milliseconds in small.timing.values())
        sizes = []
        for remote in (plain, small):
            call = type("Call", (), {"history": [remote.row(obs)] * 2, "stream": (0,), "prefix": None, "left": None})
            sizes.append(len(remote.preprocess([call])))
        assert sizes[1] < sizes[0] / 3


def test_a_server_that_reads_none_is_sent_none(view, monkeypatch):
    monkeypatch.setattr("isd_policy.deploy.serve.server.reads_jpeg", lambda: False)
    served, obs = running(Looking(), CARD, batch=1), {"view": view, "state": np.zeros(3)}
    with served as server, RemotePolicy(server.url, jpeg=90) as remote, pytest.raises(ServerError, match="no JPEG"):
        remote.act(obs)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "no JPEG that can be read"),
        (b"\xff\xd8\xff\xe0 and no more", "no JPEG that can be read"),
        (jpeg((48, 32), format="PNG"), "no JPEG that can be read"),
        (jpeg((32, 48)), r"shape \[48, 32, 3\]; the policy was trained with \[32, 48, 3\]"),
        (jpeg((1000, 1000)), r"shape \[1000, 1000, 3\]"),
        (jpeg((48, 32), mode="L"), r"shape \[32, 48, 1\]"),
        (jpeg((48, 32))[:-200], "no JPEG that can be read"),
    ],
)
def test_what_is_no_such_picture_is_answered_by_a_text_and_the_server_lives_on(data, message, view):
    with running(Looking(), CARD, batch=1) as server, RemotePolicy(server.url) as remote:
        with pytest.raises(ServerError, match=message):
            remote.infer(pack({"view": Jpeg(data), "state": np.zeros(3)}))
        assert remote.act({"view": view, "state": np.zeros(3)}).shape == (8, 2)


def test_a_jpeg_where_numbers_belong_is_refused():
    frame = pack({"view": np.zeros(SHAPE, np.uint8), "state": Jpeg(jpeg((3, 1)))})
    served = running(Looking(), CARD, batch=1)
    with served as server, RemotePolicy(server.url) as remote, pytest.raises(ServerError, match="state"):
        remote.infer(frame)


def test_frames_carry_jpegs_as_bytes():
    assert unpack(pack({"a": [Jpeg(b"x"), Jpeg(b"yy")]})) == {"a": [Jpeg(b"x"), Jpeg(b"yy")]}
    with pytest.raises(WireError, match="no bytes"):
        unpack(pack({b"__jpeg__": True, b"data": "text"}))


def test_other_values_pass_as_they_are():
    array = torch.zeros(2).numpy()
    assert decoded("view", array, SHAPE) is array and decoded("view", [], SHAPE) == []


@pytest.mark.parametrize("quality", [0, 96, 50.0, True])
def test_a_quality_is_a_number_from_1_to_95(quality):
    with pytest.raises((ValueError, InputError), match=f"jpeg={quality}"):
        RemotePolicy("ws://127.0.0.1:9", jpeg=quality)
