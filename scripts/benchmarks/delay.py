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
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, write_json
from isd_core.support.progress import Progress
from isd_policy.backend import Call
from isd_policy.deploy.loop.drive import PREFIX, Strategy, strategies, sweep, table, with_latency
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.loop.simulated import guards_of
from isd_policy.policy import Policy
from isd_policy.simulation import Simulation, open_simulation
from scripts.benchmarks.inpainting import Inpainted
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


def inpainted(simulation: Simulation) -> Inpainted:
    """The simulation's policy with prefixes by inpainting; `InputError` for an export."""
    if not isinstance(simulation.policy, Policy):
        raise InputError(f"{simulation.saved.path} is an export; the comparison needs a checkpoint or a bundle.")
    return Inpainted(simulation.policy, PREFIX_NFE)


def compare(
    policy: Simulation, diffusion: Simulation | None, delays_ms: Sequence[float], episodes: int, seed: int
) -> dict[str, Any]:
    """All rows, and the measured costs of a call (ms)."""
    settings = LoopSettings(rate=policy.env.control_freq, seed=seed)
    guards = guards_of(policy.env)
    costs = {nfe: cost(policy, nfe) for nfe in (1, 2, 4)}
    policy.policy.nfe = 1
    rows = [{"method": "iSD, 1 NFE"} | row for row in sweep(policy, delays_ms, episodes, guards, settings, BLEND)]
    conditioned = inpainted(policy)
    policy.policy.nfe = PREFIX_NFE
    with Progress(2 * len(delays_ms) * episodes, "prefix against blend", "episode") as bar:
        for delay in delays_ms:
            for strategy, chunk_policy in (
                (Strategy("async + blend", "async", BLEND), policy.policy),
                (PREFIX, conditioned),
            ):
                row = with_latency(policy, chunk_policy, delay / 1000, strategy, episodes, guards, settings, bar)
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


def draw(content: Mapping[str, Any], path: Path) -> None:
    """Success, control steps of an episode and jerk against the latency of a call."""
    from scripts.support.figures import figure, legend

    rows = content["rows"]
    panels = (("rate", "success rate"), ("mean_steps", "control steps of an episode"), ("jerk", "jerk (units / tick³)"))
    marks = {"1 NFE": ("iSD, 1", "o-"), "100-step diffusion": ("DDPM", "X")}
    with figure(path, columns=len(panels)) as axes:
        for (key, name), place in zip(panels, axes, strict=True):
            for number, strategy in enumerate(strategies(BLEND)):
                for label, (method, mark) in marks.items():
                    chosen = [r for r in rows if r["method"].startswith(method) and r["strategy"] == strategy.name]
                    x, y = ([row[of] for row in chosen] for of in ("delay_ms", key))
                    place.plot(x, y, mark, color=f"C{number}", label=f"{label}, {strategy.name}")
            place.set(title=name, xlabel="latency of a policy call (ms)")
        axes[0].set_ylim(-0.03, 1.03)
        legend(axes)


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
    draw(content, given.out / "delay.png")
    print(markdown(content))
    print(f"Written: {given.out}/delay.json, delay.md, delay.png.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
