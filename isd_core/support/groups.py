"""Groups of configs, of which a command chooses one: folders of YAML files, ours and those of `--config-dir`, and the
members that programs and installed distributions registered for the role of the group's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from isd_core.support.errors import InputError
from isd_core.support.overrides import Override
from isd_core.support.registry import ROLES, default_config, listed

HOUSE = ("isd_core", "isd_policy", "isd_image", "isd_envs")


@dataclass(frozen=True)
class Groups:
    """The groups in `ours` and in further folders, in which a group has the name that it has in ours."""

    ours: Path
    more: tuple[Path, ...] = ()

    @classmethod
    def of(cls, ours: Path, more: Sequence[Path]) -> Groups:
        """Raises `InputError` for a folder that is not there and for a file that two of them have."""
        seen = {path.relative_to(ours): path for path in ours.glob("*/**/*.yaml")}
        for folder in more:
            if not folder.is_dir():
                raise InputError(f"--config-dir {folder}: there is no such folder.")
            for path in sorted(folder.glob("*/**/*.yaml")):
                name = path.relative_to(folder)
                if name in seen:
                    raise InputError(
                        f"{path} has the name of {seen[name]}: rename it, so that it is clear which is meant."
                    )
                seen[name] = path
        return cls(ours, tuple(more))

    def choices(self, group: str) -> list[str]:
        """The names of a group's files; empty where there is no such group."""
        if not all(part.isidentifier() for part in group.split("/")):
            return []
        files = {path.stem for folder in (self.ours, *self.more) for path in (folder / group).glob("*.yaml")}
        return sorted(files | set(registered(group) if files else ()))

    def chosen_by(self, override: Override) -> bool:
        """Whether a word chooses a file of a group (and does not set fields of one, or one of another name)."""
        return bool(self.choices(override.key)) and not (override.text or "").startswith("{")

    def word(self, override: Override) -> str:
        """A choice as hydra reads it. Raises `InputError` for one that is not there."""
        if override.sign == "~" or override.text == "null":
            return f"~{override.target}"
        if override.text not in (choices := self.choices(override.key)):
            near = get_close_matches(override.text or "", choices, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"There is no {override.key} called `{override.text}`; known: {listed(choices)}.{guess}")
        if self._file(override.key, override.text) is None:
            # hydra composes files and what its store holds, both by folder and name
            folder, name = f"{override.key}/{override.text}".rsplit("/", 1)
            ConfigStore.instance().store(name, self._config(override.key, override.text), folder)
        return f"{override.sign}{override.target}={override.text}"

    def source(self, group: str, choice: str) -> str:
        """The text of a choice: its file, or its constructor's fields with their defaults."""
        file = self._file(group, choice)
        return OmegaConf.to_yaml(self._config(group, choice)) if file is None else file.read_text()

    def _file(self, group: str, choice: str) -> Path | None:
        places = [folder / group / f"{choice}.yaml" for folder in (self.ours, *self.more)]
        return next((place for place in places if place.is_file()), None)

    def _config(self, group: str, choice: str) -> dict[str, Any]:
        """A registered member's fields; those named after another group refer to what is chosen there.

        A role may give its members' configs itself (`isd_core.support.registry.declare_role`).
        """
        if (describe := ROLES[group].describe) is not None:
            return describe(choice)
        groups = [path.name for path in self.ours.iterdir() if path.is_dir()]
        return default_config(ROLES[group].get(choice), groups)

    def search_path(self) -> list[str]:
        """The words by which hydra finds the further folders."""
        quoted = [QuotedString(f"file://{folder}", Quote.single).with_quotes() for folder in self.more]
        return [f"hydra.searchpath=[{','.join(quoted)}]"] if quoted else []


def registered(group: str) -> list[str]:
    """The names of the role of that name that no file of ours presents: a program's own, and those of distributions."""
    role = ROLES.get(group)
    if role is None:
        return []
    described = role.describe is not None  # then our own members too have no files
    chosen = {
        name for name, member in role.members.items() if described or member.build.__module__.split(".")[0] not in HOUSE
    }
    return sorted(chosen | role.announced().keys())
