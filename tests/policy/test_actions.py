import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.actions import Plain, SixRotation


def poses(arms):
    rng = torch.Generator().manual_seed(arms)
    return torch.rand(5, 16, 7 * arms, generator=rng, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("arms", [1, 2])
def test_poses_come_back(arms):
    actions = SixRotation()
    encoded = actions.encode(poses(arms))
    assert encoded.shape == (5, 16, 10 * arms)
    assert actions.size(7 * arms) == 10 * arms
    torch.testing.assert_close(actions.decode(encoded), poses(arms))


def test_position_and_gripper_of_each_arm_keep_their_numbers():
    encoded = SixRotation().encode(poses(2)).unflatten(-1, (2, 10))
    whole = poses(2).unflatten(-1, (2, 7))
    torch.testing.assert_close(encoded[..., :3], whole[..., :3])
    torch.testing.assert_close(encoded[..., 9], whole[..., 6])


def test_only_rotations_are_left_unscaled():
    assert SixRotation().unscaled(14).nonzero().flatten().tolist() == [*range(3, 9), *range(13, 19)]
    assert not Plain().unscaled(7).any()


def test_actions_that_are_no_poses_are_an_input_error():
    with pytest.raises(InputError, match="7 numbers"):
        SixRotation().size(2)
