"""Evaluation during training: rollouts of checkpoints in processes of their own, and which checkpoints stay."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isd_core.sampling import check_counts
from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from isd_core.support.overrides import words
from isd_core.support.processes import end_with_parent
from isd_core.training import checkpoint
from isd_core.training.trainer import Trainer
from isd_policy.validation import check_whole

FOLDER = "evaluations"


class Judged(ABC):
    """The checkpoints of a run that were judged, one result file each, and their order.

    nfe: numbers of network evaluations, the first of which decides.
    """

    run_dir: Path
    nfe: list[int]
    largest_is_best = True

    @abstractmethod
    def measure(self, content: Mapping[str, Any]) -> float:
        """What decides, in the content of a result file."""

    def result(self, place: Path) -> Path:
        """Where the result of a checkpoint is written."""
        return self.run_dir / FOLDER / f"{place.name}.json"

    def ranking(self) -> list[tuple[Path, float]]:
        """(checkpoint, its measure) from best to worst; of equals the later one first."""
        found = []
        for path in (self.run_dir / FOLDER).glob("step_*.json"):
            content = read_json(path)
            found.append((checkpoint.folder(self.run_dir, content["checkpoint"]["step"]), self.measure(content)))
        sign = 1 if self.largest_is_best else -1
        return sorted(found, key=lambda entry: (sign * entry[1], entry[0].name), reverse=True)


def check_every(config: Mapping[str, Any]) -> None:
    """Raises `InputError` unless the steps between judgements of a training config fall on checkpoints."""
    every, step = config["evaluation"]["every"], config["trainer"]["checkpoint_every"]
    if every % step:
        raise InputError(
            f"evaluation.every={every} must be a multiple of trainer.checkpoint_every={step}: it is checkpoints that "
            "are evaluated."
        )


@dataclass
class Selection(Judged):
    """Evaluates every checkpoint that is due, one after another, while the training goes on.

    every: steps between evaluations, 0 for none. The starts are those of the stream "selection", which no reported
    evaluation uses. The `keep` checkpoints with the best score at the first of `nfe` stay beside the newest ones.
    """

    run_dir: Path
    seed: int
    every: int
    nfe: list[int]
    episodes: int
    workers: int
    keep: int
    _waiting: deque[Path] = field(default_factory=deque)
    _running: tuple[Path, subprocess.Popen[bytes]] | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any], check_nfe: Callable[[int], int]) -> Selection:
        """From a resolved training config. check_nfe: the policy's. Raises `InputError` for a bad field."""
        fields = config["evaluation"]
        for name, least in (("every", 0), ("episodes", 1), ("workers", 1), ("keep", 0)):
            check_whole(fields, name, least=least)
        check_every(config)
        nfe = check_counts(fields["nfe"], check_nfe)
        return cls(Path(config["run_dir"]), config["seed"], **fields | {"nfe": nfe})

    def __call__(self, trainer: Trainer) -> None:
        """After a checkpoint: what is finished is told, what is due is queued."""
        place = checkpoint.folder(self.run_dir, trainer.step)
        due = self.every and (trainer.step % self.every == 0 or trainer.step == trainer.cfg.steps)
        if due and not self.result(place).exists() and place not in self._pending():
            self._waiting.append(place)
        self._advance(trainer, wait=False)

    def finish(self, trainer: Trainer) -> None:
        """Waits for the evaluations that are left; for a training that was interrupted, ends them."""
        if trainer.step < trainer.cfg.steps:
            if self._running is not None:
                self._running[1].terminate()
            return
        while self._pending():
            self._advance(trainer, wait=True)

    def protected(self) -> list[Path]:
        """The checkpoints that stay: those not evaluated yet, and the best."""
        return [*self._pending(), *(place for place, _ in self.ranking()[: self.keep])]

    def measure(self, content: Mapping[str, Any]) -> float:
        """The mean score."""
        return float(content["score"][str(self.nfe[0])]["mean"])

    def _pending(self) -> list[Path]:
        return [*self._waiting, *([self._running[0]] if self._running else [])]

    def _advance(self, trainer: Trainer, wait: bool) -> None:
        if self._running is not None:
            place, process = self._running
            if wait:
                process.wait()
            if process.poll() is None:
                return
            self._running = None
            self._tell(trainer, place, process.returncode)
        if self._waiting:
            self._start(self._waiting.popleft())

    def _start(self, place: Path) -> None:
        out = self.result(place)
        out.parent.mkdir(parents=True, exist_ok=True)
        options = {"checkpoint": place, "nfe": self.nfe, "episodes": self.episodes, "workers": self.workers}
        options |= {"seed": self.seed, "seed_split": "selection", "out": out}
        with out.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "isd_policy.evaluate", *words(options)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "RANK": "0", "WORLD_SIZE": "1"},
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self._running = place, process

    def _tell(self, trainer: Trainer, place: Path, code: int) -> None:
        out = self.result(place)
        if code or not out.exists():
            print(f"{place}: its evaluation failed with exit code {code}; see {out.with_suffix('.log')}", flush=True)
            return
        content = read_json(out)
        best, score = self.ranking()[0]
        rates = ", ".join(
            f"{nfe} NFE {rate['successes']} of {rate['episodes']} (score {content['score'][nfe]['mean']:.3f})"
            for nfe, rate in content["success"].items()
        )
        step = content["checkpoint"]["step"]
        print(f"{self.run_dir}: step {step}: {rates}; best so far {best.name} ({score:.3f})", flush=True)
        record = {f"success_{nfe}": rate["rate"] for nfe, rate in content["success"].items()}
        record |= {f"score_{nfe}": entry["mean"] for nfe, entry in content["score"].items()}
        trainer.log({"step": trainer.step, "evaluated_step": step, **record})
