"""`python -m isd_policy.data.inspect FILE`: what a file of demonstrations holds, what it fits, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isd_core.support.cli import CONFIGS, command, compose_config
from isd_core.support.errors import InputError
from isd_envs.demonstrations.comparison import CannotCompareError, Difference, differences
from isd_envs.env_args import spec_of_data
from isd_envs.spec import EnvSpec, observation_shapes
from isd_envs.task_configs import GYM, registered_tasks
from isd_envs.tasks import GYM_OF_ROBOMIMIC, GYMNASIUM, OWN, task_named
from isd_policy.data import read
from isd_policy.data.description import Description, describe


def problems(described: Description, observed: Sequence[Difference]) -> list[str]:
    """What keeps the file, or one of its keys, from being trained on."""
    found = []
    if described.env_args is None:
        found.append("data.attrs['env_args'] is missing or no JSON with env_name: the environment is unknown.")
    if not described.observations:
        found.append("there are no observations (data/<demonstration>/obs): a recording of states alone.")
    if not described.actions:
        found.append("there are no actions (data/<demonstration>/actions).")
    if described.observations and described.actions:
        first_observation, first_action = next(iter(described.observations)), next(iter(described.actions))
        pairs = [(first_observation, key) for key in described.actions]
        pairs += [(key, first_action) for key in described.observations]
        found += [text for key, action_key in pairs if (text := _refusal(described, key, action_key))]
    found += [f"{difference}." for difference in observed if not difference.known]
    return list(dict.fromkeys(found))


def differences_of(described: Description) -> tuple[list[Difference], str]:
    """What the simulator observes otherwise than the file says in the same states, and a line about the comparison."""
    try:
        found = differences(described.path, external=described.external)
    except (CannotCompareError, InputError) as error:
        return [], f"not compared with the simulator's ({error})"
    known = "".join(f"; {difference}" for difference in found if difference.known)
    return found, f"compared with the simulator's in restored states{known}"


def _refusal(described: Description, key: str, action_key: str) -> str:
    """Why the reader refuses a pair of keys; empty where it takes them."""
    options = {"observation_keys": [key], "action_key": action_key, "pictures": "disk", "external": described.external}
    try:
        read(described.path, options)
    except InputError as error:
        return str(error)
    return ""


def fits(described: Description) -> Iterator[tuple[str, str]]:
    """(task, what is missing for it) for each task config of the file's environment; an empty text where it fits."""
    if described.env_args is not None and described.env_args.get("type") in (GYMNASIUM, GYM_OF_ROBOMIMIC):
        name = described.env_args["env_name"]
        task = name if name in registered_tasks() else f"{GYM} task.id={name}"
        yield task, _differences(described, list(described.observations))
        return
    for path in sorted((CONFIGS / "task").glob("[!.]*.yaml")):
        if path.stem in (OWN, GYM) or described.env_args is None:
            continue
        task = compose_config("policy_train", [f"task={path.stem}", "data=FILE"])["task"]
        if task_named(task.name).data_name != described.env_args["env_name"]:
            continue
        absent = [key for key in task.observation_keys if key not in described.observations]
        yield path.stem, f"no {', '.join(absent)}" if absent else _differences(described, list(task.observation_keys))


def _differences(described: Description, keys: list[str]) -> str:
    """A size that the simulator would not give; empty where there is none."""
    assert described.env_args is not None
    shapes = {key: described.observations[key] for key in keys}
    try:
        spec = spec_of_data(described.env_args)
        offered = observation_shapes(spec.with_pictures({k: shape for k, shape in shapes.items() if len(shape) == 3}))
    except InputError as error:
        return str(error)
    for key, shape in shapes.items():
        if offered.get(key) != tuple(shape):
            return f"{key} is {list(shape)} in the file and {offered.get(key)} in the simulator"
    return ""


def environment(env_args: dict[str, Any] | None) -> str:
    """The environment in a line, or why it cannot be simulated."""
    if env_args is None:
        return "unknown"
    version = env_args.get("env_version") or "unknown version"
    try:
        spec = spec_of_data(env_args)
    except InputError as error:
        return f"{env_args['env_name']} ({version}); not simulated here: {error}"
    if not isinstance(spec, EnvSpec):
        return f"{env_args['env_name']}: simulated"
    return (
        f"{env_args['env_name']} (robosuite {version}): {spec.action_mode} actions in the {spec.frame} frame, "
        f"kp {_gains(spec.kp)}, scales {spec.position_scale:g} m and {spec.rotation_scale:g} rad, "
        f"lite_physics {str(spec.lite_physics).lower()}, {spec.control_freq} Hz"
    )


def _gains(values: float | tuple[float, ...]) -> str:
    return f"{values:g}" if isinstance(values, float | int) else " ".join(f"{value:g}" for value in values)


def report(described: Description, found: Sequence[str], compared: str) -> str:
    """The lines that the command prints, with the problems found. compared: how the observations were checked."""
    lengths = described.lengths
    lines = [
        f"{described.path}: {described.kind}",
        f"  demonstrations: {len(lengths)}, {lengths.sum()} steps ({lengths.min()} to {lengths.max()} each)",
        f"  environment: {environment(described.env_args)}",
        "  actions: " + (", ".join(f"{key} [{size}]" for key, size in described.actions.items()) or "none"),
        "  observations: " + ", ".join(f"{key} {list(shape)}" for key, shape in described.observations.items()),
        f"    {compared}",
        "  filter keys: " + (", ".join(f"{key} ({len(names)})" for key, names in described.masks.items()) or "none"),
    ]
    lines += [f"  task={name}: {'no: ' + missing if missing else 'fits'}" for name, missing in fits(described)]
    lines += [f"  problem: {text}" for text in found] or ["  problems: none"]
    return "\n".join(lines)


@command("data_inspect", positional="data")
def main(cfg: DictConfig) -> int:
    """Prints what a file of demonstrations holds, which tasks it fits, and what is wrong with it. Reads all of it.

    The exit code is 2 where something is wrong.
    """
    described = describe(Path(str(cfg.data)), cfg.external)
    observed, compared = differences_of(described)
    found = problems(described, observed)
    print(report(described, found, compared))
    return 2 if found else 0


if __name__ == "__main__":
    main()
