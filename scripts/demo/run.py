"""The first policy end to end, as the commands that a user would type; `bash scripts/demo.sh` prepares and calls it.

    python -m scripts.demo.run [--fresh] [--quick] [--seed N] [--dir DIR]

What is complete is kept, what was cut off continues, and the report tells the time of every step over all attempts.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from isd_core.support.errors import InputError
from isd_core.support.files import read_json, write_json
from isd_core.support.machine import cores
from isd_core.training import checkpoint
from scripts.demo.report import summary, write
from scripts.demo.results import DEMONSTRATIONS, FILM, LEDGER, NO_FILM, SETTINGS
from scripts.demo.stages import Ledger, Lock, Stage, StageFailed, run_command, run_stages
from scripts.setup import preflight


@dataclass(frozen=True)
class Settings:
    """What decides the demo's result. A folder holds the results of one set of them."""

    task: str = "lift"
    seed: int = 0
    demonstrations: int = 200
    network: str = "unet1d_small"
    trainer: str = "demo"
    steps: int = 1000
    batch_size: int = 128
    episodes: int = 100
    nfe: tuple[int, ...] = (1, 2, 4)
    rate: float = 20.0
    seconds: float = 10.0

    @classmethod
    def quick(cls, seed: int) -> Settings:
        """Everything once, at a size that shows only that it runs."""
        return cls(
            seed=seed, demonstrations=4, network="unet1d_small", steps=20, batch_size=32, episodes=4, seconds=2.0
        )


def stages(settings: Settings, folder: Path) -> list[Stage]:
    """The demo's commands in their order."""
    demos, policy, regression = folder / "demos.hdf5", folder / "policy", folder / "regression"
    workers = f"workers={min(cores(), 8)}"
    seed = f"seed={settings.seed}"
    nfe = f"nfe=[{','.join(map(str, settings.nfe))}]"

    def trained(run: Path) -> bool:
        return bool(checkpoint.steps(run)) and checkpoint.load(run).step >= settings.steps

    def train(objective: str, run: Path) -> tuple[str, ...]:
        return python(
            "isd_policy.train",
            f"task={settings.task}",
            f"data={demos}",
            f"objective={objective}",
            "path=linear",
            f"network={settings.network}",
            f"trainer={settings.trainer}",
            f"trainer.steps={settings.steps}",
            f"trainer.batch_size={settings.batch_size}",
            "trainer.device=cpu",
            seed,
            f"run_dir={run}",
        )

    def evaluate(run: Path, steps: str, out: Path) -> tuple[str, ...]:
        return python(
            "isd_policy.evaluate",
            f"checkpoint={run}",
            steps,
            f"episodes={settings.episodes}",
            seed,
            workers,
            f"out={out}",
        )

    def filmed() -> bool:
        could_not = (folder / NO_FILM).exists() and preflight.check_rendering() is not None
        return (folder / FILM).exists() or could_not

    results, baseline, loop = (folder / f"{name}.json" for name in ("eval", "regression_eval", "loop"))
    return [
        Stage(
            DEMONSTRATIONS,
            f"{settings.demonstrations} demonstrations",
            python(
                "isd_envs.demos",
                f"task={settings.task}",
                f"episodes={settings.demonstrations}",
                workers,
                seed,
                f"out={demos}",
            ),
            demos.exists,
        ),
        Stage("isd", "iSD training", train("isd", policy), lambda: trained(policy), (DEMONSTRATIONS,)),
        Stage(
            "regression",
            "regression training, the same budget",
            train("regression", regression),
            lambda: trained(regression),
            (DEMONSTRATIONS,),
        ),
        Stage("evaluation", "iSD rollouts", evaluate(policy, nfe, results), results.exists, ("isd",)),
        Stage(
            "regression_evaluation",
            "regression rollouts",
            evaluate(regression, "nfe=[1]", baseline),
            baseline.exists,
            ("regression",),
        ),
        Stage(
            "control_loop",
            "control loop",
            python(
                "isd_policy.run",
                f"checkpoint={policy}",
                f"rate={settings.rate:g}",
                f"seconds={settings.seconds:g}",
                seed,
                f"out={loop}",
            ),
            loop.exists,
            ("isd",),
        ),
        Stage(
            "film",
            "pictures of a rollout",
            python("scripts.demo.film", str(policy), str(folder), f"--seed={settings.seed}"),
            filmed,
            ("isd",),
        ),
    ]


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module with this Python."""
    return (sys.executable, "-m", module, *arguments)


def claim(folder: Path, settings: Settings) -> None:
    """Records the settings in the folder; raises `InputError` if it holds results of other settings."""
    wanted = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}
    if not (folder / SETTINGS).exists():
        write_json(folder / SETTINGS, wanted)
        return
    found = read_json(folder / SETTINGS)
    different = [f"{key}={found.get(key)} (now {wanted.get(key)})" for key in wanted if found.get(key) != wanted[key]]
    if different:
        raise InputError(
            f"{folder} holds a demo with {', '.join(different)}. Give --fresh to start over, or another --dir to keep "
            "both."
        )


def clear(folder: Path) -> None:
    """Empties a demo's folder, its lock apart; raises `InputError` if it is something else."""
    inside = [path for path in folder.iterdir() if path.name not in (".lock", SETTINGS)]
    if inside and not (folder / SETTINGS).exists():
        raise InputError(f"{folder} holds no demo, so --fresh does not remove it. Choose another --dir.")
    for path in inside:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / SETTINGS).unlink(missing_ok=True)  # last, so that a removal that was cut off can continue


def run(settings: Settings, folder: Path, fresh: bool) -> None:
    """Runs the demo in the folder, or what is left of it, and writes the report."""
    lock = Lock(folder / ".lock")
    try:
        if fresh:
            clear(folder)
        claim(folder, settings)
        ledger = Ledger(folder / LEDGER)
        run_stages(stages(settings, folder), ledger, lambda command, tick: run_command(command, tick, lock))
        print("\n" + summary(write(folder), folder))
    finally:
        lock.release()


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 0 (done), 2 (the input is wrong), 130 (interrupted), or the failed command's code."""
    parser = argparse.ArgumentParser(prog="bash scripts/demo.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="remove the results first")
    parser.add_argument("--quick", action="store_true", help="toy sizes: shows that it runs, not what it reaches")
    parser.add_argument("--seed", type=int, default=0, help="of demonstrations, training and evaluation")
    parser.add_argument("--dir", type=Path, help="where the results go (runs/demo, with --quick runs/demo-quick)")
    given = parser.parse_args(arguments)
    settings = Settings.quick(given.seed) if given.quick else Settings(seed=given.seed)
    folder = given.dir or Path("runs/demo-quick" if given.quick else "runs/demo")
    try:
        run(settings, folder, given.fresh)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StageFailed as error:
        print(f"error: {error}. What is complete is kept; the same command continues.", file=sys.stderr)
        return error.code or 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)  # here, not in main(): a call leaves the process's handlers alone
    sys.exit(main())
