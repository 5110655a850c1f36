"""What the experiments' command lines share: flags, exit codes, written tables, and the machine that they ran on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from isd_core.support import machine as hardware
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, write_json
from isd_core.training.checkpoint import provenance

Main = Callable[[argparse.Namespace], int]


def parser(name: str, about: str, quick: str) -> argparse.ArgumentParser:
    """The flags that every experiment has: --out, --quick and --workers."""
    result = argparse.ArgumentParser(prog=f"python scripts/experiments/{name}.py", description=about)
    result.add_argument(
        "--out", type=Path, default=Path("runs/experiments") / name, help="folder of the results; it is continued"
    )
    result.add_argument("--quick", action="store_true", help=quick)
    about = "cells computed at once (default: all cores)"
    result.add_argument("--workers", type=int, default=hardware.cores(), help=about)
    return result


def run(main: Main, flags: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Runs `main` with the parsed flags; returns its exit code, 2 for an `InputError`, 130 when interrupted."""
    try:
        values = flags.parse_intermixed_args(arguments)
        if getattr(values, "workers", 1) < 1:
            raise InputError(f"--workers={values.workers}: expected a number of at least 1.")
        return main(values)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a list with commas."""
    return tuple(float(word) for word in text.split(","))


def machine() -> dict[str, Any]:
    """Processor, cores, load, GPU, versions and revision: what a number should be read with."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return hardware.machine() | {"load": round(os.getloadavg()[0], 1), "gpu": gpu} | provenance()


def described(about: dict[str, Any]) -> str:
    """`machine()` in one line."""
    gpu = f", {about['gpu']}" if about["gpu"] else ""
    return (
        f"{about['processor']}, {about['cores']} cores (load {about['load']}){gpu}, torch {about['versions']['torch']}"
    )


def write(out: Path, content: dict[str, Any], markdown: str) -> None:
    """Writes `table.json` and `table.md` into `out`."""
    write_json(out / "table.json", content)
    with atomic_write(out / "table.md") as temporary:
        temporary.write_text(markdown.rstrip() + "\n")
