"""What stands beside a number."""

import os

from isd_core.support import machine


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3})
    assert machine.cores() == 2


def test_the_processor_has_a_name_without_proc(monkeypatch):
    def absent(_):
        raise FileNotFoundError

    monkeypatch.setattr(machine.Path, "read_text", absent)
    assert machine.processor() == (machine.platform.processor() or machine.platform.machine())


def test_everything_is_told():
    assert machine.machine().keys() == {"processor", "cores", "system"}
    assert machine.machine()["processor"]
