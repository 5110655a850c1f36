"""What an evaluation found: success rates with their intervals, as a sentence, as a file, and beside another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.files import read_json, write_json
from isd_envs.compare import compared
from isd_envs.rollouts.results import save_actions
from isd_envs.rollouts.rollout import Rollout
from isd_envs.rollouts.statistics import Comparison, mean_and_error, success_over_time, wilson
from isd_policy.batched import BatchedPolicy
from isd_policy.latency import percentiles
from isd_policy.simulation import Simulation


@dataclass(frozen=True)
class Evaluation:
    """The rollouts of one policy, for each number of network evaluations (NFE). `print` gives the sentence."""

    simulation: Simulation
    content: Mapping[str, Any]
    runs: Mapping[int, tuple[Rollout, BatchedPolicy]]

    @property
    def complete(self) -> bool:
        """Whether every episode of every NFE ended; not so after Ctrl-C."""
        return bool(self.content["complete"])

    def __str__(self) -> str:
        return sentence(self.simulation, self.content)

    def success_rate(self, nfe: int) -> float:
        """The share of the starts on which the policy succeeded."""
        return float(self.content["success"][str(nfe)]["rate"])

    def to_dict(self) -> dict[str, Any]:
        """The content of the result file: rates, intervals, protocol, every episode."""
        return dict(self.content)

    def save(self, path: str | Path, video: int = 0) -> Path:
        """Writes the result file and, beside it, the executed actions and films of the first `video` episodes."""
        out = Path(path)
        write_json(out, self.content)
        save_actions(out, {str(nfe): result for nfe, (result, _) in self.runs.items()})
        if video:
            from isd_envs.replay import film_results

            film_results(out, first=video)
        return out

    def compare(
        self, other: Evaluation | str | Path, nfe: int | None = None, other_nfe: int | None = None
    ) -> Comparison:
        """The exact McNemar test against another evaluation, or its file, on the starts that both have.

        nfe: the run of this one (None: its first), other_nfe: that of the other (None: the same). Raises `InputError`
        where a run is absent or the starts are not the same.
        """
        content = other.to_dict() if isinstance(other, Evaluation) else read_json(Path(other))
        name = "the other evaluation" if isinstance(other, Evaluation) else str(other)
        first = str(next(iter(self.runs)) if nfe is None else nfe)
        second = first if other_nfe is None else str(other_nfe)
        return compared(("this evaluation", self.content, first), (name, content, second))


def success_rate(result: Rollout) -> dict[str, float]:
    """Successes, episodes, rate, and the Wilson interval (95 %) of the rate."""
    low, high = wilson(result.successes, len(result))
    rate = result.successes / len(result)
    return {"successes": result.successes, "episodes": len(result), "rate": rate, "low": low, "high": high}


def faults(result: Rollout) -> dict[str, int]:
    """How many episodes a fault ended, by what it was: actions that are not finite, a simulation that diverged."""
    return dict(Counter(episode.fault for episode in result if episode.fault is not None))


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
        "faults": faults(result),
        "decided": result.enough,
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
            "candidates": simulation.policy.candidates,
            "choose": simulation.policy.choose,
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
    """What was found, one clause for each NFE."""
    clauses, seconds = [], 0.0
    for nfe, rate in content["success"].items():
        run = content["results"][nfe]
        seconds += run["policy_seconds"] + run["simulator_seconds"]
        score = content["score"][nfe]
        graded = f"score {score['mean']:.3f} +- {score['standard_error']:.3f}, " * simulation.env.definition.graded
        clauses.append(
            f"{nfe} NFE: {graded}{rate['successes']} of {rate['episodes']} starts succeed (Wilson 95 %: "
            f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}), {run['episode_length']['mean']:.0f} steps an episode"
            + "".join(f", {count} ended by a fault ({what})" for what, count in run["faults"].items())
        )
    policy = sum(run["policy_seconds"] for run in content["results"].values())
    return (
        f"{simulation.title}, cap {simulation.max_steps} steps, {content['protocol']['initial_noise']} initial noise; "
        + "; ".join(clauses)
        + f". {seconds:.0f} s, of which the policy took {policy:.1f} s."
    )
