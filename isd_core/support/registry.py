"""Objects from configs: `{_target_: package.Class, **fields}` becomes `package.Class(**fields)`, recursively.

Unlike `hydra.utils.instantiate` this needs no hydra, so that a saved policy loads anywhere, and it builds classes of
trusted packages only, so that a checkpoint from elsewhere cannot run other code.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from typing import Any

from isd_core.support.errors import InputError

TRUST_VARIABLE = "ISD_TRUSTED_PACKAGES"
OUR_PACKAGES = ("isd_core", "isd_policy", "isd_image", "envs")


def trusted_packages() -> tuple[str, ...]:
    """Our packages and those that the user names in `ISD_TRUSTED_PACKAGES` (comma-separated)."""
    extra = os.environ.get(TRUST_VARIABLE, "")
    return OUR_PACKAGES + tuple(name.strip() for name in extra.split(",") if name.strip())


def instantiate(config: Any, **extra: Any) -> Any:
    """Builds `config`; `extra` are further keyword arguments of the outermost target.

    Mappings without `_target_` and lists are rebuilt with their members instantiated; other values pass through.
    Raises `InputError` for an unknown or untrusted target and for fields that its constructor does not take.
    """
    if isinstance(config, Mapping):
        fields = {key: instantiate(value) for key, value in config.items() if key != "_target_"}
        if "_target_" not in config:
            return fields | extra
        return _construct(str(config["_target_"]), fields | extra)
    if isinstance(config, list | tuple):
        return [instantiate(value) for value in config]
    return config


def locate(target: str) -> Any:
    """The object that a dotted name such as `isd_core.times.BetaPair` stands for; `InputError` if there is none."""
    package = target.partition(".")[0]
    if package not in trusted_packages():
        raise InputError(
            f"The config names `{target}`, but only classes of {', '.join(trusted_packages())} are built. "
            f"If you trust the package, set {TRUST_VARIABLE}={package}."
        )
    module_name, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"The config names `{target}`, which cannot be imported: {error}.") from error


def _construct(target: str, fields: dict[str, Any]) -> Any:
    constructor = locate(target)
    try:
        inspect.signature(constructor).bind(**fields)
    except TypeError as error:
        given = ", ".join(sorted(fields))
        raise InputError(f"`{target}` cannot be built from the fields ({given}): {error}.") from error
    return constructor(**fields)
