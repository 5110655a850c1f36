"""The cells of the delay benchmark: trainings, the cost of 100 steps of diffusion, and one loop at one latency."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.cli import compose_config, resolved
from isd_core.support.device import thread_count
from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from isd_core.support.progress import Progress
from isd_core.training import checkpoint
from isd_policy import commands
from isd_policy.backend import Call
from isd_policy.deploy.loop.drive import Strategy, with_latency
from isd_policy.deploy.loop.robot import ChunkPolicy
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.loop.simulated import guards_of
from isd_policy.policy import Policy
from isd_policy.simulation import Simulation, open_simulation
from scripts.benchmarks.inpainting import Inpainted
from scripts.benchmarks.policy_cells import run_command
from scripts.support.cells import cell_file

CALLS = 15


@dataclass(frozen=True)
class TrainCell:
    """A training of a task. words: overrides of `isd_policy.train`, without data, seed and run_dir."""

    task: str
    kind: str
    data: str
    words: tuple[str, ...]
    seed: int = 0

    @property
    def name(self) -> str:
        """The stem of its file, and of its run's folder."""
        return f"train_{self.task}_{self.kind}"


@dataclass(frozen=True)
class CostCell:
    """The time of a policy call, measured on one thread when nothing else of the benchmark runs."""

    task: str
    kind: str
    policy: str
    nfe: int

    @property
    def name(self) -> str:
        """The stem of its file."""
        return f"cost_{self.task}_{self.kind}_{self.nfe}"


@dataclass(frozen=True)
class LoopCell:
    """Episodes of one loop at one latency, in simulated time.

    kind: which training of the task (plain, told, diffusion); policy: its run or bundle; inpainted: whether a prefix is
    put between the jumps of a flow map that knows nothing of it; delay_ms: None is the cost of the call in `cost`.
    """

    task: str
    kind: str
    policy: str
    label: str
    strategy: Strategy
    nfe: int
    delay_ms: float | None
    episodes: int
    seed: int
    inpainted: bool = False
    candidates: int = 1
    choose: str = "medoid"
    threads: int = 1

    @property
    def name(self) -> str:
        """The stem of its file."""
        delay = "own_cost" if self.delay_ms is None else f"{self.delay_ms:g}ms"
        words = f"{self.task} {self.label} {self.strategy.name} {delay}"
        return "".join(letter if letter.isalnum() else "_" for letter in words)


Cell = TrainCell | CostCell | LoopCell


def compute(cell: Cell, out: Path) -> dict[str, Any]:
    """A cell's result."""
    match cell:
        case TrainCell():
            return train(cell, out)
        case CostCell():
            return {"ms": 1000 * cost(opened(cell.policy, 1), cell.nfe)}
        case LoopCell():
            return loop(cell, out)


def train(cell: TrainCell, out: Path) -> dict[str, Any]:
    """Trains, or goes on with a training that was stopped."""
    run_dir, log = out / "runs" / cell.name, out / "logs" / f"{cell.name}.log"
    words = [*cell.words, f"data={cell.data}", f"seed={cell.seed}", f"run_dir={run_dir}"]
    run_command(commands.train, words, log)
    trained = checkpoint.load(run_dir)
    if trained.step < trained.config["trainer"]["steps"]:  # SIGTERM ends a training early, saved and with exit code 0
        raise KeyboardInterrupt
    return {"run_dir": str(run_dir), "seconds": trained.meta["seconds"], "step": trained.step}


def loop(cell: LoopCell, out: Path) -> dict[str, Any]:
    """The row of `with_latency`."""
    with thread_count(cell.threads):
        simulation = opened(cell.policy, cell.threads)
        simulation.policy.use(cell.nfe, candidates=cell.candidates, choose=cell.choose)
        policy: ChunkPolicy = inpainted(simulation, cell.nfe) if cell.inpainted else simulation.policy
        delay = cell.delay_ms
        if delay is None:
            costs = CostCell(cell.task, cell.kind, cell.policy, cell.nfe)
            delay = read_json(cell_file(out, costs))["result"]["ms"]
        settings = LoopSettings(rate=simulation.env.control_freq, seed=cell.seed)
        guards = guards_of(simulation.env)
        with Progress(cell.episodes, cell.name, "episode") as bar:
            row = with_latency(simulation, policy, delay / 1000, cell.strategy, cell.episodes, guards, settings, bar)
    about = simulation.description()
    graded = simulation.env.definition.graded
    return row | {"max_steps": simulation.max_steps, "title": simulation.title, "graded": graded, "about": about}


def opened(path: str, threads: int) -> Simulation:
    """A trained policy on its task."""
    words = [f"checkpoint={path}", f"threads={threads}"]
    return open_simulation(resolved(compose_config("policy_run", words)))


def inpainted(simulation: Simulation, nfe: int) -> Inpainted:
    """The simulation's policy with prefixes by inpainting; `InputError` for an export."""
    if not isinstance(simulation.policy, Policy):
        raise InputError(f"{simulation.saved.path} is an export; the comparison needs a checkpoint or a bundle.")
    return Inpainted(simulation.policy, nfe)


def cost(simulation: Simulation, nfe: int) -> float:
    """Seconds of a call of one row: the median."""
    policy = simulation.policy
    policy.use(nfe)
    row = {key: values[0] for key, values in policy.schema.zeros(1).items()}
    calls = [Call([row] * policy.horizons.observation, (0, k)) for k in range(CALLS + 2)]
    seconds = []
    for call in calls:
        began = time.perf_counter()
        policy.infer(policy.preprocess([call]))
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[2:]))
