import numpy as np
import pytest

from isd_envs.rollouts.statistics import decided_after, e_value, mcnemar, success_over_time, wilson


def test_wilson_equals_the_published_interval_of_97_in_100() -> None:
    low, high = wilson(97, 100)
    assert low == pytest.approx(0.9155, abs=5e-4)
    assert high == pytest.approx(0.9897, abs=5e-4)


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_stays_inside_the_unit_interval() -> None:
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 10)[0] == 0.0


def test_wilson_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="11 successes of 10"):
        wilson(11, 10)


def test_mcnemar_equals_the_sign_test_on_the_differing_pairs() -> None:
    first = [True] * 9 + [False] * 1 + [True] * 40
    second = [False] * 9 + [True] * 1 + [True] * 40
    comparison = mcnemar(first, second)
    assert (comparison.only_first, comparison.only_second, comparison.both) == (9, 1, 40)
    assert comparison.p_value == pytest.approx(2 * 11 / 1024)
    assert comparison.different


def test_equal_policies_are_not_distinguishable() -> None:
    comparison = mcnemar([True, False, True], [True, False, True])
    assert comparison.p_value == 1.0
    assert "not distinguishable at n = 3" in comparison.verdict()


def test_mcnemar_refuses_unpaired_outcomes() -> None:
    with pytest.raises(ValueError, match="starts must be the same"):
        mcnemar([True], [True, False])


def test_the_evidence_is_the_wealth_of_the_bets() -> None:
    """One bet after another, each at the odds that the starts before it suggest."""
    wealth, wins, losses = 1.0, 0, 0
    for won in [True, True, False, True, True, True, False, True]:
        share = (wins + 0.5) / (wins + losses + 1)
        wealth *= 2 * (share if won else 1 - share)
        wins, losses = wins + won, losses + (not won)
        assert e_value(wins, losses) == pytest.approx(wealth)


def test_looking_after_every_start_raises_few_false_alarms() -> None:
    """10,000 pairs of equal policies, stopped as soon as they look different, if ever in 200 differing starts."""
    runs, most, alpha = 10_000, 200, 0.05
    evidence = np.array([[e_value(k, m) for m in range(most + 1)] for k in range(most + 1)])
    first = np.cumsum(np.random.default_rng(0).random((runs, most)) < 0.5, axis=1)  # wins of the first so far
    second = np.arange(1, most + 1) - first
    alarms = (evidence[first, second] >= 1 / alpha).any(axis=1)
    assert 0.01 < alarms.mean() <= alpha


def test_a_clear_difference_is_decided_early() -> None:
    assert decided_after([True] * 100, [False] * 100) == 7
    assert decided_after([True, False] * 50, [False, True] * 50) is None
    assert "decided after 7 starts" in mcnemar([True] * 20, [False] * 20).verdict()


def test_success_over_time_rises_to_the_rate() -> None:
    curve = success_over_time([10, 45], n=4, max_steps=100, points=4)
    assert curve == {"steps": [25, 50, 75, 100], "rate": [0.25, 0.5, 0.5, 0.5]}
