"""What dF/dt costs and how exact it is: forward-mode differentiation against central differences.

    python scripts/experiments/derivative_cost.py [--quick] [--out DIR] [--networks NAME,NAME] [--batch N]

For networks of both heads, in float32 and bfloat16, eager and compiled: the relative error of the derivative (against
the exact one in float64), the time of the derivative and of a whole iSD step, in seconds and in forward passes of the
same network in the same mode, and the peak memory of the step. Writes table.json and table.md; finished rows are kept.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import torch
from torch import Tensor

from isd_core.derivatives import CentralDifference, Derivative, ExactJVP, tf32
from isd_core.network import Cond
from isd_core.support.device import pick_device
from scripts.support import command, tables
from scripts.support.cells import run_cells
from scripts.support.heads import example
from scripts.support.memory import peak_bytes
from scripts.support.tables import number

PAPER = "exact derivative to differences: 25 -> 18 GB, 1.48 -> 4.04 steps/s (arXiv 2601.22679)"
TF32 = "difference in tf32"
DERIVATIVES: dict[str, Derivative] = {
    "jvp": ExactJVP(),
    "difference": CentralDifference(),
    TF32: CentralDifference(eps=0.05, precision="tf32"),
    "difference in bfloat16": CentralDifference(eps=0.02, precision="autocast"),
}
QUICK_NETWORKS = ("unet1d_small", "dit_digits")
REPEATS = 9


@dataclass(frozen=True)
class CostCell:
    """One network in one mode with one derivative."""

    network: str
    derivative: str
    precision: str
    compiled: bool
    batch: int
    device: str

    @property
    def name(self) -> str:
        """The stem of its file."""
        mode = "compiled" if self.compiled else "eager"
        return f"{self.network}-{self.derivative}-{self.precision}-{mode}-{self.batch}-{self.device}".replace(" ", "_")


def measure(cell: CostCell, out: Path) -> dict[str, Any]:
    """Error, seconds and memory of the cell; "refused": the first line of the error where torch cannot do it."""
    with tf32(cell.derivative == TF32):
        return _measured(cell)


def _measured(cell: CostCell) -> dict[str, Any]:
    device, made = pick_device(cell.device), example(cell.network, "isd", cell.batch)
    objective = replace(made.objective, derivative=DERIVATIVES[cell.derivative])
    net, x = made.net.to(device), made.x.to(device)
    cond = {key: value.to(device) for key, value in made.cond.items()}
    rng = torch.Generator(device).manual_seed(0)
    dx = torch.randn(x.shape, generator=rng, device=device)
    s, t = (torch.rand(2, cell.batch, generator=rng, device=device) * objective.path.T).sort(0).values
    reference = copy.deepcopy(net).double()
    compiled: Callable[..., Any] = torch.compile if cell.compiled else lambda function: function
    autocast = torch.autocast(device.type, torch.bfloat16) if cell.precision == "bfloat16" else nullcontext()
    called = compiled(lambda: net(x, t, s, cond))
    along, loss = compiled(objective.derivative.along), compiled(objective.loss)

    @torch.no_grad()
    def forward() -> Tensor:
        result: Tensor = called()
        return result

    def derivative() -> Tensor:
        result: Tensor = along(net, x, t, s, cond, dx=dx, dt=1.0)
        return result

    def step() -> Tensor:
        net.zero_grad(set_to_none=True)
        result: Tensor = loss(net, objective.draw(x, cond, rng.manual_seed(0), 0)).loss
        result.backward()
        return result

    with torch.no_grad():
        wide = x.double(), t.double(), s.double(), _double(cond)
        exact = ExactJVP().along(reference, *wide, dx=dx.double(), dt=1.0)
    try:
        with autocast:
            found = derivative().double()
            result: dict[str, Any] = {"error": float((found - exact).norm() / exact.norm())}
            result |= fastest({"forward": forward, "derivative": derivative, "step": step}, device)
            result["peak_bytes"] = peak_bytes(step, device) if not cell.compiled or device.type == "cuda" else None
    except (RuntimeError, NotImplementedError) as error:
        return {"refused": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"}
    return result


def _double(cond: Mapping[str, Tensor]) -> Cond:
    return {key: value.double() if value.is_floating_point() else value for key, value in cond.items()}


def fastest(functions: Mapping[str, Callable[[], Tensor]], device: torch.device) -> dict[str, float]:
    """{name + "_seconds": the smallest wall time of a few calls}, called in turn, after one turn to warm up."""
    times: dict[str, list[float]] = {f"{name}_seconds": [] for name in functions}
    for turn in range(REPEATS + 1):
        for name, function in functions.items():
            _wait(device)
            started = time.perf_counter()
            function()
            _wait(device)
            if turn:
                times[f"{name}_seconds"].append(time.perf_counter() - started)
    return {name: min(values) for name, values in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(flags: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    device = pick_device("auto").type
    networks = QUICK_NETWORKS if flags.quick else tuple(flags.networks.split(","))
    batch = flags.batch or (16 if flags.quick else 256 if device == "cuda" else 32)
    modes = [False] if flags.quick else [False, True]
    cells = [
        CostCell(network, derivative, precision, compiled, batch, device)
        for network in networks
        for compiled in modes
        for precision in ("float32", "bfloat16")
        for derivative in DERIVATIVES
        if precision == "bfloat16" or derivative != "difference in bfloat16"
        if device == "cuda" or derivative != TF32
    ]
    records = run_cells(measure, cells, flags.out, 1, "derivative")
    results = [(cell, records[cell.name]["result"]) for cell in cells]
    about = command.machine()
    text = _markdown(results, batch, torch.get_num_threads(), command.described(about))
    command.write(flags.out, {"machine": about, "cells": records}, text)
    print(text)
    print(f"Written: {flags.out}/table.md and table.json.")
    return 0


def _markdown(results: Sequence[tuple[CostCell, Mapping[str, Any]]], batch: int, threads: int, machine: str) -> str:
    header = ["network", "mode", "precision", "derivative", "relative error", "derivative, ms", "in forward passes"]
    header += ["iSD step, ms", "in forward passes", "steps/s", "peak memory of a step, MB"]
    body = []
    for cell, result in results:
        row: list[Any] = [cell.network, "compiled" if cell.compiled else "eager", cell.precision, cell.derivative]
        if "refused" in result:
            body.append([*row, result["refused"], *["-"] * 6])
            continue
        forward, derivative, step = (result[f"{key}_seconds"] for key in ("forward", "derivative", "step"))
        peak = None if result["peak_bytes"] is None else result["peak_bytes"] / 1e6
        row += [f"{result['error']:.1e}", 1e3 * derivative, derivative / forward, 1e3 * step, step / forward, 1 / step]
        body.append([*row, peak])
    parts = [
        "# The cost of the derivative",
        f"Batch {batch}, {threads} threads, random weights; the smallest of {REPEATS} times after one to warm up. "
        f"{machine}. `difference` takes its two passes in float32 whatever the precision, `difference in bfloat16` "
        "not, at eps .02; TF32 is on in the rows of `difference in tf32` alone, at eps .05. Memory is what a step "
        "adds to the weights at its peak; compiled code on a CPU hides it.",
        tables.markdown(header, body),
        *_reading(results),
    ]
    return "\n\n".join(parts)


def _reading(results: Sequence[tuple[CostCell, Mapping[str, Any]]]) -> list[str]:
    table = {(c.network, c.compiled, c.precision, c.derivative): r for c, r in results if "refused" not in r}
    said = []
    for (network, compiled, precision, derivative), exact in table.items():
        other = table.get((network, compiled, precision, "difference"))
        if derivative != "jvp" or other is None:
            continue
        speed = exact["step_seconds"] / other["step_seconds"]
        memory = ""
        if exact["peak_bytes"] and other["peak_bytes"]:
            memory = f" and {number(exact['peak_bytes'] / 1e6)} -> {number(other['peak_bytes'] / 1e6)} MB"
        mode = "compiled" if compiled else "eager"
        said.append(
            f"`{network}`, {mode}, {precision}: from the exact derivative to differences a step goes from "
            f"{number(1 / exact['step_seconds'])} to {number(1 / other['step_seconds'])} steps/s ({speed:.2f} times)"
            f"{memory}; the error goes from {exact['error']:.1e} to {other['error']:.1e}."
        )
    return [*said, f"The paper, on its hardware: {PAPER}."]


def flags() -> argparse.ArgumentParser:
    """The command line."""
    quick = "small networks, eager (under two minutes)"
    result = command.parser("derivative_cost", (__doc__ or "").split("\n\n")[0], quick)
    result.add_argument("--networks", default="unet1d,dit_digits", help="names of configs/network, with commas")
    result.add_argument("--batch", type=int, default=None, help="default: 256 on a GPU, 32 on a CPU")
    return result


if __name__ == "__main__":
    sys.exit(command.run(main, flags()))
