"""Success rates on starts that training never saw: `isd_policy.evaluate`, `python -m isd_policy.evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isd_core.presets import config_from, given
from isd_core.sampling import check_counts
from isd_core.support import seeds
from isd_core.support.device import thread_count
from isd_core.support.errors import InputError
from isd_core.support.progress import Progress
from isd_envs.rollouts.rollout import Enough, Rollout, rollout
from isd_policy.backend import PolicyBackend
from isd_policy.batched import ROWS, BatchedPolicy
from isd_policy.results import Evaluation, report
from isd_policy.rival import Rival
from isd_policy.simulation import Simulation, choice_of, open_simulation, source_of
from isd_policy.validation import check_whole

SEED_SPLITS = ("evaluation", "selection")
"""Which starts: those of numbers that are reported, or those of the choice among checkpoints."""
OPTIONS = ("episodes", "seed", "workers", "live", "rows", "initial_noise", "seed_split", "runner")


def roll_out(
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
    enough: Enough | None = None,
) -> tuple[Rollout, BatchedPolicy]:
    """One episode from each of `episodes` starts (streams (seed, seed_split, i)) with `nfe` network calls an action.

    The outcome of each episode depends on seed, nfe and initial_noise alone, by rounding on `rows`, the rows of a
    network call, and not on workers or on `live`, the number of episodes that run at once. enough: ends the rollout
    early (see `rollout`). After Ctrl-C the rollout holds the finished episodes and says that it was interrupted.
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
            enough=enough,
        )
    return result, act


def evaluate(
    policy: PolicyBackend | str | Path,
    *,
    task: str | None = None,
    env: Callable[[], Any] | None = None,
    nfe: int | Sequence[int] | None = None,
    episodes: int = 100,
    seed: int = 0,
    workers: int = 1,
    **settings: Any,
) -> Evaluation:
    """Rolls a policy out from `episodes` starts that training never saw, for each number of network evaluations.

    policy: what `train` or `load` gave, or a run, checkpoint, bundle or export. task: refuses a policy of another one.
    env: a function that makes a gymnasium environment, where the policy is to act in that and not in the simulator of
    its demonstrations. nfe: numbers of network evaluations (None: those usual for
    the sampler). workers: threads or processes; the result does not depend on it. settings: further fields of
    configs/policy_evaluate.yaml, such as `max_steps=300`. A policy in memory is left as it is.

    Raises `InputError` for what does not fit together; nothing is rolled out then. After Ctrl-C the finished episodes
    are returned, and `complete` is false.
    """
    in_memory = policy if isinstance(policy, PolicyBackend) else None
    config = config_from(
        "policy_evaluate",
        {
            "checkpoint": str(policy if in_memory is None else source_of(in_memory).path),
            **given(task=task, nfe=[nfe] if isinstance(nfe, int) else nfe),
            "episodes": episodes,
            "seed": seed,
            "workers": workers,
            **settings,
        },
    )
    return evaluate_from(config, in_memory, env)


def evaluate_from(
    config: Mapping[str, Any], policy: PolicyBackend | None = None, env: Callable[[], Any] | None = None
) -> Evaluation:
    """Evaluates as a resolved config of policy_evaluate says; `policy` in place of the checkpoint's, if given."""
    check_whole(config, "episodes", "workers", "live", "rows")
    check_whole(config, "seed", "video", least=0)
    if config["seed_split"] not in SEED_SPLITS:
        raise InputError(f"seed_split={config['seed_split']}: expected one of {', '.join(SEED_SPLITS)}.")
    with thread_count(config["threads"]):
        simulation = open_simulation(config, policy, env)
        simulation.policy.use(initial_noise=config["initial_noise"], **choice_of(config))
        usual, check_nfe = simulation.policy.usual_nfe, simulation.policy.check_nfe
        counts = check_counts(usual if config["nfe"] is None else config["nfe"], check_nfe)
        options = {key: config[key] for key in OPTIONS}
        rival = Rival.of(config)
        runs: dict[int, tuple[Rollout, BatchedPolicy]] = {}
        for count in counts:
            result, act = roll_out(
                simulation, count, **options, enough=None if rival is None else rival.told_apart(count)
            )
            if result:
                runs[count] = result, act
            if result.interrupted:
                break
    if not runs:
        raise KeyboardInterrupt
    content = report(simulation, config, runs)
    content["complete"] = content["complete"] and len(runs) == len(counts)
    return Evaluation(simulation, content, runs)
