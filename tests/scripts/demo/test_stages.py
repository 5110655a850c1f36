"""Stages run once: complete ones are skipped, interrupted ones continue, and no second is lost from the account."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isd_core.support.errors import InputError
from scripts.demo.stages import Ledger, Lock, Stage, StageFailed, run_command, run_stages


@pytest.fixture
def job(tmp_path):
    """Two stages that each write a file; the second reads the first one's."""

    class Job:
        folder = tmp_path
        fails = ""
        code = 0

        def __init__(self):
            self.ran, self.said = [], []

        def stages(self):
            def make(name, needs=()):
                return Stage(name, f"make {name}", (name,), (tmp_path / name).exists, needs)

            return [make("first"), make("second", ("first",))]

        def command(self, command, tick):
            self.ran.append(command[0])
            if command[0] == self.fails:
                return self.code
            (tmp_path / command[0]).touch()
            return 0

        def run(self):
            self.ran, self.said = [], []
            run_stages(self.stages(), Ledger(tmp_path / "stages.json"), self.command, self.said.append)
            return self.ran

        def entries(self):
            return json.loads((tmp_path / "stages.json").read_text())

    return Job()


def test_stages_run_in_their_order(job):
    assert job.run() == ["first", "second"]


def test_complete_stages_are_skipped(job):
    job.run()
    assert job.run() == []


def test_a_skipped_stage_says_how_long_it_took(job):
    job.run()
    job.run()
    assert job.said[0].startswith("[1/2] make first: done before, in ")


def test_a_lost_result_runs_its_stage_and_those_that_read_it(job):
    job.run()
    (job.folder / "first").unlink()
    assert job.run() == ["first", "second"]


def test_a_stage_continues_after_a_failure(job):
    job.fails, job.code = "second", 1
    with pytest.raises(StageFailed):
        job.run()
    job.fails = ""
    assert job.run() == ["second"]


def test_the_failed_commands_exit_code_is_kept(job):
    job.fails, job.code = "first", 2
    with pytest.raises(StageFailed) as failure:
        job.run()
    assert failure.value.code == 2


def test_exit_code_0_without_a_result_is_a_failure(job):
    job.fails, job.code = "first", 0
    with pytest.raises(StageFailed):
        job.run()


def test_later_stages_do_not_run_after_a_failure(job):
    job.fails, job.code = "first", 1
    with pytest.raises(StageFailed):
        job.run()
    assert job.ran == ["first"]


def test_an_existing_result_without_a_complete_entry_runs_again(job):
    (job.folder / "first").touch()
    assert job.run() == ["first", "second"]


def test_attempts_and_seconds_add_up_over_a_kill(job):
    job.run()
    entries = job.entries()
    entries["second"] |= {"complete": False, "seconds": 40.0}
    (job.folder / "stages.json").write_text(json.dumps(entries))
    job.run()
    second = job.entries()["second"]
    assert second["attempts"] == 2
    assert 40.0 <= second["seconds"] < 45.0


def test_the_elapsed_time_is_on_disk_while_a_stage_runs(job):
    seen = []

    def command(command, tick):
        time.sleep(0.02)
        tick()
        seen.append(job.entries()["first"])
        (job.folder / command[0]).touch()
        return 0

    run_stages(job.stages()[:1], Ledger(job.folder / "stages.json"), command, job.said.append)
    assert seen[0]["seconds"] >= 0.02
    assert not seen[0]["complete"]


def test_commands_are_shown_as_a_user_would_type_them(tmp_path, capsys):
    stage = Stage("a", "a", (sys.executable, "-c", "pass", f"{os.getcwd()}/runs/x"), lambda: True)
    run_stages([stage], Ledger(tmp_path / "stages.json"))
    assert "$ python -c pass runs/x" in capsys.readouterr().out


def test_a_command_returns_its_exit_code():
    assert run_command([sys.executable, "-c", "raise SystemExit(3)"], lambda: None) == 3


def test_an_interruption_ends_the_command(tmp_path):
    marker = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(marker)!r}).write_text(str(os.getpid())); time.sleep(60)"

    def tick():
        if marker.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command([sys.executable, "-c", code], tick)
    assert not alive(int(marker.read_text()))


def test_a_killed_job_takes_its_command_along(tmp_path):
    marker = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(marker)!r}).write_text(str(os.getpid())); time.sleep(60)"
    call = f"run_command([sys.executable, '-c', {child!r}], int)"
    code = f"import sys; from scripts.demo.stages import run_command; {call}"
    job = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: marker.exists() and marker.read_text())
    job.send_signal(signal.SIGKILL)
    job.wait()
    wait_until(lambda: not alive(int(marker.read_text())))


def test_a_second_job_in_the_same_folder_is_refused(tmp_path):
    lock = Lock(tmp_path / ".lock")
    with pytest.raises(InputError, match="in use by another demo"):
        Lock(tmp_path / ".lock")
    lock.release()


def test_a_released_folder_can_be_used_again(tmp_path):
    Lock(tmp_path / ".lock").release()
    Lock(tmp_path / ".lock").release()


def alive(pid):
    """Whether the process runs; one that has ended and is not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


JOB = """
import sys, pathlib
from scripts.demo.stages import Ledger, Stage, run_stages
folder = pathlib.Path(sys.argv[1])
write = "import sys, time, pathlib; time.sleep(float(sys.argv[2])); pathlib.Path(sys.argv[1]).touch()"
stages = [
    Stage(name, name, (sys.executable, "-c", write, str(folder / name), seconds), (folder / name).exists)
    for name, seconds in (("quick", "0"), ("slow", sys.argv[2]))
]
run_stages(stages, Ledger(folder / "stages.json"))
"""


def test_a_job_that_was_killed_continues_with_its_unfinished_stage(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", JOB, str(tmp_path), "60"], stdout=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "quick").exists() and "slow" in (tmp_path / "stages.json").read_text())
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = subprocess.run([sys.executable, "-c", JOB, str(tmp_path), "0"], capture_output=True, text=True, check=True)
    assert "quick: done before" in again.stdout
    attempts = {name: e["attempts"] for name, e in json.loads((tmp_path / "stages.json").read_text()).items()}
    assert attempts == {"quick": 1, "slow": 2}
