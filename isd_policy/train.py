"""`python -m isd_policy.train`: trains a policy on demonstrations."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from envs.tasks import Task, task_named
from isd_core.support.cli import command, resolved
from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_core.training import distributed
from isd_core.training.run import train
from isd_policy.build import KIND, actions_of, build_policy, fit_normaliser
from isd_policy.data import read_shared
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons
from isd_policy.selection import Selection
from isd_policy.validation import check_whole


def check_task(demonstrations: Demonstrations, task: Task) -> None:
    """Raises `InputError` when the demonstrations are of another environment than the config's task."""
    found = demonstrations.env_args["env_name"]
    if found != task.data_name:
        raise InputError(
            f"{demonstrations.source} holds demonstrations of {found}, but task={task.name} is {task.data_name}. "
            "Choose the task of the file, or a file of the task."
        )


def schema_of(demonstrations: Demonstrations) -> dict[str, Any]:
    """What the data decide about a policy; saved in its config."""
    return {
        "observations": demonstrations.schema.to_config(),
        "action": demonstrations.actions.shape[1],
        "env_args": demonstrations.env_args,
    }


@command("policy_train")
def main(cfg: DictConfig) -> None:
    """Trains a policy on demonstrations; the same command with the same run_dir resumes."""
    config = resolved(cfg)
    check_whole(config, "seed", least=0)
    horizons = Horizons(**config["horizons"])
    world = distributed.join(pick_device(config["trainer"]["device"]))
    demonstrations = read_shared(config["data"], config["dataset"], world)
    task = task_named(config["task"]["name"])
    check_task(demonstrations, task)
    config["schema"] = schema_of(demonstrations)
    actions = actions_of(config)
    dataset = ActionChunks(demonstrations, horizons, actions)
    policy = build_policy(config, fit_normaliser(demonstrations, actions))
    count = sum(p.numel() for p in policy.parameters())
    if world.is_main:
        print(
            f"{task.title}: {len(demonstrations)} demonstrations, {len(demonstrations.actions)} steps, {len(dataset)} "
            f"windows; policy of {count / 1e6:.2f}M parameters."
        )
    selection = Selection.of(config, policy.check_nfe)
    trainer = train(
        config,
        policy,
        dataset,
        KIND,
        on_checkpoint=selection,
        protected=selection.protected,
        at_end=selection.finish,
    )
    if world.is_main:
        print(
            f"Trained to step {trainer.step} in {trainer.seconds:.0f} s. Written: {config['run_dir']}. Next: "
            + command_line("isd_policy.evaluate", checkpoint=config["run_dir"], nfe=policy.usual_nfe, episodes=100)
        )


if __name__ == "__main__":
    main()
