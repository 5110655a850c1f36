"""One training, killed and resumed."""

import pytest

from scripts.benchmarks.attacks import kills


@pytest.mark.slow
def test_a_killed_training_ends_as_one_that_was_not(tmp_path):
    (tally,) = kills.kills(tmp_path, 1, seed=0)
    assert (tally.unharmed, tally.tried) == (1, 1), tally.examples
