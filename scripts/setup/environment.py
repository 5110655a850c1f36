"""Makes `.venv` and installs what the demo or the tests need, once: `python3.11 -m scripts.setup.environment demo`.

Standard library only. Running it again is free when pyproject.toml, constraints.txt and the wanted extras are those of
the last time; after an interruption it goes on.

Nothing is compiled and no screen library is needed: robosuite, robomimic and gym-pusht are installed without the
requirements that serve a keyboard device and a GPU probe (`LEFT_OUT`), and with OpenCV in its headless build
(`REPLACED`).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts.setup import preflight

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
STAMP = "isd-environment.json"
EXTRAS = {"demo": ("sim",), "test": ("dev",)}
EDITED = ("robosuite", "robomimic", "gym-pusht")
LEFT_OUT = ("pynput", "egl-probe")
BESIDE = {"dev": ("metaworld",)}
"""Packages of an extra's tests that pin an older mujoco and run with ours: installed without their requirements."""
REPLACED = {"opencv-python": "opencv-python-headless"}
# Bytes on disk and to download, measured with constraints.txt: (torch's default CUDA build, a CPU build).
DISK = {"demo": (8_000_000_000, 4_000_000_000), "test": (9_000_000_000, 5_000_000_000)}
DOWNLOAD = {"demo": ("2.9 GB", "0.7 GB"), "test": ("3.1 GB", "0.9 GB")}


def distribution_name(requirement: str) -> str:
    """`robomimic` from `robomimic>=0.3,<0.4`, normalised."""
    return re.split(r"[\s\[<>=!~;@]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-")


def requirements(project: dict, extras: Iterable[str]) -> list[str]:
    """The requirements of the project with the extras, its references to its own extras resolved."""
    wanted, todo, seen = list(project["dependencies"]), list(extras), set()
    while todo:
        extra = todo.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in project["optional-dependencies"][extra]:
            if distribution_name(requirement) == project["name"]:
                todo += re.findall(r"[\w-]+", requirement.partition("[")[2].partition("]")[0])
            else:
                wanted.append(requirement)
    return list(dict.fromkeys(wanted))


def edit(requires: Iterable[str]) -> list[str]:
    """A package's own requirements without extras' ones, with `LEFT_OUT` and `REPLACED` applied."""
    kept = []
    for requirement in requires:
        name = distribution_name(requirement)
        if "extra ==" in requirement or name in LEFT_OUT:
            continue
        kept.append(re.sub(r"^[\w.-]+", REPLACED.get(name, name), requirement.strip()))
    return kept


