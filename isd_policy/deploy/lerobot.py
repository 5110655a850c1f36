"""`python -m isd_policy.deploy.lerobot`: a policy drives a robot of LeRobot's, in an environment with LeRobot."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.files import write_json


def make_robot(fields: Mapping[str, Any]) -> Any:
    """A robot of LeRobot's from the fields of its config, `type` among them; not connected.

    Distributions that LeRobot knows as plug-ins may bring the type. Raises `InputError` without LeRobot, for an unknown
    type, and for fields that it does not have.
    """
    try:
        import draccus
        from lerobot.robots import RobotConfig, make_robot_from_config
        from lerobot.utils.import_utils import register_third_party_plugins
    except ImportError as error:
        raise InputError(f"A robot of LeRobot's needs the package lerobot ({error}): pip install lerobot.") from error
    register_third_party_plugins()
    if not isinstance(fields.get("type"), str):
        raise InputError(
            f"robot.type: which robot? LeRobot knows {', '.join(sorted(RobotConfig.get_known_choices()))}."
        )
    try:
        config = draccus.decode(RobotConfig, dict(fields))
    except Exception as error:  # draccus raises what it likes, with the reason in its text
        raise InputError(
            f"robot={dict(fields)}: LeRobot does not take this ({' '.join(str(error).split())})."
        ) from error
    return make_robot_from_config(config)


def drive(config: Mapping[str, Any], robot: Any) -> dict[str, Any]:
    """Connects the robot, drives it by the policy as a resolved config of deploy_lerobot says, and disconnects it.

    Returns the report. Raises `RuntimeError` when it had to be stopped.
    """
    import isd_policy
    from isd_policy.deploy.loop.lerobot_robot import LeRobotRobot, joint_guards
    from isd_policy.deploy.loop.runner import Runner
    from isd_policy.deploy.loop.settings import LoopSettings
    from isd_policy.validation import check_positive

    policy = isd_policy.load(config["checkpoint"], device=config["device"])
    policy.use(config["nfe"])
    known = policy.source.config["schema"].get("rate") if policy.source is not None else None
    rate = config["rate"] if config["rate"] is not None else known
    if rate is None:
        raise InputError("rate: the policy's data do not say how many actions a second it gives: give rate=HZ.")
    check_positive({**config, "rate": rate}, "seconds", "rate", *(["rate_limit"] if config["rate_limit"] else []))
    settings = LoopSettings(rate=float(rate), mode=config["mode"], blend=config["blend"], hold=config["hold"])
    guards = joint_guards(policy, config["rate_limit"])
    adapter = LeRobotRobot.of(policy, robot)  # refuses what does not fit before anything moves
    robot.connect()
    began = time.monotonic()
    with Runner(adapter, policy, guards, settings) as runner:
        report = runner.run(max(1, round(config["seconds"] * rate)))
    print(f"{report.sentence()}; {time.monotonic() - began:.1f} s, disconnected.")
    content: dict[str, Any] = report.to_dict()
    if config["out"] is not None:
        write_json(config["out"], content)
        print(f"Written: {config['out']}.")
    if report.fault is not None:
        raise RuntimeError(f"The robot was stopped: {report.fault}.")
    return content


@command("deploy_lerobot")
def main(cfg: DictConfig) -> None:
    """Drives a robot of LeRobot's by a policy: deadlines, guards, a watchdog; then disconnects it."""
    config = resolved(cfg)
    drive(config, make_robot(config["robot"]))


if __name__ == "__main__":
    main()
