"""What tells data apart: their content, and nothing of where they lie."""

import numpy as np
import pytest

from isd_policy.data.demonstrations import Demonstrations


def make(change=None, source="here"):
    rng = np.random.default_rng(0)
    parts = {
        "actions": rng.normal(size=(200, 2)).astype(np.float32),
        "state": rng.normal(size=(200, 3)).astype(np.float32),
        "camera": rng.integers(0, 256, (200, 4, 4, 3), dtype=np.uint8),
        "ends": np.array([80, 200]),
    }
    if change is not None:
        change(parts)
    return Demonstrations.from_arrays(
        observations={"state": parts["state"], "camera": parts["camera"]},
        actions=parts["actions"],
        episode_ends=parts["ends"],
        source=source,
    )


def test_the_place_does_not_count():
    assert make().content() == make(source="there").content()


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts["actions"].__setitem__((17, 0), 9.0),
        lambda parts: parts["state"].__setitem__((199, 2), 9.0),
        lambda parts: parts.__setitem__("ends", np.array([81, 200])),
        lambda parts: np.negative(parts["camera"], out=parts["camera"]),
    ],
    ids=["an action", "a number", "an episode", "pictures"],
)
def test_all_that_a_training_sees_counts(change):
    assert make(change).content() != make().content()
