"""From a checkpoint to a bundle: what `Policy.save` and `python -m isd_policy.deploy.bundle` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_policy.backend import check_initial_noise
from isd_policy.candidates import check_candidates
from isd_policy.deploy.bundle import card
from isd_policy.deploy.bundle import folder as bundle_folder
from isd_policy.environment import environment_of
from isd_policy.policy import Policy


def pack(
    policy: Policy,
    out: Path,
    *,
    weights: str = "ema",
    nfe: int = 1,
    initial_noise: str = "gaussian",
    candidates: int = 1,
    choose: str = "medoid",
    licence: str | None = None,
) -> dict[str, Any]:
    """Writes a policy that was loaded from a checkpoint as the bundle `out`, and returns its card.

    weights: which of the checkpoint's it has. nfe, initial_noise, candidates, choose: of calls that name none. licence:
    of the training data; None: what the data file says. Raises `InputError` when there is something at `out` already,
    and for a policy that was loaded from a bundle.
    """
    saved = policy.source
    assert saved is not None
    if isinstance(saved, bundle_folder.Bundle):
        raise InputError(f"{saved.path} is a bundle already. Give the checkpoint that it came from.")
    check_candidates(candidates, choose, initial_noise)
    content = card.card_of(
        policy,
        saved,
        None if saved.config["schema"]["env_args"] is None else environment_of(saved.config),
        weights=weights,
        nfe=policy.check_nfe(nfe),
        initial_noise=check_initial_noise(initial_noise),
        candidates=candidates,
        choose=choose,
        licence=licence_of_data(licence, saved.config["data"]),
    )
    bundle_folder.write(out, content, saved.tensors(weights))
    return content


def licence_of_data(given: str | None, data: str) -> str | None:
    """The licence that the user names, or the one in the attributes of the data file, where it is there and says so."""
    if given is not None or not Path(data).is_file():
        return given
    import h5py

    if not h5py.is_hdf5(data):
        return None
    with h5py.File(data) as file:
        return card.licence_of(file["data"].attrs if "data" in file else file.attrs)
