"""An attempt is refused, without effect, another error, or through."""

import time

import numpy as np
import pytest

from isd_core.support.errors import InputError
from scripts.benchmarks.attacks.tally import ERROR, REFUSED, UNHARMED, Tally, apart, outcome, same

RIGHT = {"a": np.arange(3.0)}


def refuse():
    raise InputError("no")


def fail():
    raise ValueError("odd")


def test_an_attempt_is_one_of_four():
    tally = Tally("files")
    for act in (refuse, lambda: dict(RIGHT), fail, lambda: {"a": np.zeros(3)}):
        tally.judge("f", act, RIGHT)
    assert (tally.refused, tally.unharmed, tally.errors, tally.got_through, tally.tried) == (1, 1, 1, 1, 4)
    assert tally.examples == [f"f: {ERROR}ValueError: odd", "f: a result that is not the right one"]


@pytest.mark.parametrize(
    "other",
    [{"a": np.array([0.0, 1.0, np.nextafter(2, 3)])}, {"a": np.array([-0.0, 1, 2])}, {"a": np.arange(3)}, {}, {"b": 1}],
)
def test_same_is_to_the_last_bit(other):
    assert same({"a": np.arange(3.0)}, RIGHT)
    assert not same(other, RIGHT)


def test_a_result_with_nothing_to_compare_with_is_through():
    assert outcome(lambda: 1) == "a result that is not the right one"


def test_a_process_of_its_own_says_the_same():
    assert apart(refuse) == REFUSED
    assert apart(lambda: RIGHT, RIGHT) == UNHARMED


def test_what_does_not_end_is_ended():
    began = time.monotonic()
    assert apart(lambda: time.sleep(60), seconds=0.3) == f"{ERROR}no end within 0.3 s"
    assert time.monotonic() - began < 10


def test_what_takes_the_memory_is_stopped():
    assert "MemoryError" in apart(lambda: bytearray(2**40))


def test_a_process_that_dies_is_told():
    assert apart(lambda: __import__("os")._exit(7)) == f"{ERROR}the process ended with 7"
