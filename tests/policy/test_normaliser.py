import math

import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.normaliser import ActionScale, MinMax


def test_data_fill_the_range_from_minus_one_to_one():
    x = torch.tensor([[1.0, -4.0], [3.0, 0.0], [2.0, -1.0]])
    y = MinMax.fit(x)(x)
    torch.testing.assert_close(torch.stack([y.amin(0), y.amax(0)]), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_inverse_undoes_forward_on_any_leading_axes():
    scale = MinMax.fit(torch.randn(50, 3) * torch.tensor([0.1, 1.0, 30.0]))
    x = torch.randn(4, 5, 3)
    torch.testing.assert_close(scale.inverse(scale(x)), x, atol=1e-5, rtol=1e-5)


def test_a_constant_dimension_is_centred_and_not_stretched():
    scale = MinMax.fit(torch.tensor([[7.0], [7.0 + 5e-5]]))
    assert scale(torch.tensor([[8.0]])).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_statistics_that_are_not_finite_are_an_input_error(bad):
    with pytest.raises(InputError, match="missing or unusable"):
        MinMax(torch.tensor([bad]), torch.tensor([1.0]))


def test_minimum_above_maximum_is_an_input_error():
    with pytest.raises(InputError, match="minimum above its maximum"):
        MinMax(torch.tensor([2.0]), torch.tensor([1.0]))


def test_statistics_are_in_the_state_dict():
    assert MinMax(torch.zeros(2), torch.ones(2)).state_dict().keys() == {"low", "high"}


def test_constant_dimensions_are_no_part_of_what_a_network_learns_and_come_back_as_they_were():
    data = torch.randn(50, 4)
    data[:, 1], data[:, 3] = 0.25, -3.0
    scale = ActionScale(MinMax.fit(data))
    assert scale.size == 2 and scale.constant == [1, 3]
    chunk = scale(data)
    assert chunk.shape == (50, 2)
    torch.testing.assert_close(scale.inverse(chunk), data)
    noisy = scale.inverse(torch.randn(6, 8, 2))
    assert (noisy[..., 1] == 0.25).all() and (noisy[..., 3] == -3.0).all()


def test_where_all_dimensions_change_the_scale_is_plain():
    data = torch.randn(50, 3)
    scale = ActionScale(MinMax.fit(data))
    assert torch.equal(scale(data), MinMax.fit(data)(data))
    assert torch.equal(scale.inverse(data), MinMax.fit(data).inverse(data))


def test_actions_that_never_change_are_refused():
    with pytest.raises(InputError, match="nothing to learn"):
        ActionScale(MinMax.fit(torch.ones(5, 2)))


def test_a_constant_number_of_a_rotation_keeps_its_value():
    """Numbers that are left as they are, because they lie in [-1, 1], are constant all the same where they are."""
    data = torch.stack([torch.linspace(-1, 1, 9), torch.full((9,), 0.5)], dim=1)
    scale = MinMax.fit(data, torch.tensor([True, True]))
    assert (scale.low.tolist(), scale.high.tolist()) == ([-1, 0.5], [1, 0.5])
