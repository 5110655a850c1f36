import math

import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.normaliser import MinMax


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
