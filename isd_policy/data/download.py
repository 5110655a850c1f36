"""`python -m isd_policy.data.download task=can kind=ph out=FILE.hdf5`: robomimic's public low-dimensional files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig

from isd_core.support.cli import command
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, sha256
from isd_core.support.overrides import command_line

REPOSITORY = "robomimic/robomimic_datasets"
KINDS = {
    "lift": ("ph", "mh", "mg"),
    "can": ("ph", "mh", "mg", "paired"),
    "square": ("ph", "mh"),
    "tool_hang": ("ph",),
    "transport": ("ph", "mh"),
}
"""Which data sets exist: proficient human, multi-human, machine-generated, paired."""


class Hub(Protocol):
    """The part of the hub's client that is used."""

    def sha256(self, name: str) -> str:
        """The SHA-256 that the hub gives for a file."""

    def fetch(self, name: str, folder: Path) -> Path:
        """Downloads a file into a folder; an interrupted download goes on. Returns its path."""


class HuggingFace:
    """The Hugging Face hub."""

    def __init__(self) -> None:
        try:
            import huggingface_hub
        except ImportError as error:
            raise InputError(f"The download needs the extra [hub] ({error}): pip install 'isd-flow[hub]'.") from error
        self._hub: Any = huggingface_hub

    def sha256(self, name: str) -> str:
        url = self._hub.hf_hub_url(REPOSITORY, name, repo_type="dataset")
        etag: str = self._hub.get_hf_file_metadata(url).etag
        return etag

    def fetch(self, name: str, folder: Path) -> Path:
        return Path(self._hub.hf_hub_download(REPOSITORY, name, repo_type="dataset", local_dir=folder))


def file_name(task: str, kind: str) -> str:
    """The file of a data set in the hub's repository; `InputError` for one that does not exist."""
    if task not in KINDS:
        raise InputError(f"robomimic has no data of task={task}; it has {', '.join(KINDS)}.")
    if kind not in KINDS[task]:
        raise InputError(f"robomimic has no kind={kind} of {task}; it has {', '.join(KINDS[task])}.")
    suffix = "_sparse" if kind == "mg" else ""
    return f"v1.5/{task}/{kind}/low_dim{suffix}_v15.hdf5"


def download(task: str, kind: str, out: Path, hub: Hub) -> None:
    """Fetches a data set to `out` and checks its SHA-256.

    Parts of an interrupted download are kept beside `out` and used by the next one. Raises `InputError` without a
    connection, and when the bytes are not those of the hub.
    """
    name, parts = file_name(task, kind), out.with_name(f".{out.name}.download")
    try:
        expected = hub.sha256(name)
        if out.exists() and sha256(out) == expected:
            return
        fetched = hub.fetch(name, parts)
    except Exception as error:
        raise InputError(
            f"{REPOSITORY}/{name} cannot be downloaded ({type(error).__name__}: {error}). Check the connection and "
            f"give the command again: it goes on where it was. Or fetch the file elsewhere and put it at {out}."
        ) from error
    if (found := sha256(fetched)) != expected:
        shutil.rmtree(parts)
        raise InputError(
            f"{name} arrived damaged (SHA-256 {found}, the hub says {expected}) and was removed. Give the command "
            "again."
        )
    with atomic_write(out) as temporary:
        shutil.move(fetched, temporary)
    shutil.rmtree(parts)


@command("data_download")
def main(cfg: DictConfig) -> None:
    """Downloads a data set of robomimic (v1.5, low-dimensional) and checks it. Run again, it continues."""
    out = Path(str(cfg.out))
    download(str(cfg.task), str(cfg.kind), out, HuggingFace())
    steps = command_line("isd_policy.data.inspect", data=str(out)), command_line("isd_envs.replay", data=str(out))
    print(f"Written: {out}. Next: {'; '.join(steps)}")


if __name__ == "__main__":
    main()
