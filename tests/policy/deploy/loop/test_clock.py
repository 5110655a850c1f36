"""Deadlines that neither drift nor pile up, and clocks that sleep."""

import pytest

from isd_policy.deploy.loop.clock import MonotonicClock, Schedule, VirtualClock


def test_deadlines_do_not_drift():
    clock = VirtualClock()
    schedule = Schedule(clock, 0.05)
    for k in range(1000):
        clock.sleep_until(schedule.due)
        assert clock.now() == pytest.approx(0.05 * k, abs=1e-9)
        clock.advance(0.02)
        assert schedule.advance() == 0


@pytest.mark.parametrize("seconds, passed", [(0.0, 0), (0.05, 0), (0.051, 1), (0.149, 2), (1.01, 20)])
def test_deadlines_that_passed_are_counted(seconds, passed):
    clock = VirtualClock()
    schedule = Schedule(clock, 0.05)
    clock.advance(seconds)
    assert schedule.advance() == passed
    assert 0 <= schedule.due - clock.now() <= 0.05 + 1e-9


def test_clock_that_went_back_sets_the_deadlines_anew():
    clock = VirtualClock(50.0)
    schedule = Schedule(clock, 0.05)
    assert not schedule.stepped_back()
    clock.advance(-20.0)
    assert schedule.stepped_back()
    assert schedule.due == clock.now()
    assert not schedule.stepped_back()


def test_the_system_s_clock_sleeps_until_the_deadline():
    clock = MonotonicClock()
    moment = clock.now() + 0.01
    clock.sleep_until(moment)
    assert 0 <= clock.now() - moment < 0.5
