"""What few steps buy in a control loop: success and smoothness against the latency of a policy call.

    python scripts/benchmark_delay.py --policy runs/demo/policy --diffusion runs/ddpm --episodes 50 --out runs/delay

The loop runs in simulated time, so that the result does not depend on the machine, apart from one number: the cost of a
call of 100-step diffusion, which is measured here, with as many threads and at the same batch as the one-step call
beside it. Every row starts from the same starts. Writes `delay.json`, `delay.md` and the figure `delay.png`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isd_core.flow_map import FlowMap, expand
from isd_core.paths import Path as FlowPath
from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, write_json
from isd_core.support.progress import Progress
from isd_core.support.registry import build
from isd_policy.backend import Call, Inputs, Row
from isd_policy.deploy.loop.drive import Strategy, strategies, sweep, table, with_latency
from isd_policy.deploy.loop.runner import Runner
from isd_policy.deploy.loop.scheduler import ChunkScheduler
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.loop.simulated import guards_of
from isd_policy.policy import Policy
from isd_policy.simulation import Simulation, open_simulation
from scripts.support import command
from scripts.support.command import machine

DIFFUSION_STEPS = 100
CALLS = 15
BLEND = 4
PREFIX_NFE = 2
"""The fewest network calls at which a prefix can act: with one, everything is decided before it is known."""


def opened(path: str, threads: int) -> Simulation:
    """A trained policy on its task."""
    words = [f"checkpoint={path}", f"threads={threads}"]
    return open_simulation(resolved(compose_config("policy_run", words)))


def cost(simulation: Simulation, nfe: int) -> float:
    """Seconds of a call of one row: the median."""
    policy = simulation.policy
    policy.nfe = nfe
    row = {key: values[0] for key, values in policy.schema.zeros(1).items()}
    calls = [Call([row] * policy.horizons.observation, (0, k)) for k in range(CALLS + 2)]
    seconds = []
    for call in calls:
        began = time.perf_counter()
        policy.infer(policy.preprocess([call]))
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[2:]))


class PrefixConditioned:
    """A flow-map policy that is told what the robot will do until the chunk arrives, by inpainting.

    Between two jumps the part of the chunk that belongs to the robot's next actions is put on its path from the noise.
    It is the rival of blending.
    """

    def __init__(self, simulation: Simulation, nfe: int) -> None:
        if not isinstance(simulation.policy, Policy):
            raise InputError(f"{simulation.saved.path} is an export; the comparison needs a checkpoint or a bundle.")
        self.policy, self.nfe, self.horizons = simulation.policy, nfe, simulation.policy.horizons
        self.path: FlowPath = build("path", simulation.saved.config["path"])
        self.scheduler: ChunkScheduler | None = None

    def attend(self, runner: Runner) -> None:
        """The loop whose next actions are the prefix."""
        self.scheduler = runner.scheduler

    def row(self, obs: Mapping[str, np.ndarray]) -> Row:
        return self.policy.row(obs)

    def preprocess(self, calls: Sequence[Call]) -> Inputs:
        return self.policy.preprocess(calls)

    @torch.no_grad()
    def infer(self, inputs: Inputs) -> np.ndarray:
        policy, path = self.policy, self.path
        condition = policy.condition({key: torch.from_numpy(value) for key, value in inputs.obs.items()})
        flow_map, z = FlowMap(path), torch.from_numpy(inputs.noise)
        assert self.scheduler is not None
        known = torch.from_numpy(self.scheduler.buffer.ahead(self.scheduler.lead).astype(np.float32))[None]
        first = self.horizons.observation - 1
        part = slice(first, first + known.shape[1])
        x, times = path.prior(z), path.times(self.nfe).tolist()
        for now, then in pairwise(times):
            t, s = (torch.tensor([time], dtype=z.dtype) for time in (now, then))
            x = flow_map.jump(x, policy.net(x, t, s, condition), t, s)
            if known.numel():
                at = path.coefficients(expand(s, x))
                x[:, part] = at.alpha * policy.normaliser.action(policy.actions.encode(known)) + at.sigma * z[:, part]
        chunk = policy.normaliser.action.inverse(x[:, self.horizons.ahead].clamp(-1, 1))
        actions: np.ndarray = policy.actions.decode(chunk).numpy()
        return actions


def compare(
    policy: Simulation, diffusion: Simulation | None, delays_ms: Sequence[float], episodes: int, seed: int
) -> dict[str, Any]:
    """All rows, and the measured costs of a call (ms)."""
    settings = LoopSettings(rate=policy.env.control_freq, seed=seed)
    guards = guards_of(policy.env)
    costs = {nfe: cost(policy, nfe) for nfe in (1, 2, 4)}
    policy.policy.nfe = 1
    rows = [{"method": "iSD, 1 NFE"} | row for row in sweep(policy, delays_ms, episodes, guards, settings, BLEND)]
    conditioned = PrefixConditioned(policy, PREFIX_NFE)
    policy.policy.nfe = PREFIX_NFE
    with Progress(2 * len(delays_ms) * episodes, "prefix against blend", "episode") as bar:
        for delay in delays_ms:
            for strategy, chunk_policy, ready in (
                (Strategy("async + blend", "async", BLEND), policy.policy, lambda runner: None),
                (Strategy("async + prefix", "async", 0), conditioned, conditioned.attend),
            ):
                row = with_latency(policy, chunk_policy, delay / 1000, strategy, episodes, guards, settings, bar, ready)
                rows.append({"method": f"iSD, {PREFIX_NFE} NFE"} | row)
    if diffusion is not None:
        seconds = cost(diffusion, DIFFUSION_STEPS)
        costs[DIFFUSION_STEPS] = seconds
        with Progress(3 * episodes, "diffusion at its cost", "episode") as bar:
            for strategy in strategies(BLEND):
                row = with_latency(diffusion, diffusion.policy, seconds, strategy, episodes, guards, settings, bar)
                rows.append({"method": f"DDPM, {DIFFUSION_STEPS} steps, at its cost"} | row)
    return {"cost_ms": {str(nfe): 1000 * value for nfe, value in costs.items()}, "rows": rows}


def markdown(content: Mapping[str, Any]) -> str:
    """The tables, with the costs below."""
    methods = list(dict.fromkeys(row["method"] for row in content["rows"]))
    parts = [f"{method}:\n\n{table(row for row in content['rows'] if row['method'] == method)}" for method in methods]
    costs = ", ".join(f"{nfe} NFE {value:.1f} ms" for nfe, value in content["cost_ms"].items())
    made = content["machine"]
    parts.append(
        f"{content['task'].capitalize()}, {content['episodes']} episodes a row, seed {content['seed']}, cap "
        f"{content['max_steps']} steps. Median cost of a call of one row, torch, {content['threads']} thread(s): "
        f"{costs}, on {made['processor']} ({made['cores']} cores). Jerk: root mean square of the third difference of "
        "the commanded position, in action units per tick^3."
    )
    return "\n\n".join(parts) + "\n"


def figure(content: Mapping[str, Any], path: Path) -> None:
    """Success, control steps of an episode and jerk against the latency of a call."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = content["rows"]
    panels = (("rate", "success rate"), ("mean_steps", "control steps of an episode"), ("jerk", "jerk (units / tick³)"))
    plot, axes = pyplot.subplots(1, len(panels), figsize=(11, 3.4), constrained_layout=True)
    colours = {"sync": "#b3702e", "async": "#666b73", "async + blend": "#1f5f8b"}
    for (key, name), axis in zip(panels, axes, strict=True):
        for strategy, colour in colours.items():
            one = [row for row in rows if row["method"].startswith("iSD, 1") and row["strategy"] == strategy]
            axis.plot(
                [r["delay_ms"] for r in one], [r[key] for r in one], "o-", color=colour, label=f"1 NFE, {strategy}"
            )
            many = [row for row in rows if row["method"].startswith("DDPM") and row["strategy"] == strategy]
            label = f"100-step diffusion, {strategy}"
            axis.plot([r["delay_ms"] for r in many], [r[key] for r in many], "X", color=colour, ms=9, label=label)
        if key == "rate":
            axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("latency of a policy call (ms)")
        axis.set_title(name, fontsize=10)
    axes[0].legend(fontsize=7, loc="lower left")
    with atomic_write(path) as temporary:
        plot.savefig(temporary, dpi=150)
    pyplot.close(plot)


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark_delay.py", description=__doc__.splitlines()[0])
    parser.add_argument("--policy", required=True, help="a run or bundle of a flow-map policy")
    parser.add_argument("--diffusion", help="a run of objective=ddpm with the same network")
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 20, 50, 100, 200], help="latencies in ms")
    parser.add_argument("--episodes", type=int, default=50, help="of each row")
    parser.add_argument("--seed", type=int, default=0, help="of the starts and of the noise")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    return parser


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes it with its figure; returns the exit code."""
    policy = opened(given.policy, given.threads)
    diffusion = None if given.diffusion is None else opened(given.diffusion, given.threads)
    content = compare(policy, diffusion, given.delays, given.episodes, given.seed)
    fields = {key: getattr(given, key) for key in ("episodes", "seed", "threads")}
    content = policy.description() | fields | {"max_steps": policy.max_steps, "machine": machine()} | content
    write_json(given.out / "delay.json", content)
    with atomic_write(given.out / "delay.md") as temporary:
        temporary.write_text(markdown(content))
    figure(content, given.out / "delay.png")
    print(markdown(content))
    print(f"Written: {given.out}/delay.json, delay.md, delay.png.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
