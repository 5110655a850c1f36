from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isd_core.support.errors import InputError
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


def test_windows_held_on_a_device_are_the_same(demonstrations):
    data = ActionChunks(demonstrations([12, 1, 30], {"a": 3, "b": 4}), Horizons())
    indices = torch.tensor([0, 7, len(data) - 1])
    assert_close(data.to(torch.device("cpu")).batch(indices), data.batch(indices), atol=0, rtol=0)
    assert data.to(torch.device("meta")).batch(indices)["action"].is_meta


def test_pictures_in_memory_are_held_there_and_those_on_disk_refused(demonstrations):
    plain = demonstrations([12, 9], {"a": 3})
    pictures = np.random.default_rng(0).integers(0, 256, (21, 8, 8, 3), dtype=np.uint8)

    class OnDisk:
        shape = pictures.shape

        def __getitem__(self, rows):
            return pictures[rows]

    both = [
        ActionChunks(replace(plain, observations={**plain.observations, "camera": values}), Horizons())
        for values in (pictures, OnDisk())
    ]
    indices = torch.tensor([0, 5])
    held = both[0].to(torch.device("cpu"))
    assert_close(held.batch(indices), both[1].batch(indices), atol=0, rtol=0)
    with pytest.raises(InputError, match="pictures of camera are read from disk"):
        both[1].to(torch.device("cpu"))
