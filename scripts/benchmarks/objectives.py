"""What a training step of every objective costs, in seconds and in passes of its network, as a table and as JSON.

    python -m scripts.benchmark_objectives                       (both heads' small networks: minutes on two cores)
    python -m scripts.benchmark_objectives --network unet1d --objective isd meanflow --batch 256 --out cost.json

A step is loss and gradient, without the optimiser. Its passes are counted while it runs, and each of its calls of the
network is then made alone, with as many rows and with its backward pass where the step takes one. The ratio of the step
to the sum of its calls is what the objective itself costs; the exit code is 1 where it exceeds `LIMIT`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isd_core.derivatives import matmul_precision
from isd_core.network import Cond
from isd_core.support import files
from isd_core.support.device import pick_device
from scripts.support import command, tables
from scripts.support.heads import Example, example, is_policy, objectives
from scripts.support.passes import count_passes

LIMIT = 1.1  # of a step's time over the sum of its passes
STEPS = 10_000  # of the run; its last step is measured, when curricula have ended
WORDS = (f"trainer.steps={STEPS}",)


def measure(network: str, objective: str, batch: int, turns: int, device: torch.device) -> dict[str, Any]:
    """Passes, seconds of a step and of its calls made alone; each the median of `turns`, taken in turn."""
    made = _on(device, example(network, objective, batch, WORDS))
    with matmul_precision(getattr(made.objective, "derivative", None)):  # as the trainer does
        return _measured(made, network, objective, batch, turns, device)


def _measured(
    made: Example, network: str, objective: str, batch: int, turns: int, device: torch.device
) -> dict[str, Any]:
    rng = torch.Generator(device).manual_seed(0)
    passes = count_passes(made.objective, made.net, made.x, made.cond, rng, STEPS - 1)

    def step() -> None:
        made.objective(made.net, made.x, made.cond, rng, STEPS - 1).loss.backward()

    calls = [_call(made, rows, graded, rng) for rows, graded in passes.calls]
    forward = _call(made, batch, False, rng)
    taken: dict[str, list[float]] = {"step": [], "calls": [], "forward": []}
    for turn in range(turns + 1):
        now = {
            "step": seconds(step, made.net, device),
            "calls": sum(seconds(call, made.net, device) for call in calls),
            "forward": seconds(forward, made.net, device),
        }
        for key, value in now.items() if turn else ():
            taken[key].append(value)
    ratios = [a / b for a, b in zip(taken["step"], taken["calls"], strict=True)]
    kinds = (passes.graded, passes.ungraded, passes.derivative, passes.graded_derivative)
    return {
        "network": network,
        "objective": objective,
        "batch": batch,
        "passes": list(kinds),
        "ratio": statistics.median(ratios),
        **{f"{key}_seconds": statistics.median(values) for key, values in taken.items()},
    }


def _on(device: torch.device, made: Example) -> Example:
    for module in (made.net, getattr(made.objective, "weighting", None), *made.objective.frozen()):
        if isinstance(module, nn.Module):
            module.to(device)
    cond = {key: value.to(device) for key, value in made.cond.items()}
    return Example(made.net, made.objective, made.x.to(device), cond)


def _call(made: Example, rows: int, graded: bool, rng: torch.Generator) -> Callable[[], None]:
    """One call of the network with `rows` rows, and its backward pass if graded."""
    net, (x, cond) = made.net, _rows(made, rows)
    T = made.objective.path.T
    s, t = (T * torch.rand(2, rows, generator=rng, device=x.device)).sort(0).values

    def call() -> None:
        with torch.set_grad_enabled(graded):
            F: Tensor = net(x, t, s, cond)
        if graded:
            F.square().mean().backward()

    return call


def _rows(made: Example, rows: int) -> tuple[Tensor, Cond]:
    index = torch.arange(rows, device=made.x.device) % len(made.x)
    return made.x[index], {key: value[index] for key, value in made.cond.items()}


def seconds(work: Callable[[], None], net: nn.Module, device: torch.device) -> float:
    """The wall time of one call of `work`, from no gradients."""
    net.zero_grad(set_to_none=True)
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table: one line for each network and objective."""
    header = ["network", "objective", "passes: graded / ungraded / derivative / graded derivative", "step, ms"]
    header += ["sum of its passes, ms", "ratio", "in forward passes of a batch"]
    body = [
        [
            row["network"],
            f"`{row['objective']}`",
            " / ".join(f"{value:g}" for value in row["passes"]),
            1e3 * row["step_seconds"],
            1e3 * row["calls_seconds"],
            f"{row['ratio']:.2f}",
            row["step_seconds"] / row["forward_seconds"],
        ]
        for row in rows
    ]
    return tables.markdown(header, body)


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["unet1d_small", "dit_digits"], help="network configs")
    parser.add_argument("--objective", nargs="+", help="objective configs; default: all that fit the network's head")
    parser.add_argument("--batch", type=int, default=128, help="samples a step")
    parser.add_argument("--turns", type=int, default=9, help="timed turns; the median counts")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for and prints the table; returns the exit code, 1 where a ratio exceeds `LIMIT`."""
    device = pick_device(given.device)
    rows = [
        measure(network, objective, given.batch, given.turns, device)
        for network in given.network
        for objective in given.objective or objectives(is_policy(network))
    ]
    about = command.machine()
    print(f"Batch {given.batch}, {torch.get_num_threads()} threads, eager. {command.described(about)}.\n")
    print(markdown(rows))
    if given.out is not None:
        files.write_json(given.out, {"rows": rows, "machine": about})
        print(f"\nWritten: {given.out}")
    over = [f"{row['objective']} on {row['network']} ({row['ratio']:.2f})" for row in rows if row["ratio"] > LIMIT]
    if over:
        print(f"More than {LIMIT:g} times the sum of its passes: {', '.join(over)}.", file=sys.stderr)
    return 1 if over else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
