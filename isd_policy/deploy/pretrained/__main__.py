"""`python -m isd_policy.deploy.pretrained`: a policy as a folder that LeRobot loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError


def convert(
    checkpoint: str | Path,
    out: Path,
    *,
    inputs: Mapping[str, str | Sequence[str]] | None = None,
    nfe: int | None = None,
    licence: str | None = None,
) -> dict[str, Any]:
    """Writes the policy of a run, checkpoint or bundle as LeRobot's folder `out`; returns the fields of its config.

    inputs: LeRobot's feature -> the policy's keys (None: as `isd_policy.data.convert` names them). nfe: network
    evaluations of a call (None: what a bundle says, 1 for a checkpoint). Raises `InputError` when there is something at
    `out`, for an export, and for inputs that do not fit.
    """
    from isd_policy.deploy.export.folder import Export
    from isd_policy.deploy.pretrained import features, folder
    from isd_policy.loading import WEIGHTS, load_policy, open_saved

    saved = open_saved(checkpoint)
    if isinstance(saved, Export):
        raise InputError(f"{saved.path} is an export, which holds graphs alone: give the checkpoint or a bundle.")
    only = saved.meta.get("weights")  # a bundle holds one kind
    policy = load_policy(saved, only)
    policy.use(nfe)
    average, model = (saved.tensors(only or name) for name in WEIGHTS)
    origin = {key: saved.meta.get(key, saved.meta.get("source", {}).get(key)) for key in ("git", "versions")}
    chosen = {name: getattr(policy, name) for name in ("nfe", "initial_noise", "candidates", "choose")}
    named = features.inputs_of(policy.schema, inputs)
    fields = features.fields_of(saved.config, named, origin, licence, **chosen)
    folder.write(out, fields, model, average, saved.meta.get("ema_updates", saved.step))
    return fields


@command("deploy_pretrained")
def main(cfg: DictConfig) -> None:
    """Writes a policy as a folder that LeRobot loads by the plug-in lerobot_policy_isd."""
    config = resolved(cfg)
    out = Path(config["out"])
    fields = convert(config["checkpoint"], out, inputs=config["inputs"], nfe=config["nfe"], licence=config["licence"])
    seen = "; ".join(f"{feature} is {' + '.join(keys)}" for feature, keys in fields["inputs"].items())
    print(
        f"{seen}; {fields['nfe']} NFE. Written: {out}. Next, where LeRobot and lerobot_policy_isd are: lerobot-eval "
        f"--policy.path={out} --env.type=..., or any command of LeRobot's with a policy."
    )


if __name__ == "__main__":
    main()
