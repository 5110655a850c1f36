"""Whether demonstrations show a policy what the simulator will show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isd_core.support.errors import InputError
from isd_envs.demonstrations.comparison import CannotCompareError, differences
from isd_envs.notes import say
from isd_envs.tasks import RobosuiteTask, task_of_data
from isd_policy.data.demonstrations import Demonstrations


def check_observations(demonstrations: Demonstrations, allowed: Sequence[str], external: bool) -> None:
    """Compares recorded observations with those of the restored states, where the file holds states.

    allowed: observations that may differ. What cannot be compared, for want of states or of the simulator, is trained
    on as it is, and a line says so. Raises `InputError` for another observation that differs, and that reading does not
    translate.
    """
    named = demonstrations.env_args and task_of_data(demonstrations.env_args["env_name"])
    path = Path(demonstrations.source)
    if not isinstance(named, RobosuiteTask) or not path.is_file():
        return
    try:
        found = differences(path, list(demonstrations.observations), external)
    except CannotCompareError as error:
        say(f"Note: {path}: its observations are not compared with the simulator's: {error}.")
        return
    unknown = [difference for difference in found if not difference.known and difference.key not in allowed]
    if unknown:
        raise InputError(
            f"{path}: what the file says is not what the simulator observes in the same states, so a policy that "
            f"learns it would fail here. {'; '.join(map(str, unknown))}. Allow it by "
            f"dataset.allow_differences=[{','.join(difference.key for difference in unknown)}], or leave the keys out "
            "of dataset.observation_keys."
        )
