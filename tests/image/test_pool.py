"""Tasks over several processes."""

import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from isd_core.support.errors import InputError
from isd_image.pool import ordered

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, pathlib, sys, time
from isd_image.pool import ordered

def make(device):
    return work

def work(task):
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    list(ordered(make, range(4), 2, "cpu"))
"""


REPEAT = partial(partial, operator.mul)  # make("cpu") gives a worker: task -> "cpu" * task


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_tasks(processes):
    assert list(ordered(REPEAT, [3, 1, 2], processes, "cpu")) == ["cpucpucpu", "cpu", "cpucpu"]


def test_nothing_to_do_builds_no_worker():
    assert list(ordered(None, [], 2, "cpu")) == []


def test_no_processes_is_an_error():
    with pytest.raises(InputError, match="processes=0"):
        list(ordered(REPEAT, [1], 0, "cpu"))


@pytest.mark.slow
def test_a_killed_parent_leaves_no_workers(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pids").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, tmp_path / "program.py", tmp_path / "pids"], env=environment)
    wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    workers = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    wait_until(lambda: not any(alive(pid) for pid in workers))


def wait_until(condition, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
