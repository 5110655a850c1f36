"""What the evaluation and the control loop share: a policy and the environment that its data were recorded in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from isd_core.sampling import with_guidance, with_inputs
from isd_core.support import seeds
from isd_core.support.cli import CONFIGS, resolved
from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_envs.engines.slot import EnvSlot
from isd_envs.spec import Spec, observation_shapes
from isd_policy.backend import PolicyBackend
from isd_policy.build import HEAD, schema_of
from isd_policy.environment import environment_of, environment_of_factory
from isd_policy.loading import load_saved, open_saved
from isd_policy.observations import ObservationSchema
from isd_policy.policy import Policy
from isd_policy.validation import check_whole


@dataclass(frozen=True)
class Simulation:
    """A trained policy, the checkpoint, bundle or export that holds it, its environment, and the cap on an episode's
    control steps.
    """

    policy: PolicyBackend
    saved: checkpoint.Checkpoint
    env: Spec
    max_steps: int

    @property
    def title(self) -> str:
        """The task's name as it is printed."""
        return self.env.definition.title

    def description(self) -> dict[str, Any]:
        """What a result file says about where it comes from."""
        return {
            "task": self.env.task,
            "checkpoint": {"path": str(self.saved.path), "step": self.saved.step, "seed": self.saved.meta["seed"]},
            "versions": checkpoint.provenance(HEAD.packages)["versions"],
        }


def open_simulation(
    config: Mapping[str, Any], policy: PolicyBackend | None = None, factory: Callable[[], Any] | None = None
) -> Simulation:
    """The bundle or checkpoint of a command's config (checkpoint, weights, sampler, device, env, max_steps[,
    task]), or a copy of `policy` with the settings of the config.

    The environment is the one that the policy's demonstrations name, or the gymnasium environment of `factory`. Raises
    `InputError` when the policy is not one of the task.
    """
    check_whole(config, *(["max_steps"] if config["max_steps"] is not None else []))
    if policy is None:
        saved = open_saved(config["checkpoint"])
        policy = load_saved(saved, config["weights"], str(pick_device(config["device"])))
    else:
        saved, policy = source_of(policy), copy.copy(policy)  # the caller's keeps its sampler
    sample_by(policy, saved.config, config["sampler"])
    _guide(policy, saved.config, config["cfg_scale"], config["inputs"])
    trained = saved.config["task"]["name"]
    wanted = (config.get("task") or {"name": trained})["name"]
    if wanted != trained:
        raise InputError(
            f"{saved.path} is a policy for the task {trained}, not for task={wanted}. Leave task= out, or give a "
            "checkpoint of that task."
        )
    if factory is None:
        env = environment_of(saved.config, **config["env"])
    else:
        env = environment_of_factory(saved.config, factory, config["max_steps"])
    size = saved.config["schema"]["action"]
    if size != env.definition.action_size:
        raise InputError(
            f"{saved.path} predicts {size} numbers an action; the environment of {trained} takes "
            f"{env.definition.action_size}."
        )
    check_observed(policy.schema, env)
    return Simulation(policy, saved, env, config["max_steps"] or env.definition.max_steps)


def source_of(policy: PolicyBackend) -> checkpoint.Checkpoint:
    """What the policy was loaded from; `InputError` for one that was built in this program."""
    if policy.source is None:
        raise InputError("This policy was not loaded from a run, checkpoint, bundle or export: save and load it first.")
    return policy.source


def sample_by(policy: PolicyBackend, trained: Mapping[str, Any], name: str | None) -> None:
    """Gives the policy another sampler than its training's, one of the group `sampler`."""
    if name is None:
        return
    if not isinstance(policy, Policy):
        raise InputError("The sampler of an export is what it was exported with: leave sampler null.")
    file = CONFIGS / "sampler" / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        raise InputError(f"There is no sampler called `{name}`; known: {known}.")
    config = OmegaConf.create({"path": trained["path"], "sampler": OmegaConf.load(file)})
    policy.sampler = build("sampler", resolved(config)["sampler"])


def _guide(
    policy: PolicyBackend, trained: Mapping[str, Any], cfg_scale: float, inputs: Mapping[str, float | None]
) -> None:
    """Has the policy sample with guidance of scale `cfg_scale` and with the given inputs of its network."""
    if isinstance(policy, Policy):
        guidance = build("guidance", trained["guidance"]) if "guidance" in trained else None
        guided = with_guidance(policy.sampler, cfg_scale, guidance)
        policy.sampler = with_inputs(guided, inputs, policy.net, guidance)
    elif cfg_scale != 1 or any(value is not None for value in inputs.values()):
        raise InputError("The guidance of an export is what it was exported with: leave cfg_scale and inputs alone.")


def check_environment(config: Mapping[str, Any]) -> None:
    """Builds the environment that the evaluations of a training need, once, and begins an episode.

    So a training does not find out at its first checkpoint what its environment lacks. Raises `InputError` where it
    cannot be made, a package is missing, or it observes other things than the demonstrations.
    """
    try:
        env = environment_of(config)
        check_observed(schema_of(config), env)
        slot = EnvSlot(env)
        try:
            slot.reset(seeds.derive(config["seed"], "environment"))
        finally:
            slot.close()
    except InputError as error:
        raise InputError(
            f"evaluation.every={config['evaluation']['every']} asks for rollouts while the training goes on, and there "
            f"can be none: {error} Without them, by evaluation.every=0, the training needs no environment."
        ) from error


def check_observed(schema: ObservationSchema, env: Spec) -> None:
    """Raises `InputError` where an environment does not give what a policy of `schema` sees."""
    offered = observation_shapes(env)
    for key, shape in schema.shapes.items():
        if offered.get(key) != shape:
            raise InputError(
                f"The policy was trained on `{key}` of shape {list(shape)}; the environment of {env.task} "
                + (
                    f"gives {list(offered[key])}."
                    if key in offered
                    else f"has no such observation. It has: {', '.join(offered)}."
                )
            )


def choice_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The candidates of a command's config, as `PolicyBackend.use` takes them."""
    return {key: config[key] for key in ("candidates", "choose")}
