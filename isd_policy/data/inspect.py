"""`python -m isd_policy.data.inspect FILE`: what a file holds, what can be done with it, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_envs.demonstrations.comparison import CannotCompareError, Difference, differences
from isd_envs.env_args import spec_of_data
from isd_envs.spec import EnvSpec
from isd_policy.data import read
from isd_policy.data.description import Description, describe, read_by
from isd_policy.data.uses import fits, uses


def problems(
    described: Description, observed: Sequence[Difference], options: Mapping[str, Any] | None = None
) -> list[str]:
    """What keeps the file, or one of its keys, from being trained on. options: those by which it is read."""
    found = [f"it cannot be trained on: {use.missing}." for use in uses(described)[:1] if use.missing]
    if described.observations and described.actions:
        first_observation, first_action = next(iter(described.observations)), next(iter(described.actions))
        pairs = [(first_observation, key) for key in described.actions]
        pairs += [(key, first_action) for key in described.observations]
        found += [text for key, action_key in pairs if (text := _refusal(described, key, action_key, options))]
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


def _refusal(described: Description, key: str, action_key: str, options: Mapping[str, Any] | None) -> str:
    """Why the reader refuses a pair of keys; empty where it takes them."""
    asked = {"observation_keys": [key], "action_key": action_key, "pictures": "disk"}
    try:
        read(described.path, {**(options or {"external": described.external}), **asked})
    except InputError as error:
        return str(error)
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
    if described.rate is not None or described.env_args is None:
        rate = "unknown (dataset.rate=HZ says it)" if described.rate is None else f"{described.rate:g} Hz"
        lines.append(f"  rate: {rate}")
    lines += [f"  {use}" for use in uses(described)]
    lines += [f"  task={name}: {'no: ' + missing if missing else 'fits'}" for name, missing in fits(described)]
    lines += [f"  problem: {text}" for text in found] or ["  problems: none"]
    return "\n".join(lines)


@command("data_inspect", positional="data")
def main(cfg: DictConfig) -> int:
    """Prints what a file of demonstrations holds, what can be done with it, and what is wrong with it. Reads all of it.

    The exit code is 2 where something is wrong.
    """
    options = read_by(resolved(cfg))
    described = describe(Path(str(cfg.data)), options)
    observed, compared = differences_of(described)
    found = problems(described, observed, options)
    print(report(described, found, compared))
    return 2 if found else 0


if __name__ == "__main__":
    main()
