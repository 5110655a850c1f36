"""What few steps buy in a control loop: success and smoothness against the latency of a policy call.

    python scripts/benchmark_delay.py                      (trains what it needs; about two hours on two cores)
    python scripts/benchmark_delay.py --quick              (every row once, at a size that shows only that it runs)
    python scripts/benchmark_delay.py --policy RUN --told RUN --diffusion RUN --out DIR

For each task of a plan (scripts/benchmarks/plans/delay/full.yaml) three policies: one trained without a delay, one told
what the robot does meanwhile (`delay=`), one by DDPM with the same network. The loops run in simulated time, so that
the result does not depend on the machine, apart from one number: the cost of a call of 100-step diffusion, which is
measured here. Every row starts from the same starts, so that rows are compared in pairs. Every row is a file in
--out: the same command goes on where it was stopped. Writes `delay.json`, `delay.md` and the figure `delay.png`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, write_json
from isd_envs.rollouts.statistics import mcnemar
from isd_policy.deploy.loop.drive import PREFIX, Strategy, strategies, table
from scripts.benchmarks.delay_cells import Cell, CostCell, LoopCell, TrainCell, compute, opened
from scripts.benchmarks.policy_cells import DemosCell, record
from scripts.support import command, tables
from scripts.support.cells import run_cells
from scripts.support.command import machine

PLANS = Path(__file__).resolve().parent / "plans/delay"
DIFFUSION_STEPS = 100
BLEND = 4
AHEAD = Strategy("async", "async", 0)
INPAINTING_NFE = (2, 5)
"""With one network call a prefix that is put in afterwards comes too late: everything is decided before."""
FIELDS = {"tasks", "train", "told", "diffusion", "delays_ms", "episodes", "seed", "candidates"}
TASK_FIELDS = {"task", "data", "demos", "train"}


@dataclass(frozen=True)
class Protocol:
    """What all rows share."""

    delays_ms: tuple[float, ...]
    episodes: int
    seed: int
    candidates: int


@dataclass(frozen=True)
class Policies:
    """The policies of a task: runs or bundles. told: trained with a delay; diffusion: by DDPM."""

    task: str
    plain: str
    told: str | None = None
    diffusion: str | None = None


def rows_of(policies: Policies, protocol: Protocol) -> Iterator[CostCell | LoopCell]:
    """The cells of a task, the cost of diffusion before the loops that need it."""

    def loop(
        *of: str, strategy: Strategy, nfe: int, delay: float | None, inpainted: bool = False, candidates: int = 1
    ) -> LoopCell:
        """of: the kind of training, the policy, and the row's label."""
        kind, policy, label = of
        how = (strategy, nfe, delay, protocol.episodes, protocol.seed, inpainted, candidates)
        return LoopCell(policies.task, kind, policy, label, *how, "coherent" if candidates > 1 else "medoid")

    plain, several = ("plain", policies.plain), protocol.candidates
    choice = f"the most coherent of {several}"
    for delay in protocol.delays_ms:
        for strategy in strategies(BLEND):
            yield loop(*plain, "1 NFE", strategy=strategy, nfe=1, delay=delay)
        yield loop(*plain, f"1 NFE, {choice}", strategy=AHEAD, nfe=1, delay=delay, candidates=several)
        for nfe in INPAINTING_NFE:
            yield loop(*plain, f"{nfe} NFE, inpainting", strategy=PREFIX, nfe=nfe, delay=delay, inpainted=True)
        if policies.told is not None:
            told, label = ("told", policies.told), "1 NFE, told in training"
            yield loop(*told, label, strategy=PREFIX, nfe=1, delay=delay)
            yield loop(*told, f"{label}, {choice}", strategy=PREFIX, nfe=1, delay=delay, candidates=several)
    if policies.diffusion is not None:
        diffusion = ("diffusion", policies.diffusion)
        yield CostCell(policies.task, *diffusion, DIFFUSION_STEPS)
        for strategy in strategies(BLEND):
            label = "DDPM, 100 steps, at its cost"
            yield loop(*diffusion, label, strategy=strategy, nfe=DIFFUSION_STEPS, delay=None)


