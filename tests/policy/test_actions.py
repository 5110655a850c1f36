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


def test_numbers_are_kept_in_the_training_range():
    low, high = torch.tensor([-1.0, 0.5]), torch.tensor([2.0, 0.5])
    kept = Plain().keep(torch.tensor([[-9.0, 9.0], [1.0, -9.0]]), low, high)
    assert kept.tolist() == [[-1.0, 0.5], [1.0, 0.5]]


def test_a_turn_by_a_little_more_than_pi_is_not_cut_to_another_turn():
    """Data around the vector (3.1, 0, 0): a prediction of (3.15, 0, 0) decodes to (-3.13, 0, 0), which is no error."""
    low = torch.tensor([-1.0, -1.0, -1.0, 2.9, -0.1, -0.1, -1.0])
    high = torch.tensor([1.0, 1.0, 1.0, 3.2, 0.1, 0.1, 1.0])
    pose = torch.tensor([0.0, 0.0, 0.0, 3.15, 0.0, 0.0, 1.0])
    decoded = SixRotation().decode(SixRotation().encode(pose))
    assert decoded[3] < 0
    torch.testing.assert_close(SixRotation().keep(decoded, low, high), pose, atol=1e-5, rtol=0)
    still = SixRotation().keep(torch.zeros(7), low, high)
    assert still[3] == low[3] and torch.isfinite(still).all()
