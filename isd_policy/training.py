"""Training a policy on demonstrations: `isd_policy.train`, and the command `python -m isd_policy.train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isd_core.presets import Preset, config_from, given
from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_core.training import distributed
from isd_core.training import run as training
from isd_core.training.resume import CONTENT
from isd_core.training.trainer import Trainer
from isd_envs.task_configs import settings_of_data, spec_of_task
from isd_envs.tasks import OWN, TASKS, task_named
from isd_policy.build import KIND, actions_of, build_policy, fit_normaliser
from isd_policy.data import read_shared
from isd_policy.data.checks import check_observations
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.data.reader import ACTIONS
from isd_policy.data.windows import ActionChunks
from isd_policy.held_out import HeldOut, split
from isd_policy.horizons import horizons_of
from isd_policy.loading import load
from isd_policy.policy import Normaliser, Policy
from isd_policy.reading import read
from isd_policy.selection import Selection
from isd_policy.simulation import check_environment
from isd_policy.validation import check_whole


def train(
    demonstrations: Demonstrations | str | Path,
    *,
    task: str | None = None,
    objective: str | Preset = "isd",
    network: str | Preset = "unet1d",
    steps: int | None = None,
    run_dir: str | Path | None = None,
    seed: int = 0,
    **settings: Any,
) -> Policy:
    """Trains a policy and returns it with its averaged weights; the same call with the same run_dir resumes.

    demonstrations: what `isd_policy.read` or `Demonstrations.from_arrays` gave, or a file. task: a name of configs/task
    (None: the task that the demonstrations name, `own` where there is none). objective, network: names of their
    groups, or presets. run_dir: the run's folder (None: runs/<task>). settings: further groups and fields of
    configs/policy_train.yaml: `path="trigonometric"`, `horizons={"execution": 4}`, `trainer={"batch_size": 64}`,
    `**{"network.widths": [32, 64]}`.

    Raises `InputError` for data and settings that cannot be used, `DivergedError` when the gradients stop being finite.
    """
    if not isinstance(demonstrations, Demonstrations):
        demonstrations = read(demonstrations, task=task)
    fixed = given(run_dir=None if run_dir is None else str(run_dir)) | {
        **({"task": task} if task else settings_of_data(demonstrations.env_args)),
        "task.observation_keys": list(demonstrations.observations),
        "data": demonstrations.source,
        "objective": objective,
        "network": network,
        "seed": seed,
    }
    fixed |= {} if steps is None else {"trainer.steps": steps}
    read_by = {f"dataset.{key}": value for key, value in demonstrations.read_by.items()}
    config = config_from("policy_train", {**read_by, **settings, **fixed})
    training.finished(train_from(config, demonstrations))
    policy = load(config["run_dir"])
    assert isinstance(policy, Policy)
    return policy


def train_from(config: dict[str, Any], demonstrations: Demonstrations | None = None) -> Trainer:
    """Trains as a resolved config of policy_train says; `schema` and `content` are added to it.

    Demonstrations are read if None. Where checkpoints are to be evaluated, the environment is made once before; without
    evaluations no simulator is needed.
    """
    check_whole(config, "seed", least=0)
    horizons = horizons_of(config)
    world = distributed.join(pick_device(config["trainer"]["device"]))
    if demonstrations is None:
        demonstrations = read_shared(config["data"], config["dataset"], world)
    for part in (config["task"], config["dataset"]):  # null means all that the file has
        if part["observation_keys"] is None:
            part["observation_keys"] = list(demonstrations.observations)
    check_task(demonstrations, config["task"])
    if world.is_main and config["task"]["name"] != OWN:
        options = config["dataset"]
        check_observations(demonstrations, options["allow_differences"], options["external"])
    actions, own = actions_of(config), config["task"]["name"] == OWN
    trained, held = split(demonstrations, config["dataset"]["held_out"] if own else 0, config["seed"])
    normaliser = fit_normaliser(demonstrations, actions, trained)
    config["schema"] = schema_of(demonstrations, normaliser, config["dataset"]["units"])
    if world.is_main and config["evaluation"]["every"] and not own:
        check_environment(config)
    config[CONTENT] = {"data": demonstrations.content()}
    dataset = ActionChunks(demonstrations, horizons, actions, trained)
    policy = build_policy(config, normaliser)
    if world.is_main:
        count = sum(p.numel() for p in policy.parameters())
        print(
            f"{demonstrations.title}: {len(demonstrations)} demonstrations, {len(demonstrations.actions)} steps, "
            f"{len(dataset)} windows; policy of {count / 1e6:.2f}M parameters."
            + (f" {len(held)} episodes are held out." if len(held) else "")
        )
    selection: Selection | HeldOut
    if len(held):
        selection = HeldOut.of(config, policy.check_nfe, demonstrations, held, horizons, actions)
    elif own and config["evaluation"]["every"]:
        raise InputError(
            f"evaluation.every={config['evaluation']['every']}, but no episode is held out that could judge a policy "
            f"of task={OWN}: there are {len(demonstrations)}, and dataset.held_out={config['dataset']['held_out']}."
        )
    else:
        selection = Selection.of(config, policy.check_nfe)
    return training.train(
        config,
        policy,
        dataset,
        KIND,
        on_checkpoint=selection,
        protected=selection.protected,
        at_end=selection.finish,
    )


def task_name(demonstrations: Demonstrations) -> str:
    """The name in configs/task of what the demonstrations were recorded in; `own` for no environment of ours."""
    name: str = settings_of_data(demonstrations.env_args)["task"]
    return name


def check_task(demonstrations: Demonstrations, task: Mapping[str, Any]) -> None:
    """Raises `InputError` when the demonstrations are of another environment than the config's task, or of one with a
    setting that cannot be simulated here."""
    found, name = task_name(demonstrations), task["name"]
    if name in TASKS and name != found:
        recorded = "no environment of ours" if demonstrations.env_args is None else demonstrations.env_args["env_name"]
        raise InputError(
            f"{demonstrations.source} holds demonstrations of {recorded}, but task={name} is "
            f"{task_named(name).data_name}. Choose task={found}, or a file of the task."
        )
    if name == OWN:
        return
    try:
        spec_of_task(task, demonstrations.env_args)
    except InputError as error:
        raise InputError(f"{error} Or train without the simulator, by task=own.") from error


def schema_of(
    demonstrations: Demonstrations, normaliser: Normaliser, units: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the data decide about a policy; saved in its config. units: key (or `actions`) -> the unit of its numbers.

    Raises `InputError` for a unit of something that is not there.
    """
    units = units or {}
    if unknown := set(units) - {*demonstrations.observations, ACTIONS}:
        known = ", ".join((*demonstrations.observations, ACTIONS))
        raise InputError(f"dataset.units gives a unit of {min(unknown)}, which is not there; there is: {known}.")
    return {
        "observations": demonstrations.schema.to_config(),
        "action": demonstrations.actions.shape[1],
        "constant": normaliser.action.constant,
        "env_args": demonstrations.env_args,
        "rate": demonstrations.rate,
    } | given(
        labels={key: list(names) for key, names in demonstrations.labels.items()} or None,
        units=dict(units) or None,
    )


def next_command(config: Mapping[str, Any], nfe: Sequence[int], best: Path | None = None) -> str:
    """What to do with a trained policy; nfe: the numbers of network evaluations to begin with; best: the checkpoint
    that held-out episodes chose.
    """
    if best is not None or (config["schema"]["env_args"] is None and config["task"]["name"] in (OWN, *TASKS)):
        return command_line("isd_policy.deploy.bundle", checkpoint=best or config["run_dir"], out="policy.isd")
    return command_line("isd_policy.evaluate", checkpoint=config["run_dir"], nfe=nfe, episodes=100)


def best_of(trainer: Trainer) -> Path | None:
    """The checkpoint that held-out episodes chose; None where they judged none."""
    judged = trainer.on_checkpoint
    ranking = judged.ranking() if isinstance(judged, HeldOut) else []
    return ranking[0][0] if ranking else None