def read(path: Path, out: Path) -> tuple[list[DemosCell], list[TrainCell], list[Policies], Protocol]:
    """A plan's cells and policies, with results under `out`. Raises `InputError` for a file that is no plan."""
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, Mapping) or set(content) != FIELDS:
        raise InputError(f"{path}: a plan of delays is a mapping with {', '.join(sorted(FIELDS))}.")
    demos: list[DemosCell] = []
    trainings: list[TrainCell] = []
    policies: list[Policies] = []
    for name, task in content["tasks"].items():
        if set(task) - TASK_FIELDS or ("data" in task) == ("demos" in task):
            raise InputError(
                f"{path} is no plan: the task {name} has {', '.join(task)}; expected task, one of data and demos, and "
                "perhaps train."
            )
        if "demos" in task:
            demos.append(DemosCell(name, tuple(f"{key}={value}" for key, value in task["demos"].items())))
        data = str(out / f"demos_{name}.hdf5") if "demos" in task else str(task["data"])
        common = (f"task={task['task']}", *content["train"], *task.get("train", ()))
        kinds = {"plain": (), "told": content["told"], "diffusion": ("objective=ddpm", *content["diffusion"])}
        cells = {kind: TrainCell(name, kind, data, (*common, *words)) for kind, words in kinds.items()}
        trainings += cells.values()
        policies.append(Policies(name, *(str(out / "runs" / cell.name) for cell in cells.values())))
    protocol = Protocol(*(content[key] for key in ("delays_ms", "episodes", "seed", "candidates")))
    return demos, trainings, policies, protocol


