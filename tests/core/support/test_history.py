"""The last observations of a robot."""

from isd_core.support.history import ObservationHistory


def test_history_holds_the_last_observations_oldest_first():
    history = ObservationHistory(2)
    for k in range(4):
        assert history.push({"k": k}, float(k))
    assert [row["k"] for row in history.rows()] == [2, 3]
    assert (history.newest()["k"], history.time) == (3, 3.0)


def test_first_observation_fills_the_history():
    history = ObservationHistory(3)
    history.push({"k": 5}, 0.0)
    assert [row["k"] for row in history.rows()] == [5, 5, 5]


def test_older_observation_is_refused_and_an_equal_time_is_not():
    history = ObservationHistory(2)
    history.push({"k": 0}, 1.0)
    assert history.push({"k": 1}, 1.0)
    assert not history.push({"k": 2}, 0.9)
    assert history.newest()["k"] == 1


def test_cleared_history_takes_any_time():
    history = ObservationHistory(2)
    history.push({"k": 0}, 10.0)
    history.clear()
    assert len(history) == 0
    assert history.push({"k": 1}, 5.0)
