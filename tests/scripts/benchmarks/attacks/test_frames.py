"""Hostile frames are made of every kind and judged by what the server says."""

import numpy as np
import pytest

pytest.importorskip("websockets", reason="the serve extra is not installed")

from scripts.benchmarks.attacks import frames


@pytest.mark.parametrize("kind", frames.KINDS)
def test_frames_repeat_by_their_seed(kind):
    made = [[frames.KINDS[kind](np.random.default_rng([seed, n])) for n in range(20)] for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


class Saying:
    def __init__(self, said):
        self.said = said

    def answer(self, frame):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@pytest.mark.parametrize(
    "said, verdict",
    [
        ("The frame is not msgpack.", "refused"),
        ("The policy failed: KeyError: 1", "error: The policy failed"),
        ("The policy failed: FloatingPointError: the policy's actions are not finite", "refused"),
        ({"ahead": np.zeros((3, 7))}, "unharmed"),
        ({"ahead": np.array([[np.nan]])}, "actions that are not finite"),
        (TimeoutError(), "error: no answer"),
    ],
)
def test_an_answer_is_judged(said, verdict):
    assert frames.verdict(Saying(said), b"").startswith(verdict)


def test_an_honest_client_is_served_meanwhile(tmp_path):
    *kinds, honest = frames.frames(tmp_path, 2 * len(frames.KINDS), seed=0)
    assert [kind.tried for kind in kinds] == [2] * len(frames.KINDS)
    assert (honest.unharmed, honest.tried) == (1, 1)
