"""Steps of a long job as commands, each done once: what is complete is skipped, what was cut off runs again.

A ledger keeps for every stage the seconds it took over all attempts, so a job that was killed and continued still
reports where the time went.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.files import read_json, write_json
from isd_core.support.processes import end_with_parent

HEARTBEAT = 1.0  # seconds between two notes of the elapsed time: what a kill can lose
# Lines appear as they are printed; threads that wait leave their core to whoever needs it (on a busy machine OpenMP's
# spinning costs several times the work).
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class StageFailed(Exception):  # noqa: N818  (a stage failed; nothing here is wrong)
    """A stage's command ended without leaving its result. `code` is its exit code."""

    def __init__(self, stage: Stage, code: int) -> None:
        super().__init__(f"{stage.name} ended with exit code {code}")
        self.stage, self.code = stage, code


@dataclass(frozen=True)
class Stage:
    """One command of the job.

    done: whether its result is there and whole; the exit code alone does not tell (an interrupted training saves and
    ends with 0). needs: stages whose results it reads; when one of them runs, this one runs again.
    """

    name: str
    title: str
    command: tuple[str, ...]
    done: Callable[[], bool]
    needs: tuple[str, ...] = ()


class Ledger:
    """`stages.json`: per stage the seconds so far, whether it is complete, and the attempts it took."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}

    def entry(self, name: str) -> dict[str, Any]:
        """The record of a stage, made on first use."""
        return self.entries.setdefault(name, {"seconds": 0.0, "attempts": 0, "complete": False})

    def complete(self, stage: Stage) -> bool:
        """Whether the stage ended well and its result is still there."""
        return bool(self.entry(stage.name)["complete"]) and stage.done()

    def seconds(self, *names: str) -> float:
        """The time of the named stages together, of all stages without a name."""
        return sum(self.entry(name)["seconds"] for name in names or list(self.entries))

    def save(self) -> None:
        """Writes the ledger in one step."""
        write_json(self.path, self.entries)


class Lock:
    """Holds `path` for one job at a time; commands inherit it, so that it stays held while one of them lives."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InputError(
                f"{path.parent} is in use by another demo that still runs. Wait for it, end it, or choose another "
                "--dir."
            ) from error

    @property
    def descriptor(self) -> int:
        """The open file that commands inherit."""
        return self._file.fileno()

    def release(self) -> None:
        """Lets the next job in."""
        self._file.close()


def run_command(command: Sequence[str], tick: Callable[[], None], lock: Lock | None = None) -> int:
    """Runs a command with this terminal, calls `tick` about every `HEARTBEAT` seconds, returns the exit code.

    When the job is interrupted, the command is asked to end, and is waited for.
    """
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT | os.environ,
        preexec_fn=end_with_parent,
        pass_fds=(lock.descriptor,) if lock else (),
    )
    try:
        while True:
            try:
                return process.wait(HEARTBEAT)
            except subprocess.TimeoutExpired:
                tick()
    except BaseException:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def run_stages(
    stages: Sequence[Stage],
    ledger: Ledger,
    run: Callable[[Sequence[str], Callable[[], None]], int] = run_command,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
) -> None:
    """Runs the stages that are not complete, in order. Raises `StageFailed` at the first that leaves no result."""
    ran: set[str] = set()
    for number, stage in enumerate(stages, start=1):
        heading = f"[{number}/{len(stages)}] {stage.title}"
        if ledger.complete(stage) and not ran & set(stage.needs):
            say(f"{heading}: done before, in {ledger.seconds(stage.name):.0f} s")
            continue
        say(f"\n{heading}\n$ {' '.join(_shown(stage.command))}")
        ran.add(stage.name)
        ledger.entry(stage.name)["title"] = stage.title
        _run_stage(stage, ledger, run)


def _run_stage(stage: Stage, ledger: Ledger, run: Callable[[Sequence[str], Callable[[], None]], int]) -> None:
    entry = ledger.entry(stage.name)
    before, started = entry["seconds"], time.monotonic()
    entry |= {"complete": False, "attempts": entry["attempts"] + 1}

    def tick() -> None:
        entry["seconds"] = before + time.monotonic() - started
        ledger.save()

    tick()
    try:
        code = run(stage.command, tick)
    finally:
        tick()
    if code != 0 or not stage.done():
        raise StageFailed(stage, code)
    entry["complete"] = True
    ledger.save()


def _shown(command: Sequence[str]) -> list[str]:
    """The command as a user would type it: `python`, and paths relative to where they are."""
    here = f"{os.getcwd()}/"
    return ["python" if word == sys.executable else word.replace(here, "") for word in command]
