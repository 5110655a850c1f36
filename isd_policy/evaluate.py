"""`python -m isd_policy.evaluate`: success rates of a policy on starts that training never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from envs.rollouts.results import save_actions
from envs.rollouts.rollout import Rollout, rollout
from envs.rollouts.statistics import mean_and_error, success_over_time, wilson
from isd_core.sampling import check_counts
from isd_core.support import seeds
from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.files import write_json
from isd_core.support.overrides import command_line
from isd_core.support.progress import Progress
from isd_policy.batched import ROWS, BatchedPolicy
from isd_policy.latency import percentiles
from isd_policy.simulation import Simulation, open_simulation
from isd_policy.validation import check_whole

SEED_SPLITS = ("evaluation", "selection")
"""Which starts: those of numbers that are reported, or those of the choice among checkpoints."""


def evaluate(
    simulation: Simulation,
    nfe: int,
    *,
    episodes: int,
    seed: int,
    workers: int = 1,
    live: int = 16,
    initial_noise: str = "gaussian",
    seed_split: str = "evaluation",
    runner: str = "local",
    rows: int = ROWS,
) -> tuple[Rollout, BatchedPolicy]:
    """One episode from each of `episodes` starts (streams (seed, seed_split, i)) with `nfe` network calls an action.

    The outcome of each episode depends on seed, nfe and initial_noise alone, by rounding on `rows`, the rows of a
    network call, and not on workers or on `live`, the number of episodes that run at once. After Ctrl-C the rollout
    holds the finished episodes and says that it was interrupted.
    """
    act = BatchedPolicy(simulation.policy, nfe, seed=seed, initial_noise=initial_noise, rows=rows)
    act.warm_up()
    with Progress(episodes, f"{nfe} NFE", "episode") as bar:
        result = rollout(
            simulation.env,
            [seeds.derive(seed, seed_split, i) for i in range(episodes)],
            act,
            obs_horizon=simulation.policy.horizons.observation,
            max_steps=simulation.max_steps,
            workers=workers,
            live=live,
            progress=bar,
            runner=runner,
        )
    return result, act


def success_rate(result: Rollout) -> dict[str, float]:
    """Successes, episodes, rate, and the Wilson interval (95 %) of the rate."""
    low, high = wilson(result.successes, len(result))
    rate = result.successes / len(result)
    return {"successes": result.successes, "episodes": len(result), "rate": rate, "low": low, "high": high}


def graded_score(result: Rollout) -> dict[str, float]:
    """The mean over episodes of each one's best score, and its standard error."""
    mean, error = mean_and_error([episode.score for episode in result])
    return {"mean": mean, "standard_error": error, "episodes": len(result)}


def summary(result: Rollout, act: BatchedPolicy, max_steps: int) -> dict[str, Any]:
    """How the episodes of one NFE went: lengths in control steps, times in seconds, and each episode in short."""
    succeeded = [episode.steps for episode in result if episode.success]
    return {
        "episode_length": {
            "mean": float(np.mean([episode.steps for episode in result])),
            "mean_of_successes": float(np.mean(succeeded)) if succeeded else None,
        },
        "success_over_time": success_over_time(succeeded, len(result), max_steps),
        "policy_seconds": result.policy_seconds,
        "simulator_seconds": result.simulator_seconds,
        "policy_call_ms": percentiles(act.call_seconds),
        "episodes": [
            {
                "index": episode.index,
                "success": episode.success,
                "score": episode.score,
                "steps": episode.steps,
                "fault": episode.fault,
            }
            for episode in result
        ],
        "replaced_workers": result.replaced,
    }


