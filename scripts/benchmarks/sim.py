"""Speed and parity of the simulation engines, as a table for the README and as JSON.

    python -m scripts.benchmark_sim --quick                  (under 3 minutes)
    python -m scripts.benchmark_sim --full --out sim.json    (also compares success verdicts on 200 starts a task)
    python -m scripts.benchmark_sim --checkpoint runs/demo/policy   (also evaluates a policy through both engines)

Every engine executes the same actions from the same start: those of the scripted expert where there is one, small
random ones elsewhere. "Physics alone" is mj_step1 and mj_step2 from the recorded states under the recorded controls.
Times are the best of several turns, taken one engine after the other. Two threads gain what the machine's second core
gives, so that physics alone in two threads stands beside.
"""

from __future__ import annotations

import argparse
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support import files, seeds
from isd_core.support.registry import ROLES
from isd_envs.engines.compiled import parity, rollouts
from isd_envs.engines.compiled.engine import CompiledEngine
from isd_envs.engines.factory import resolve
from isd_envs.engines.robosuite_engine import RobosuiteEngine
from isd_envs.engines.slot import ChunkResult, EnvSlot
from isd_envs.rollouts.runners import make_pool
from isd_envs.spec import EnvSpec
from isd_envs.tasks import ROBOSUITE_TASKS as TASKS
from scripts.support import command

STEPS = {"lift": 80, "can": 80, "square": 80, "tool_hang": 30, "transport": 30}
STARTS = 200
TARGETS = {"exact": {"lift": 4.0, "can": 4.0}, "fast": {"lift": 6.0, "can": 6.0}}
OTHER_TARGET = 3.0
PHYSICS_TARGET = 1.15


