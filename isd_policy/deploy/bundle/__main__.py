"""`python -m isd_policy.deploy.bundle`: a checkpoint's policy as one folder that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.overrides import command_line


@command("deploy_bundle")
def main(cfg: DictConfig) -> None:
    """Packs a checkpoint's policy into one folder: weights, normaliser, schema with units and ranges, rates, hashes."""
    from isd_policy.deploy.bundle.packing import pack  # torch waits until the words are understood
    from isd_policy.loading import load_policy, open_saved

    config = resolved(cfg)
    out = Path(config["out"])
    policy = load_policy(open_saved(config["checkpoint"]), config["weights"])
    options = {key: config[key] for key in ("weights", "nfe", "initial_noise", "candidates", "choose", "licence")}
    content = pack(policy, out, **options)
    size = sum(file.stat().st_size for file in out.iterdir())
    rate = "rate unknown" if content["control_rate"] is None else f"{content['control_rate']:g} Hz"
    print(
        f"{content['task']}: {content['parameters'] / 1e6:.2f}M parameters, {content['nfe']} NFE, {rate}, "
        f"{size / 1e6:.1f} MB; licence of the data: {content['data']['licence'] or 'unknown (licence= names it)'}. "
        f"Written: {out}. Next: {command_line('isd_policy.deploy.serve', bundle=out)}"
    )


if __name__ == "__main__":
    main()