def report(
    simulation: Simulation, config: Mapping[str, Any], runs: Mapping[int, tuple[Rollout, BatchedPolicy]]
) -> dict:
    """The content of the result file."""
    first, _ = next(iter(runs.values()))
    starts = {episode.index: episode.start for run, _ in runs.values() for episode in run}
    env = simulation.env.to_dict() | {"engine": first.engine, "mode": first.mode}
    return simulation.description() | {
        "success": {str(nfe): success_rate(result) for nfe, (result, _) in runs.items()},
        "score": {str(nfe): graded_score(result) for nfe, (result, _) in runs.items()},
        "seed": config["seed"],
        "protocol": {
            "max_steps": simulation.max_steps,
            "seed_split": config["seed_split"],
            "sampler": config["sampler"],
            "initial_noise": config["initial_noise"],
            "weights": config["weights"],
            "horizons": asdict(simulation.policy.horizons),
            "batch_size": config["rows"],
            "live": config["live"],
            "workers": config["workers"],
            "environment": env,
        },
        "results": {str(nfe): summary(*run, simulation.max_steps) for nfe, run in runs.items()},
        "starts": [starts.get(index) for index in range(config["episodes"])],
        "complete": not any(run.interrupted for run, _ in runs.values()),
    }


def sentence(simulation: Simulation, content: Mapping[str, Any]) -> str:
    """The command's last lines, one clause for each NFE."""
    clauses, seconds = [], 0.0
    for nfe, rate in content["success"].items():
        run = content["results"][nfe]
        seconds += run["policy_seconds"] + run["simulator_seconds"]
        score = content["score"][nfe]
        graded = f"score {score['mean']:.3f} +- {score['standard_error']:.3f}, " * simulation.env.definition.graded
        clauses.append(
            f"{nfe} NFE: {graded}{rate['successes']} of {rate['episodes']} starts succeed (Wilson 95 %: "
            f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}), {run['episode_length']['mean']:.0f} steps an episode"
        )
    policy = sum(run["policy_seconds"] for run in content["results"].values())
    return (
        f"{simulation.title}, cap {simulation.max_steps} steps, {content['protocol']['initial_noise']} initial noise; "
        + "; ".join(clauses)
        + f". {seconds:.0f} s, of which the policy took {policy:.1f} s."
    )


@command("policy_evaluate")
def main(cfg: DictConfig) -> None:
    """Success rates of a policy on starts that training never saw, for each number of network evaluations (NFE)."""
    config = resolved(cfg)
    check_whole(config, "episodes", "workers", "live", "rows")
    check_whole(config, "seed", "video", least=0)
    if config["seed_split"] not in SEED_SPLITS:
        raise InputError(f"seed_split={config['seed_split']}: expected one of {', '.join(SEED_SPLITS)}.")
    simulation = open_simulation(config)
    policy = simulation.policy
    counts = check_counts(policy.usual_nfe if config["nfe"] is None else config["nfe"], policy.check_nfe)
    if config["video"] and config["out"] is None:
        raise InputError("video= needs out=FILE.json: the films are written beside it.")
    options = {
        key: config[key]
        for key in ("episodes", "seed", "workers", "live", "rows", "initial_noise", "seed_split", "runner")
    }
    runs: dict[int, tuple[Rollout, BatchedPolicy]] = {}
    for nfe in counts:
        result, act = evaluate(simulation, nfe, **options)
        if result:
            runs[nfe] = result, act
        if result.interrupted:
            break
    if not runs:
        raise KeyboardInterrupt
    content = report(simulation, config, runs)
    content["complete"] = content["complete"] and len(runs) == len(counts)
    print(sentence(simulation, content))
    if config["out"] is not None:
        write(Path(str(config["out"])), content, runs, config["video"])
        print(
            f"Written: {config['out']}. Next: "
            + command_line("isd_policy.run", checkpoint=config["checkpoint"], rate=20, seconds=10)
        )
    if not content["complete"]:
        raise KeyboardInterrupt


def write(out: Path, content: Mapping[str, Any], runs: Mapping[int, tuple[Rollout, BatchedPolicy]], video: int) -> None:
    """The result file, the executed actions beside it, and films of the first `video` episodes of each run."""
    write_json(out, content)
    save_actions(out, {str(nfe): result for nfe, (result, _) in runs.items()})
    if video:
        from envs.replay import film_results

        film_results(out, first=video)


if __name__ == "__main__":
    main()
