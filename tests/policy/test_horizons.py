import pytest

from isd_core.support.errors import InputError
from isd_policy.horizons import Horizons


def test_what_lies_ahead_begins_with_the_newest_observation():
    assert Horizons(observation=2, prediction=16, execution=8).ahead == slice(1, 16)


def test_execution_beyond_the_prediction_is_an_input_error():
    with pytest.raises(InputError, match="at most 15 of 16"):
        Horizons(observation=2, prediction=16, execution=16)


def test_horizon_of_zero_is_an_input_error():
    with pytest.raises(InputError, match="at least 1"):
        Horizons(observation=0)
