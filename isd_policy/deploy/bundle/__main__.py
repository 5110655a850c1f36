"""`python -m isd_policy.deploy.bundle`: a checkpoint's policy as one folder that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_policy.backend import check_initial_noise
from isd_policy.deploy.bundle import card
from isd_policy.deploy.bundle import folder as bundle_folder
from isd_policy.loading import load_policy, open_saved
from isd_policy.simulation import environment_of


def licence_of_data(given: str | None, data: str) -> str | None:
    """The licence that the user names, or the one in the attributes of the data file, where it is there and says so."""
    if given is not None or not Path(data).is_file():
        return given
    import h5py

    if not h5py.is_hdf5(data):
        return None
    with h5py.File(data) as file:
        return card.licence_of(file["data"].attrs if "data" in file else file.attrs)


@command("deploy_bundle")
def main(cfg: DictConfig) -> None:
    """Packs a checkpoint's policy into one folder: weights, normaliser, schema with units and ranges, rates, hashes."""
    config = resolved(cfg)
    initial_noise = check_initial_noise(config["initial_noise"])
    saved = open_saved(config["checkpoint"])
    if isinstance(saved, bundle_folder.Bundle):
        raise InputError(f"{saved.path} is a bundle already. Give the checkpoint that it came from.")
    policy = load_policy(saved, config["weights"])
    nfe = policy.check_nfe(config["nfe"])
    licence = licence_of_data(config["licence"], saved.config["data"])
    content = card.card_of(
        policy,
        saved,
        environment_of(saved.config),
        weights=config["weights"],
        nfe=nfe,
        initial_noise=initial_noise,
        licence=licence,
    )
    out = bundle_folder.write(Path(config["out"]), content, saved.tensors(config["weights"]))
    size = sum(file.stat().st_size for file in out.iterdir())
    print(
        f"{content['task']}: {content['parameters'] / 1e6:.2f}M parameters, {nfe} NFE, {content['control_rate']:g} Hz, "
        f"{size / 1e6:.1f} MB; licence of the data: {licence or 'unknown (licence= names it)'}. Written: {out}. Next: "
        + command_line("isd_policy.deploy.serve", bundle=str(out))
    )


if __name__ == "__main__":
    main()
