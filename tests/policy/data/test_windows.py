import numpy as np
import pytest
import torch

from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons


def reference(lengths, horizons):
    """Rows of every window, by the definition: repeat the first and the last step beyond an episode's ends."""
    windows = []
    for episode, length in enumerate(lengths):
        first = -(horizons.observation - 1)
        last = max(first, length - horizons.prediction + horizons.execution - 1)
        for begin in range(first, last + 1):
            steps = [min(max(begin + k, 0), length - 1) for k in range(horizons.prediction)]
            windows.append([1000 * episode + step for step in steps])
    return np.array(windows, dtype=np.float32)


@pytest.mark.parametrize(
    "horizons", [Horizons(), Horizons(1, 4, 4), Horizons(3, 8, 2), Horizons(1, 1, 1)], ids=lambda h: str(h)
)
def test_windows_equal_the_definition(horizons, demonstrations):
    lengths = [12, 1, 30, 7]
    windows = reference(lengths, horizons)
    data = ActionChunks(demonstrations(lengths), horizons)
    batch = data.batch(torch.arange(len(data)))
    np.testing.assert_array_equal(batch["action"][:, :, 0], windows)
    np.testing.assert_array_equal(batch["obs"]["object"][:, :, 0], windows[:, : horizons.observation])


def test_shapes(demonstrations):
    data = ActionChunks(demonstrations([20], {"a": 3, "b": 4}, action_size=5), Horizons())
    batch = data.batch(torch.tensor([0, 3, 3]))
    assert batch["action"].shape == (3, 16, 5)
    assert {key: tuple(value.shape) for key, value in batch["obs"].items()} == {"a": (3, 2, 3), "b": (3, 2, 4)}


def test_an_episode_shorter_than_every_window_is_kept(demonstrations):
    assert len(ActionChunks(demonstrations([1]), Horizons())) == 1
