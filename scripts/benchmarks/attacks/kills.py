"""Trainings that are killed at random moments, and go on by the same command: the end is that of one never killed."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from isd_core.support import overrides
from isd_core.support.errors import InputError
from isd_core.support.processes import end_with_parent
from isd_core.training import checkpoint
from isd_core.training.loggers import LOG, read_log
from scripts.benchmarks.attacks import material
from scripts.benchmarks.attacks.tally import REFUSED, Tally, outcome

STEPS, EVERY = 40, 5
KILLS = 2
"""How often a training is killed before it may end."""
LONGEST = 300.0
PRELOADED = ["__main__", "h5py", "torch._dynamo", "isd_policy.training", "isd_policy.data.robomimic"]


def command(data: Path, run_dir: Path, seed: int) -> list[str]:
    """The training, as a user would type it."""
    words = [f"data={data}", f"run_dir={run_dir}", f"seed={seed}", "network=unet1d_small"]
    words += overrides.words(material.SMALL)
    words += [f"trainer.steps={STEPS}", f"trainer.checkpoint_every={EVERY}", "trainer.log_every=5"]
    return [*words, "trainer.batch_size=16", "trainer.warmup=5", "trainer.diagnose_every=0", "trainer.device=cpu"]


def train(words: list[str]) -> None:
    """`python -m isd_policy.train`, in a process that has imported it already; silent."""
    import torch

    end_with_parent()
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    sys.argv = ["isd_policy.train", *words]
    runpy.run_module("isd_policy.train", run_name="__main__", alter_sys=True)


def started(words: list[str]) -> BaseProcess:
    """A training in a process of its own."""
    # Not a fork of this process, which has threads; the server's children begin with the imports done.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=train, args=(words,))
    process.start()
    return process


def finish(words: list[str]) -> float:
    """Runs a training to its end; returns the seconds. Raises `RuntimeError` where it does not end well."""
    began, process = time.perf_counter(), started(words)
    process.join(LONGEST)
    if process.exitcode != 0:
        process.kill()
        raise RuntimeError(f"the training ended with {process.exitcode}")
    return time.perf_counter() - began


def state(run_dir: Path) -> dict[str, np.ndarray]:
    """All that the last checkpoint holds, and the log without its times."""
    saved = checkpoint.load(run_dir)
    if saved.step != STEPS:
        raise InputError(f"{saved.path} is not of the last step.")
    files = [Path(name).stem for name in saved.meta["sha256"]]
    arrays = {f"{name}/{key}": value.numpy() for name in files for key, value in saved.tensors(name).items()}
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in read_log(run_dir / LOG)]
    return arrays | {"log": np.array([repr(record) for record in records])}


def kills(out: Path, tries: int, seed: int) -> list[Tally]:
    """`tries` trainings, each killed up to `KILLS` times; the checkpoint and the log are those of one never killed."""
    data = material.write_demonstrations(out / "demos.hdf5", seed)
    finish(command(data, out / "first", seed))  # the first one starts the server of processes
    seconds = finish(command(data, out / "whole", seed))
    expected, rng = state(out / "whole"), np.random.default_rng(seed)
    result = Tally(f"a training of {STEPS} steps killed (-9) up to {KILLS} times")
    for number in range(tries):
        words, moments = command(data, out / f"killed{number}", seed), []
        for _ in range(KILLS):
            process, moment = started(words), float(rng.uniform(0.1, 1.1) * seconds)
            process.join(moment)
            moments.append(f"{moment:.2f} s" if process.exitcode is None else "after its end")
            process.kill()
            process.join()

        def resumed(words: list[str] = words, run_dir: Path = out / f"killed{number}") -> dict[str, np.ndarray]:
            finish(words)
            return state(run_dir)

        happened = outcome(resumed, expected)
        result.count(f"killed at {', '.join(moments)}", "it does not go on" if happened == REFUSED else happened)
    return [result]