def example_actions(task: str, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """A start, and actions [n, Da] from it."""
    n = STEPS[task]
    if task in ROLES["expert"].members:
        demonstration = EnvSlot(EnvSpec(task=task)).demonstrate(seed, 0, 0.05, max_steps=n, extra_steps=n)
        return demonstration.start, demonstration.actions
    engine = CompiledEngine(EnvSpec(task=task))
    engine.reset(seed)
    size = engine.spec.definition.action_size
    return engine.get_start(), np.random.default_rng(seed).uniform(-0.3, 0.3, (n, size))


def timed(engine: CompiledEngine | RobosuiteEngine, start: dict[str, Any], actions: np.ndarray) -> float:
    """Seconds a control step."""
    engine.reset_to(start)
    began = time.perf_counter()
    engine.run(actions, until_success=False)
    return (time.perf_counter() - began) / len(actions)


def physics_alone(engine: CompiledEngine, start: dict[str, Any], actions: np.ndarray) -> Callable[[], float]:
    """A measurement of MuJoCo's own steps from the states that the engine passes through."""
    engine.reset_to(start)
    qpos, qvel, ctrl = [], [], []
    for action in actions:
        qpos.append(engine.data.qpos.copy())
        qvel.append(engine.data.qvel.copy())
        engine.run(action[None], until_success=False)
        ctrl.append(engine.data.ctrl.copy())
    recorded = (np.array(qpos), np.array(qvel), np.array(ctrl))

    def measure() -> float:
        engine.reset_to(start)
        began = time.perf_counter()
        rollouts.run_physics(engine._simulation, engine.template.substeps, *recorded)
        return (time.perf_counter() - began) / len(actions)

    measure()
    return measure


def two_threads(works: Sequence[Callable[[], float]], turns: int) -> float:
    """Throughput of two pieces of work in two threads over that of one: the best of turns of either."""

    def seconds(count: int) -> float:
        threads = [threading.Thread(target=lambda work=work: [work() for _ in range(4)]) for work in works[:count]]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    pairs = [(seconds(1), seconds(2)) for _ in range(turns)]
    one, two = (min(column) for column in zip(*pairs, strict=True))
    return 2 * one / two


def resets(engine: CompiledEngine | RobosuiteEngine, count: int) -> float:
    """Seconds a reset from a seed."""
    engine.reset(0)

    def once(seed: int) -> float:
        began = time.perf_counter()
        engine.reset(seed)
        return time.perf_counter() - began

    return float(np.median([once(seed) for seed in range(count)]))


def measure_task(task: str, seed: int, turns: int) -> dict[str, Any]:
    """All numbers of one task; times in milliseconds."""
    spec = EnvSpec(task=task)
    start, actions = example_actions(task, seed)
    reference = RobosuiteEngine(replace(spec, engine="robosuite"))
    exact, fast = CompiledEngine(spec), CompiledEngine(replace(spec, mode="fast"))
    verdict = parity.compare(exact, reference, seed, actions)
    physics = physics_alone(fast, start, actions)
    for engine in (exact, fast):
        timed(engine, start, actions)
    measures: dict[str, Callable[[], float]] = {
        "robosuite": lambda: timed(reference, start, actions),
        "exact": lambda: timed(exact, start, actions),
        "fast": lambda: timed(fast, start, actions),
        "physics": physics,
    }
    seconds = {name: float("inf") for name in measures}
    for turn in range(turns):
        for name, measure in measures.items():
            if name != "robosuite" or turn < 2:
                seconds[name] = min(seconds[name], measure())
    hard, cheap = resets(reference, 3), resets(exact, 20)
    other = CompiledEngine(fast.spec)
    rollouts_of_two = [partial(timed, engine, start, actions) for engine in (fast, other)]
    physics_of_two = [physics, physics_alone(other, start, actions)]
    reference.close()
    return {
        "steps": len(actions),
        "ms": {name: 1e3 * value for name, value in seconds.items()},
        "exact_over_robosuite": seconds["robosuite"] / seconds["exact"],
        "fast_over_robosuite": seconds["robosuite"] / seconds["fast"],
        "fast_over_physics": seconds["fast"] / seconds["physics"],
        "exact_over_physics": seconds["exact"] / seconds["physics"],
        "two_threads": two_threads(rollouts_of_two, turns),
        "two_threads_physics": two_threads(physics_of_two, turns),
        "reset_ms": {"robosuite": 1e3 * hard, "compiled": 1e3 * cheap},
        "reset_ratio": hard / cheap,
        "bit_equal": verdict.equal,
        "difference": verdict.difference,
    }


def demonstrations(task: str, count: int, seed: int) -> float:
    """Seconds for `count` expert episodes in two threads, without building the engines."""
    pool = make_pool(EnvSpec(task=task), slots=2, workers=2)
    arguments = (seed, 0, 0.05, TASKS[task].max_steps, 5)
    for slot in range(2):
        pool.submit(slot, "demonstrate", *arguments)
    while pool.collect():
        pass
    began = time.perf_counter()
    following = iter(range(count))
    for slot, index in zip(range(2), following, strict=False):
        pool.submit(slot, "demonstrate", seed, index, *arguments[2:])
    while outcomes := pool.collect():
        for slot, _ in outcomes:
            for index in itertools.islice(following, 1):
                pool.submit(slot, "demonstrate", seed, index, *arguments[2:])
    pool.close()
    return time.perf_counter() - began


def verdicts(task: str, seed: int, workers: int) -> dict[str, int]:
    """Success of both engines on the same actions from `STARTS` starts (the expert's, or random ones)."""
    spec = EnvSpec(task=task)
    env_slot = EnvSlot(spec)
    pool = make_pool(replace(spec, engine="robosuite"), slots=workers, workers=workers)
    ours: dict[int, tuple[bool, int]] = {}
    theirs: dict[int, tuple[bool, int]] = {}
    for first in range(0, STARTS, workers):
        plan = {}
        for slot, index in enumerate(range(first, min(first + workers, STARTS))):
            if task in ROLES["expert"].members:
                demonstration = env_slot.demonstrate(seed, index, 0.05, TASKS[task].max_steps, extra_steps=0)
                start, actions = demonstration.start, demonstration.actions
            else:
                env_slot.reset(seeds.derive(seed, "evaluation", index))
                start = env_slot.engine.get_start()
                size = TASKS[task].action_size
                actions = seeds.numpy_rng(seed, "benchmark", index).uniform(-1, 1, (STEPS[task], size))
            env_slot.reset(start)
            chunk = env_slot.run_chunk(actions).chunk
            ours[index] = (bool(chunk.success.any()), chunk.steps)
            plan[slot] = (index, start, actions)
        for slot, (_, start, _) in plan.items():
            pool.submit(slot, "reset", start)
        while pool.collect():
            pass
        for slot, (_, _, actions) in plan.items():
            pool.submit(slot, "run_chunk", actions)
        while outcomes := pool.collect():
            for slot, outcome in outcomes:
                assert isinstance(outcome, ChunkResult), outcome
                theirs[plan[slot][0]] = (bool(outcome.chunk.success.any()), outcome.chunk.steps)
    pool.close()
    same = sum(ours[index] == theirs[index] for index in ours)
    return {"starts": STARTS, "same": same, "successes": sum(success for success, _ in ours.values())}


def policy_evaluation(checkpoint: Path, episodes: int, workers: int) -> dict[str, Any]:
    """Seconds and successes of one evaluation through both engines, 1 NFE."""
    from isd_policy.evaluation import roll_out
    from isd_policy.simulation import open_simulation

    result: dict[str, Any] = {}
    for engine in ("compiled", "robosuite"):
        config: dict[str, Any] = {
            "checkpoint": str(checkpoint),
            "weights": "ema",
            "env": {"engine": engine, "mode": "exact"},
        }
        config |= {"device": "cpu", "threads": 1, "max_steps": None, "cfg_scale": 1.0, "inputs": {}, "sampler": None}
        simulation = open_simulation(config)
        resolve(simulation.env)
        began = time.perf_counter()
        run, _ = roll_out(simulation, 1, episodes=episodes, seed=7, workers=workers)
        seconds = time.perf_counter() - began
        result[engine] = {"seconds": seconds, "successes": run.successes, "policy_seconds": run.policy_seconds}
    result["ratio"] = result["robosuite"]["seconds"] / result["compiled"]["seconds"]
    return result


def table(tasks: dict[str, dict[str, Any]]) -> str:
    """A Markdown table."""
    lines = [
        "| task | robosuite, ms/step | exact | fast | physics alone | exact / robosuite | fast / robosuite "
        "| fast : physics | 2 threads (physics alone) | reset, ms | bit-equal |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in tasks.items():
        ms, equal = row["ms"], "yes" if row["bit_equal"] else f"to {row['difference']:.0e}"
        lines.append(
            f"| {TASKS[name].title} | {ms['robosuite']:.2f} | {ms['exact']:.2f} | {ms['fast']:.2f} "
            f"| {ms['physics']:.2f} | {row['exact_over_robosuite']:.1f}x | {row['fast_over_robosuite']:.1f}x "
            f"| {row['fast_over_physics']:.2f} | {row['two_threads']:.2f}x ({row['two_threads_physics']:.2f}x) "
            f"| {row['reset_ms']['robosuite']:.0f} -> {row['reset_ms']['compiled']:.2f} ({row['reset_ratio']:.0f}x) "
            f"| {equal} |"
        )
    return "\n".join(lines)


def missed(tasks: dict[str, dict[str, Any]]) -> list[str]:
    """Targets that were not reached, one sentence each."""
    found = []
    for name, row in tasks.items():
        for mode in ("exact", "fast"):
            target = TARGETS[mode].get(name, OTHER_TARGET)
            ratio = row[f"{mode}_over_robosuite"]
            close = name not in TARGETS[mode] and row[f"{mode}_over_physics"] <= PHYSICS_TARGET
            if ratio < target and not close:
                found.append(f"{TASKS[name].title}, {mode}: {ratio:.1f}x robosuite (target {target:.0f}x)")
        if name in TARGETS["fast"] and row["fast_over_physics"] > 1.10:
            found.append(f"{TASKS[name].title}, fast: {row['fast_over_physics']:.2f} of physics alone (target 1.10)")
        if row["reset_ratio"] < 100:
            found.append(f"{TASKS[name].title}: reset {row['reset_ratio']:.0f}x (target 100x)")
        if row["two_threads"] < 1.8:
            found.append(
                f"{TASKS[name].title}: two threads {row['two_threads']:.2f}x (target 1.8x; physics alone "
                f"{row['two_threads_physics']:.2f}x)"
            )
    return found


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--full", action="store_true", help=f"compare success verdicts on {STARTS} starts a task")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--checkpoint", type=Path, help="a policy to evaluate through both engines")
    parser.add_argument("--episodes", type=int, default=200, help="episodes of that evaluation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_sim.json"))
    return parser