def fingerprint(root: Path, index_url: str) -> str:
    """Changes when the installed set would."""
    digest = hashlib.sha256()
    for part in ((root / "pyproject.toml").read_bytes(), (root / "constraints.txt").read_bytes(), index_url.encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def read_stamp(venv: Path) -> dict:
    """What the last complete installation recorded; empty after an interrupted one."""
    try:
        return json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return {}


def remove_half_installed(site_packages: Path) -> list[str]:
    """Removes the metadata of packages that an interrupted pip did not finish, so that it installs them again.

    pip writes INSTALLER after a package's files, and renames what it is about to replace to `~name`.
    """
    removed = []
    for folder in sorted(site_packages.glob("*.dist-info")) + sorted(site_packages.glob("~*")):
        if folder.name.startswith("~") or not (folder / "INSTALLER").exists():
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
            removed.append(folder.name)
    return removed


class Environment:
    """The virtual environment of this checkout."""

    def __init__(self, root: Path = ROOT, venv: Path = VENV) -> None:
        self.root, self.venv = root, venv
        self.python = venv / "bin" / "python"
        self.log = venv / "isd-install.log"
        self.index_url = os.environ.get("TORCH_INDEX_URL", "")
        self.started = time.monotonic()

    def make(self) -> None:
        """Makes the virtual environment unless a working one of this Python version is there."""
        probe = [str(self.python), "-c", "import sys, pip; print(*sys.version_info[:2])"]
        if self.python.exists():
            answer = subprocess.run(probe, capture_output=True, text=True)
            if answer.stdout.split() == [str(number) for number in sys.version_info[:2]]:
                return
            version = "{}.{}".format(*sys.version_info)
            print(f"{self.venv} holds no working Python {version} with pip: it is made anew.", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.venv)], check=True)

    def install(self, extras: Sequence[str]) -> None:
        """Installs the project (editable) with the extras, at the versions of constraints.txt."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
        wanted = requirements(project, extras)
        names = {distribution_name(requirement) for requirement in wanted}
        for folder in self.venv.glob("lib/python3.*/site-packages"):
            remove_half_installed(folder)
        if self.index_url:
            torches = [name for name in ("torch", "torchvision") if name in names]
            self.pip("--no-deps", "--index-url", self.index_url, *torches)
        edited = [requirement for requirement in wanted if distribution_name(requirement) in EDITED]
        if edited:
            self.pip("--no-deps", *edited)
        rest = [requirement for requirement in wanted if requirement not in edited]
        self.pip(*rest, *edit(self.requires(map(distribution_name, edited))))
        for extra in extras:
            if extra in BESIDE:
                self.pip("--no-deps", *BESIDE[extra])
        self.pip("--no-deps", "--editable", str(self.root))

    def requires(self, names: Iterable[str]) -> list[str]:
        """What the installed distributions require, from their metadata."""
        code = "import sys, json, importlib.metadata as m; print(json.dumps(sum(map(m.requires, sys.argv[1:]), [])))"
        answer = subprocess.run([self.python, "-c", code, *names], check=True, capture_output=True, text=True)
        return json.loads(answer.stdout)

    def pip(self, *arguments: str) -> None:
        """Installs with pip, its output in the log, showing what it downloads; exits with its last lines if it fails.

        Byte code is left to the first import: most of it is never imported.
        """
        constraints = str(self.root / "constraints.txt")
        environment = os.environ | {
            "PIP_CONSTRAINT": constraints,
            "PIP_BUILD_CONSTRAINT": constraints,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
        }
        flags = ["--no-compile", "--use-pep517", "--progress-bar", "off"]
        command = [str(self.python), "-m", "pip", "install", *flags, *arguments]
        with self.log.open("a") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.root
            )
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                log.flush()
                self.show(line.strip())
        if process.wait() == 0:
            return
        tail = "\n".join(self.log.read_text().splitlines()[-25:])
        print(f"\n{tail}\n\nerror: pip failed; the whole log is {self.log}. Running again continues.", file=sys.stderr)
        sys.exit(1)

    def show(self, line: str) -> None:
        """Big downloads and the long steps as lines; on a terminal, everything else as one status line."""
        elapsed = f"[{time.monotonic() - self.started:4.0f} s]"
        size = re.search(r"\((\d+(?:\.\d+)?) (MB|GB)\)", line)
        big = line.startswith("Downloading") and size and (size[2] == "GB" or float(size[1]) >= 100)
        if big or line.startswith("Installing collected"):
            text = line if len(line) <= 100 else line[:97] + "..."
            print(f"\r\033[K{elapsed} {text}" if sys.stdout.isatty() else f"{elapsed} {text}", flush=True)
        elif sys.stdout.isatty() and line:
            print(f"\r\033[K{elapsed} {line[:90]}", end="", flush=True)


def ensure(purpose: str, fresh: bool, environment: Environment) -> None:
    """Brings the environment to what `purpose` (demo or test) needs, or says that nothing is to be done."""
    stamp = read_stamp(environment.venv)
    if fresh and environment.venv.exists():
        if not stamp and not environment.log.exists():
            print(f"error: {environment.venv} was not made by this script; remove it yourself.", file=sys.stderr)
            sys.exit(2)
        shutil.rmtree(environment.venv)
        stamp = {}
    now = fingerprint(environment.root, environment.index_url)
    have = set(stamp.get("extras", ())) if stamp.get("fingerprint") == now and environment.python.exists() else set()
    wanted = set(EXTRAS[purpose])
    if wanted <= have or "dev" in have:
        preflight.require(preflight.check_machine(environment.root, needed=0))
        return
    small = int(bool(environment.index_url))
    new = not environment.python.exists()
    preflight.require(preflight.check_machine(environment.root, DISK[purpose][small] if new else 0))
    print(
        f"Installing into {environment.venv}: up to {DOWNLOAD[purpose][small]} to download"
        + (
            "." if small else f"; TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu makes it {DOWNLOAD[purpose][1]}."
        ),
        flush=True,
    )
    environment.make()
    (environment.venv / STAMP).unlink(missing_ok=True)
    environment.log.touch()
    environment.install(sorted(wanted | have))
    temporary = environment.venv / f"{STAMP}.tmp"
    temporary.write_text(json.dumps({"fingerprint": now, "extras": sorted(wanted | have)}))
    temporary.replace(environment.venv / STAMP)
    seconds = time.monotonic() - environment.started
    print(f"{chr(13) if sys.stdout.isatty() else ''}Installed in {seconds:.0f} s (log: {environment.log}).", flush=True)


def main() -> None:
    """Parses the command line and holds a lock, so that two scripts started together do not install at once."""
    parser = argparse.ArgumentParser(prog="scripts.setup.environment", description=__doc__.splitlines()[0])
    parser.add_argument("purpose", choices=sorted(EXTRAS))
    parser.add_argument("--fresh", action="store_true", help="remove .venv first")
    arguments = parser.parse_args()
    with (ROOT / "pyproject.toml").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another script is installing into .venv; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            ensure(arguments.purpose, arguments.fresh, Environment())
        except KeyboardInterrupt:
            print("\ninterrupted; running again continues", file=sys.stderr)
            sys.exit(130)


if __name__ == "__main__":
    main()