def measured(
    cells: Sequence[CostCell | LoopCell], out: Path, workers: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The rows of the loops, each with its task and method, and the milliseconds of a call of diffusion by task."""
    first: list[Cell] = [cell for cell in cells if isinstance(cell, CostCell)]
    records = run_cells(compute, first, out, 1, "costs")
    costs = {record["settings"]["task"]: record["result"]["ms"] for record in records.values()}
    loops = [cell for cell in cells if isinstance(cell, LoopCell)]
    records = run_cells(compute, loops, out, workers, "loops")
    return [records[cell.name]["result"] | {"task": cell.task, "method": cell.label} for cell in loops], costs


def comparisons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each loop of a policy that is told its prefix against waiting without any latency, on the same starts."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        still = next((row for row in own if row["strategy"] == "sync" and row["delay_ms"] == 0), None)
        for row in own:
            if still is not None and row["strategy"] == PREFIX.name:
                verdict = mcnemar(row["outcomes"], still["outcomes"]).verdict()
                lines.append(f"{row['method']}, {row['delay_ms']:g} ms, against sync at 0 ms: {verdict}.")
    return lines


def markdown(content: Mapping[str, Any]) -> str:
    """The tables, the paired tests, and what they were measured with."""
    parts = []
    for task in dict.fromkeys(row["task"] for row in content["rows"]):
        own = [row for row in content["rows"] if row["task"] == task]
        cost = content["cost_ms"].get(task)
        parts.append(f"## {own[0]['title']}, cap {own[0]['max_steps']} steps")
        for method in dict.fromkeys(row["method"] for row in own):
            parts.append(f"{method}:\n\n{table(row for row in own if row['method'] == method)}")
        if own[0]["graded"]:
            header = ("method", "loop", "delay", "mean score")
            scores = [[row["method"], row["strategy"], f"{row['delay_ms']:g} ms", row["mean_score"]] for row in own]
            parts.append(tables.markdown(header, scores))
        if lines := comparisons(own):
            parts.append("\n".join(f"- {line}" for line in lines))
        if cost is not None:
            parts.append(f"A call of {DIFFUSION_STEPS}-step diffusion takes {cost:.0f} ms (one thread).")
    made = content["machine"]
    parts.append(
        f"{content['episodes']} episodes a row from the same starts, seed {content['seed']}, in simulated time; "
        f"measured on {made['processor']} ({made['cores']} cores). Jerk: root mean square of the third difference of "
        "the commanded position, in action units per tick^3; jump: of the second one where a chunk takes over."
    )
    return "\n\n".join(parts) + "\n"


def draw(content: Mapping[str, Any], path: Path) -> None:
    """Success, control steps of an episode, jerk and jumps against the latency of a call; a row of panels a task."""
    from scripts.support.figures import figure, legend

    tasks = list(dict.fromkeys(row["task"] for row in content["rows"]))
    panels = {"rate": "success rate", "mean_steps": "control steps", "jerk": "jerk (units / tick³)",
              "jump": "jump at a border (units / tick²)"}  # fmt: skip
    with figure(path, columns=len(panels), rows=len(tasks)) as axes:
        for line, task in enumerate(tasks):
            own = [row for row in content["rows"] if row["task"] == task]
            names = list(dict.fromkeys((row["method"], row["strategy"]) for row in own))
            for place, (key, name) in zip(axes[line * len(panels) :], panels.items(), strict=False):
                for number, (method, strategy) in enumerate(names):
                    found = [row for row in own if (row["method"], row["strategy"]) == (method, strategy)]
                    x, y = [row["delay_ms"] for row in found], [row[key] for row in found]
                    mark = "X" if "DDPM" in method else "o-"
                    place.plot(x, y, mark, color=f"C{number % 10}", label=f"{method}, {strategy}")
                place.set(title=f"{task}: {name}", xlabel="latency of a policy call (ms)")
                if key == "rate":
                    place.set_ylim(-0.03, 1.03)
        legend(axes)


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark_delay.py", description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, default=PLANS / "full.yaml", help="tasks, trainings and latencies")
    parser.add_argument("--quick", action="store_true", help="one small task, which shows only that it runs")
    parser.add_argument("--policy", help="a run or bundle of a flow-map policy, in the place of a plan")
    parser.add_argument("--told", help="a run or bundle of the same task, trained with a delay")
    parser.add_argument("--diffusion", help="a run of objective=ddpm with the same network")
    parser.add_argument("--delays", type=float, nargs="+", help="latencies in ms; default: the plan's")
    parser.add_argument("--episodes", type=int, help="of each row; default: the plan's")
    parser.add_argument("--candidates", type=int, help="chunks of a call that are chosen from; default: the plan's")
    parser.add_argument("--workers", type=int, default=1, help="rows computed at once")
    parser.add_argument("--out", type=Path, help="the folder of the results; it is continued")
    return parser


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes it with its figure; returns the exit code."""
    path = PLANS / "quick.yaml" if given.quick else given.plan
    out = given.out or Path("runs/delay") / path.stem
    demos, trainings, policies, protocol = read(path, out)
    if given.policy is None and (given.told or given.diffusion):
        raise InputError("--told and --diffusion go with --policy, the policy of the same task that is told nothing.")
    if given.policy is not None:
        demos, trainings = [], []
        task = opened(given.policy, 1).env.task
        policies = [Policies(task, given.policy, given.told, given.diffusion)]
    protocol = Protocol(
        tuple(given.delays or protocol.delays_ms),
        given.episodes or protocol.episodes,
        protocol.seed,
        given.candidates or protocol.candidates,
    )
    run_cells(record, demos, out, given.workers, "demonstrations")
    run_cells(compute, trainings, out, given.workers, "trainings")
    cells = [cell for own in policies for cell in rows_of(own, protocol)]
    rows, costs = measured(cells, out, given.workers)
    content = {
        "episodes": protocol.episodes,
        "seed": protocol.seed,
        "machine": machine(),
        "cost_ms": costs,
        "rows": rows,
    }
    write_json(out / "delay.json", content)
    with atomic_write(out / "delay.md") as temporary:
        temporary.write_text(markdown(content))
    draw(content, out / "delay.png")
    print(markdown(content))
    print(f"Written: {out}/delay.json, delay.md, delay.png.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