def run(options: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes the JSON; returns the exit code."""
    began = time.perf_counter()
    turns = 4 if options.quick else 10
    tasks: dict[str, dict[str, Any]] = {}
    for task in options.tasks:
        tasks[task] = measure_task(task, options.seed, turns)
        print(f"measured {TASKS[task].title} ({time.perf_counter() - began:.0f} s)", flush=True)
    content: dict[str, Any] = {
        "tasks": tasks,
        "seed": options.seed,
        "machine": command.machine(),
    }
    count = 20 if options.quick else 200
    content["demonstrations"] = {
        task: {"count": count, "seconds": demonstrations(task, count, options.seed)}
        for task in options.tasks
        if task in ROLES["expert"].members
    }
    files.write_json(options.out, content)
    if options.full:
        content["verdicts"] = {}
        for task in options.tasks:
            content["verdicts"][task] = verdicts(task, options.seed, 2)
            files.write_json(options.out, content)
            print(f"compared {TASKS[task].title} ({time.perf_counter() - began:.0f} s)", flush=True)
    if options.checkpoint:
        content["evaluation"] = policy_evaluation(options.checkpoint, options.episodes, 2)
        files.write_json(options.out, content)
    report(content, options.out)
    return 0


def report(content: dict[str, Any], out: Path) -> None:
    """Prints everything that was measured."""
    for task, row in content["demonstrations"].items():
        print(f"{TASKS[task].title}: {row['count']} demonstrations in {row['seconds']:.1f} s (two threads)")
    for task, row in content.get("verdicts", {}).items():
        print(f"{TASKS[task].title}: same verdict and step on {row['same']} of {row['starts']} starts")
    if evaluation := content.get("evaluation"):
        print(
            f"Policy evaluation, compiled against robosuite's step: {evaluation['compiled']['seconds']:.1f} s against "
            f"{evaluation['robosuite']['seconds']:.1f} s ({evaluation['ratio']:.1f}x); successes "
            f"{evaluation['compiled']['successes']} and {evaluation['robosuite']['successes']}"
        )
    print(f"Written: {out}. Load of the machine at the end: {os.getloadavg()[0]:.1f}.\n")
    for sentence in missed(content["tasks"]):
        print(f"below target: {sentence}")
    print(table(content["tasks"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
