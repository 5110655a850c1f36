"""The watchdog bites once, and only while the loop is armed."""

from isd_policy.deploy.loop.clock import VirtualClock
from isd_policy.deploy.loop.watchdog import Watchdog


def test_watchdog_bites_once():
    clock, bites = VirtualClock(), []
    dog = Watchdog(clock, 0.2, bites.append)
    dog.feed()
    clock.advance(0.19)
    dog.check()
    assert not bites
    clock.advance(0.02)
    dog.check()
    dog.check()
    assert len(bites) == 1
    assert "0.21 s" in bites[0]


def test_watchdog_that_sleeps_does_not_bite():
    clock, bites = VirtualClock(), []
    dog = Watchdog(clock, 0.2, bites.append)
    dog.feed()
    dog.sleep()
    clock.advance(10.0)
    dog.check()
    assert not bites
