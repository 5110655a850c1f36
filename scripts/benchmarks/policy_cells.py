"""The cells of the policy benchmark: one method on one task with one seed, trained, chosen among its checkpoints,
evaluated."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from isd_core.support import cli
from isd_core.support.device import pick_device
from isd_core.support.files import read_json
from isd_core.training import checkpoint
from isd_core.training.resume import CONTENT
from isd_envs import demos
from isd_envs.tasks import is_graded
from isd_policy import commands
from isd_policy.batched import ROWS
from isd_policy.latency import percentiles
from isd_policy.loading import load
from isd_policy.policy import Policy

LATENCY_CALLS = 20


@dataclass(frozen=True)
class Sampling:
    """One way to sample a trained policy: a number of network evaluations, and a sampler (None: the method's own)."""

    nfe: int
    sampler: str | None = None

    @property
    def label(self) -> str:
        """`1`, or `10 (ddim)`."""
        return f"{self.nfe}" if self.sampler is None else f"{self.nfe} ({self.sampler})"


@dataclass(frozen=True)
class DemosCell:
    """Scripted demonstrations that several cells train on. words: overrides of `isd_envs.demos`."""

    task: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The stem of its file."""
        return f"demos_{self.task}"


@dataclass(frozen=True)
class PolicyCell:
    """A training and its evaluations. words: overrides of `isd_policy.train`, without data, seed and run_dir.

    data: the demonstrations' file; last: how many of the last checkpoints are evaluated; episodes: starts of the
    reported evaluation, drawn from `seed_of_starts`; select: starts, others than those, on which the best of the
    checkpoints is chosen by the cheapest of `samplings`; device, rows: of the network in the evaluations.
    """

    task: str
    method: str
    seed: int
    data: str
    words: tuple[str, ...]
    samplings: tuple[Sampling, ...]
    last: int = 2
    episodes: int = 100
    select: int = 50
    seed_of_starts: int = 7
    device: str = "cpu"
    rows: int = ROWS
    workers: int = field(default=1, compare=False)

    @property
    def name(self) -> str:
        """The stem of its file."""
        return re.sub(r"\W+", "_", f"{self.task}-{self.method}-seed{self.seed}")


@dataclass(frozen=True)
class LatencyCell:
    """The latencies of a finished training, measured when nothing else of the benchmark runs. run: its cell's name."""

    run: str
    samplings: tuple[Sampling, ...]
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The stem of its file."""
        return f"latency_{self.run}"


def record(cell: DemosCell, out: Path) -> dict[str, Any]:
    """Makes the demonstrations `<out>/<name>.hdf5`."""
    words = [*cell.words, f"out={out / cell.name}.hdf5"]
    run_command(demos.main, words, out / "logs" / f"{cell.name}.log")
    return {"words": words}


def measure(cell: PolicyCell, out: Path) -> dict[str, Any]:
    """Trains and evaluates a cell; what is done already is used.

    Returns the steps of the evaluated checkpoints, the chosen one, for each sampling the outcomes of every start at
    each of them, and what the numbers rest on: the training's resolved config, the fingerprint of the data, versions.
    """
    run_dir, log = out / "runs" / cell.name, out / "logs" / f"{cell.name}.log"
    words = [*cell.words, f"data={cell.data}", f"seed={cell.seed}", f"run_dir={run_dir}"]
    run_command(commands.train, [*words, f"trainer.keep_checkpoints={cell.last}"], log)
    trained = checkpoint.load(run_dir)
    if trained.step < trained.config["trainer"]["steps"]:  # SIGTERM ends a training early, saved and with exit code 0
        raise KeyboardInterrupt
    places = checkpoint.steps(run_dir)[-cell.last :]
    found: dict[str, dict[str, Any]] = {sampling.label: {} for sampling in cell.samplings}
    chosen: dict[int, float] = {}
    cheapest = min(cell.samplings, key=lambda sampling: sampling.nfe)
    for place in places:
        step = checkpoint.load(place).step
        for sampling in cell.samplings:
            content = _evaluate(cell, place, sampling, "evaluation", cell.episodes, log)
            found[sampling.label][str(step)] = _outcomes(content, sampling)
        content = _evaluate(cell, place, cheapest, "selection", cell.select, log)
        chosen[step] = content["score"][str(cheapest.nfe)]["mean"]
    policy = load(run_dir)
    assert isinstance(policy, Policy)
    return {
        "steps": sorted(chosen),
        "best": max(chosen, key=lambda step: (chosen[step], step)),
        "selection": {str(step): score for step, score in chosen.items()},
        "samplings": found,
        "train_seconds": trained.meta["seconds"],
        "parameters": sum(p.numel() for p in policy.parameters()),
        "protocol": content["protocol"] | {"seed_split": "evaluation"},
        "versions": content["versions"],
        "config": {key: value for key, value in trained.config.items() if key not in ("run_dir", "data", CONTENT)},
        "data": trained.config[CONTENT]["data"],
    }


def time_calls(cell: LatencyCell, out: Path) -> dict[str, Any]:
    """Milliseconds of a policy call for each sampling."""
    run_dir = out / "runs" / cell.run
    return {sampling.label: latency(run_dir, sampling, cell.device) for sampling in cell.samplings}


def _evaluate(
    cell: PolicyCell, place: Path, sampling: Sampling, seed_split: str, episodes: int, log: Path
) -> dict[str, Any]:
    """The result file of one evaluation of a checkpoint."""
    how = sampling.sampler or "own"
    out = place.parents[1] / "results" / f"{place.name}_{seed_split}_{how}_{sampling.nfe}.json"
    words = [f"checkpoint={place}", f"nfe=[{sampling.nfe}]"]
    words += [] if sampling.sampler is None else [f"sampler={sampling.sampler}"]
    words += [
        f"seed_split={seed_split}",
        f"episodes={episodes}",
        f"seed={cell.seed_of_starts}",
        f"workers={cell.workers}",
    ]
    words += [f"device={cell.device}", f"rows={cell.rows}", f"live={cell.rows}"]
    if not out.exists():
        run_command(commands.evaluate, [*words, f"out={out}"], log)
    content: dict[str, Any] = read_json(out)
    return content


def _outcomes(content: dict[str, Any], sampling: Sampling) -> dict[str, Any]:
    """Success of each start as a text of 0 and 1; scores where they say more."""
    episodes = content["results"][str(sampling.nfe)]["episodes"]
    success = "".join("01"[bool(episode["success"])] for episode in episodes)
    if not is_graded(content["protocol"]["environment"]):
        return {"success": success}
    return {"success": success, "score": [round(float(episode["score"]), 4) for episode in episodes]}


def latency(run_dir: Path, sampling: Sampling, device: str = "cpu") -> float:
    """Median milliseconds of a policy call of one robot, on one thread or on a GPU."""
    from isd_policy.simulation import sample_by

    policy, saved = load(run_dir, device=str(pick_device(device))), checkpoint.load(run_dir)
    sample_by(policy, saved.config, sampling.sampler)
    policy.reset()
    obs = policy.schema.zeros()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for _ in range(LATENCY_CALLS):
        began = time.perf_counter()
        policy.act(obs, nfe=sampling.nfe)
        seconds.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    found = percentiles(seconds[len(seconds) // 4 :])
    assert found is not None
    return found["p50"]


def run_command(command: cli.Command, words: Sequence[str], log: Path) -> None:
    """Runs a command of the package with its output in a log. Raises `RuntimeError` with its last lines if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        print(f"$ {command.config_name} {' '.join(words)}", flush=True)
        code = command.run(*words)
    if code == 130:
        raise KeyboardInterrupt
    if code:
        tail = "\n".join(log.read_text().splitlines()[-5:])
        raise RuntimeError(f"{command.config_name} ended with exit code {code}; {log} ends with:\n{tail}")
