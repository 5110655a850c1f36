"""Rollouts that end as soon as they tell a policy from another one, whose result is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from isd_envs.rollouts.rollout import Enough, Episode
from isd_envs.rollouts.statistics import decided_after


@dataclass(frozen=True)
class Rival:
    """Another policy's successes on the same starts: number of network evaluations -> start -> success."""

    path: str
    runs: Mapping[str, Sequence[bool]]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Rival | None:
        """The rival of a resolved config of policy_evaluate (`until_decided`), if it names one.

        Raises `InputError` for a file that is no result, or one of other starts than the config's.
        """
        if (path := config["until_decided"]) is None:
            return None
        content = read_json(Path(path))
        try:
            made = {"seed": content["seed"], "seed_split": content["protocol"]["seed_split"]}
            runs = {nfe: [bool(each["success"]) for each in run["episodes"]] for nfe, run in content["results"].items()}
        except (KeyError, TypeError) as error:
            raise InputError(f"until_decided={path} is no result of isd_policy.evaluate (it lacks {error}).") from error
        for key, value in made.items():
            if value != config[key]:
                raise InputError(
                    f"until_decided={path} was made with {key}={value}; here {key}={config[key]}. The starts must be "
                    f"the same: give {key}={value}."
                )
        return cls(str(path), runs)

    def told_apart(self, nfe: int) -> Enough:
        """Whether episodes tell the policy at `nfe` from the rival at the same number, or at its only one.

        By the anytime test at 95 %, so that stopping there is no false alarm (`statistics.e_value`).
        """
        only = next(iter(self.runs)) if len(self.runs) == 1 else None
        outcomes = self.runs.get(str(nfe), self.runs.get(str(only)))
        if outcomes is None:
            raise InputError(f"until_decided={self.path} has no run with nfe={nfe}; its runs: {', '.join(self.runs)}.")

        def enough(episodes: Sequence[Episode]) -> bool:
            n = len(episodes)
            return n <= len(outcomes) and decided_after([e.success for e in episodes], outcomes[:n]) is not None

        return enough
