"""Hostile files given to each command: whichever way one comes in, nothing in it runs, and it is refused in words."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from isd_core.support.cli import Command, compose_config
from isd_core.support.files import read_json
from isd_core.training import checkpoint
from isd_envs.rollouts.results import actions_path
from isd_image import evaluate as image_evaluate
from isd_image import sample as image_sample
from isd_policy import run as policy_run
from isd_policy.commands import evaluate as policy_evaluate
from isd_policy.deploy.bundle import __main__ as bundle
from isd_policy.deploy.client.policy import RemotePolicy
from isd_policy.deploy.export import __main__ as export
from isd_policy.deploy.export.folder import PROGRAM
from isd_policy.deploy.serve import __main__ as serve
from scripts.benchmarks.attacks import material
from scripts.benchmarks.attacks.hostile import (
    HUGE,
    Change,
    card_changes,
    chosen,
    config_changes,
    image_changes,
    image_checkpoint,
    programs,
    put,
    tried,
    write_hostile,
)
from scripts.benchmarks.attacks.tally import Tally

LONGEST = 60.0
"""Seconds of one attempt: an export takes some of them when nothing is wrong."""
MODULE = "hostile_package"
Act = Callable[[Path, Path], Any]
"""(hostile file, empty folder) -> what the command made of it, as arrays."""


def call(command: Command, *words: str) -> None:
    """A command in this process, silent; what it raises is raised."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        command.function(compose_config(command.config_name, words))


# -- what each command makes of a file ---------------------------------------------------------------------------------


def evaluated(path: Path, out: Path) -> dict[str, np.ndarray]:
    """The executed actions of two episodes."""
    call(policy_evaluate, f"checkpoint={path}", "episodes=2", "nfe=[1]", f"out={out / 'eval.json'}")
    with np.load(actions_path(out / "eval.json"), allow_pickle=False) as stored:
        return dict(stored)


def driven(path: Path, out: Path) -> dict[str, np.ndarray]:
    """How the loop went in simulated time."""
    words = ["inference_delay_ms=[0]", "episodes=1", "blend=0", f"out={out / 'run.json'}"]
    call(policy_run.main, f"checkpoint={path}", *words)
    rows = read_json(out / "run.json")["rows"]
    return {f"{row['strategy']}/{key}": np.array(row[key]) for row in rows for key in ("mean_score", "jerk", "starved")}


def bundled(path: Path, out: Path) -> np.ndarray:
    """The first actions of the bundle."""
    call(bundle.main, f"checkpoint={path}", f"out={out / 'policy.isd'}")
    return material.load_and_act(out / "policy.isd")


def exported(path: Path, out: Path) -> np.ndarray:
    """The actions of the exported program on zeros."""
    call(export.main, f"bundle={path}", "formats=[program]", f"out={out / 'policy.export'}")
    program = torch.export.load(out / "policy.export" / PROGRAM)
    actions: np.ndarray = program.module()({"state": torch.zeros(1, 2, 3)}, torch.zeros(1, 16, 1)).detach().numpy()
    return actions


def served(path: Path, out: Path) -> np.ndarray:
    """What a client gets from the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers: list[np.ndarray] = []

    def ask() -> None:
        try:
            with RemotePolicy(f"ws://127.0.0.1:{port}", timeout=10, retry=LONGEST) as policy:
                policy.reset(0)
                answers.append(policy.act({"state": np.zeros(3, np.float32)}))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask, daemon=True).start()
    call(serve.main, f"bundle={path}", f"port={port}", "threads=null")
    return answers[0]


def sampled(path: Path, out: Path) -> np.ndarray:
    """Two images."""
    words = ["count=2", "nfe=[1]", "device=cpu", f"out={out / 'images.npz'}"]
    call(image_sample.main, f"checkpoint={path}", *words)
    with np.load(out / "images.npz", allow_pickle=False) as stored:
        images: np.ndarray = stored["arr_0"]
    return images


def judged(path: Path, out: Path) -> np.ndarray:
    """The distances of twenty images from the held-out ones."""
    words = ["count=20", "nfe=[1]", "device=cpu", "reference=held_out", f"out={out / 'fid.json'}"]
    call(image_evaluate.main, f"checkpoint={path}", *words)
    return np.array(list(read_json(out / "fid.json")["nfe"]["1"].values()))


def judged_files(samples: Path, reference: Path, path: Path, out: Path) -> np.ndarray:
    """The same of samples in a file; of `samples` and `reference` the one that does not exist is the hostile `path`."""
    given, wanted = (place if place.exists() else path for place in (samples, reference))
    words = [f"samples={given}", f"reference={wanted}", "device=cpu", "extractor=pixels"]
    call(image_evaluate.main, *words, f"out={out / 'fid.json'}")
    return np.array(list(read_json(out / "fid.json")["nfe"]["given"].values()))


# -- hostile files -----------------------------------------------------------------------------------------------------


def environment_changes(marker: Path) -> Iterator[tuple[str, Change]]:
    """Every hostile change of what a policy's config says of its environment."""
    env_args = ("schema", "env_args")
    for name, value in programs(marker).items():
        yield f"env_args is {name}", put(*env_args, value=value)
        for key in ("type", "env_name", "env_kwargs", "success", "observations", "score"):
            yield f"env_args.{key} is {name}", put(*env_args, key, value=value)
        for key in ("kwargs", "success", "observations"):
            yield f"task.{key} is {name}", put("task", key, value=value)
    ids = (f"{MODULE}:Pendulum-v1", "subprocess:Popen", "../Pendulum-v1", "Pendulum-v1\0", "", "A" * 100_000)
    for odd in ids:
        yield f"the environment {odd[:30]!r}", _both(odd)
    yield "a package that a task names", put("task", "package", value=MODULE)
    yield "an argument that opens a window", put("task", "kwargs", value={"render_mode": "human"})
    yield "an argument that no environment has", put("task", "kwargs", value={"stranger": 1})
    large = {"rate": (HUGE, 10**30), "max_steps": ()}  # longer episodes are a choice, and other results are then right
    for key, more in large.items():
        for number in (*more, -1, 0, 1.5e-300, float("nan"), "8", [8], True):
            yield f"task.{key} = {number}", put("task", key, value=number)


def _both(name: str) -> Change:
    """An environment's name in the task and in the data."""

    def change(config: dict[str, Any]) -> None:
        config["task"]["id"] = name
        config["schema"]["env_args"]["env_name"] = name

    return change


def robot_changes(marker: Path) -> Iterator[tuple[str, Change]]:
    """Every hostile change of the settings of robosuite in a policy's config."""
    keys = ("robots", "controller_configs", "control_freq", "lite_physics", "gripper_types", "initialization_noise")
    sizes: dict[str, Any] = {f"{size}": size for size in (HUGE, 10**30, -1, 0, 0.5, float("nan"), float("inf"))}
    for key in (*keys, "camera_names", "model_file", "placement_initializer"):
        for name, value in (programs(marker) | sizes).items():
            yield f"env_kwargs.{key} is {name}", put("schema", "env_args", "env_kwargs", key, value=value)
    for name, value in programs(marker).items():
        yield f"env_args.env_name is {name}", put("schema", "env_args", "env_name", value=value)
        yield f"env_args.env_version is {name}", put("schema", "env_args", "env_version", value=value)


def source_changes(marker: Path) -> Iterator[tuple[str, Change]]:
    """Every hostile change of a config of images, its data included."""
    yield from image_changes(marker)
    for name, value in programs(marker).items():
        yield f"data.source is {name}", put("data", "source", value=value)
        yield f"codec.source is {name}", put("codec", "source", value=value)
    size: Any
    for key in ("channels", "size", "classes"):
        for size in (HUGE, 2**62, -1, 1.5, "8", None):
            yield f"data.{key} = {size}", put("data", key, value=size)
    download = {"type": "torchvision_cifar10", "root": str(marker), "download": True, "mirror": False}
    yield "a source that downloads", put("data", "source", value=download)


def image_files(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Files of samples, or of statistics, that are none, with what they are."""

    def npz(name: str, **arrays: Any) -> Path:
        np.savez(folder / f"{name}.npz", **arrays)
        return folder / f"{name}.npz"

    good = np.zeros((20, 8, 8, 1), np.uint8)
    yield "pickled objects", npz("objects", arr_0=np.array([_Touches(marker)], object))
    yield "pickled labels", npz("labels", arr_0=good, arr_1=np.array([_Touches(marker)] * 20, object))
    yield "a pickled description", npz("about", arr_0=good, about=np.array([_Touches(marker)], object))
    yield "a description nested 100,000 deep", npz("nested", arr_0=good, about=np.array("[" * 100_000))
    for name, text in {"a list": "[]", "null": "null", "a class": '{"samples": {"_target_": "os.system"}}'}.items():
        yield f"a description that is {name}", npz(name.replace(" ", "_"), arr_0=good, about=np.array(text))
    for name, text in {
        "without extractor": "{}",
        "with a text": '"x"',
        "with texts": _about("x"),
        "of one": _about([1]),
    }.items():
        file = npz(f"statistics_{name.replace(' ', '_')}", mu=np.zeros(64), sigma=np.eye(64), about=np.array(text))
        yield f"statistics with a description {name}", file
    yield "pickled statistics", npz("mu", mu=np.array([_Touches(marker)], object), sigma=np.eye(64))
    yield "statistics of no finite number", npz("nan", mu=np.full(64, np.nan), sigma=np.eye(64))
    yield "images of floats", npz("floats", arr_0=np.full((20, 8, 8, 1), np.nan))
    yield "no images", npz("none", arr_0=good[:0])
    yield "no array of that name", npz("names", other=good)
    yield "a picture of no size", npz("size", arr_0=np.zeros((20, 0, 8, 1), np.uint8))
    announced = npz("announced", arr_0=good)
    data = announced.read_bytes()
    announced.write_bytes(data.replace(b"(20, 8, 8, 1)", b"(9**9,8,8, 1)"))
    yield "a shape that is a sum", announced
    lying = npz("lying", arr_0=good)
    lying.write_bytes(lying.read_bytes().replace(b"(20, 8, 8, 1), }  ", b"(2000000, 8, 8, 1), }"[:18]))
    yield "a shape that lies", lying
    (folder / "text.npz").write_bytes(b"no archive")
    yield "no archive", folder / "text.npz"
    (pictures := folder / "pictures").mkdir()
    (pictures / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    yield "a folder with an EPS named .png", pictures


def _about(extractor: Any) -> str:
    return json.dumps({"source": {}, "extractor": extractor, "n": 3, "accuracy": None})


class _Touches:
    """Whoever unpickles it leaves the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


# -- the part ----------------------------------------------------------------------------------------------------------


def commands(out: Path, tries: int, seed: int) -> list[Tally]:
    """`tries` hostile files for each command, or as many as there are."""
    marker, package = out / "touched", out / "packages"
    package.mkdir()
    (package / f"{MODULE}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    sys.path.insert(0, str(package))
    try:
        return [*policies(out, marker, tries, seed), *images(out, marker, tries, seed)]
    finally:
        sys.path.remove(str(package))


def policies(out: Path, marker: Path, tries: int, seed: int) -> list[Tally]:
    """The commands of policies."""
    saved = checkpoint.load(material.write_checkpoint(out / "run", seed, material.write_swings))
    robot = checkpoint.load(material.write_checkpoint(out / "robot", seed))
    ours = list(config_changes(marker))
    changes = [*environment_changes(marker), *chosen(ours, tries, seed)]
    attempts: list[tuple[str, Act, list[tuple[str, Change]], Callable[[Change], Path]]] = []
    for name, act in (("evaluate", evaluated), ("run", driven), ("deploy.bundle", bundled)):
        attempts.append((name, act, changes, partial(_changed, out, saved)))
    of_robots = list(robot_changes(marker))
    attempts.append(("deploy.bundle, of robots", bundled, of_robots, partial(_changed, out, robot)))
    of_cards = [*card_changes(), *((name, _in_config(change)) for name, change in ours)]
    for name, act in (("deploy.export", exported), ("deploy.serve", served)):
        attempts.append((name, act, of_cards, partial(_bundled, out, saved)))
    return [
        attack(Tally(f"hostile files, isd_policy.{name}"), act, chosen(some, tries, seed), write, marker, out)
        for name, act, some, write in attempts
    ]


def images(out: Path, marker: Path, tries: int, seed: int) -> list[Tally]:
    """The commands of images."""
    meta, state = image_checkpoint(out, seed)
    changes = chosen(source_changes(marker), tries, seed)
    tallies = [
        attack(Tally(f"hostile files, isd_image.{name}"), act, changes, partial(_image, out, meta, state), marker, out)
        for name, act in (("sample", sampled), ("evaluate", judged))
    ]
    (folder := out / "files").mkdir()
    files, good, none = list(image_files(folder, marker)), out / "good", out / "none"
    good.mkdir()
    for number, picture in enumerate(np.random.default_rng(seed).integers(0, 256, (20, 8, 8), np.uint8)):
        Image.fromarray(picture).save(good / f"{number}.png")
    for what, places in (("samples", (none, good)), ("references", (good, none))):
        tally = Tally(f"hostile {what}, isd_image.evaluate")
        for name, path in files:
            tally.count(
                name, tried(partial(_fresh, partial(judged_files, *places), path, out), marker, seconds=LONGEST)
            )
        tallies.append(tally)
    return tallies


def attack(
    tally: Tally,
    act: Act,
    changes: list[tuple[str, Change]],
    write: Callable[[Change], Path],
    marker: Path,
    out: Path,
) -> Tally:
    """Counts what becomes of a file with each of the changes, in a process of its own."""
    expected = _fresh(act, write(lambda content: None), out)
    for name, change in changes:
        path = write(change)
        tally.count(name, tried(partial(_fresh, act, path, out), marker, expected, LONGEST))
    return tally


def _fresh(act: Act, path: Path, out: Path) -> Any:
    shutil.rmtree(place := out / "made", ignore_errors=True)
    place.mkdir()
    return act(path, place)


def _in_config(change: Change) -> Change:
    return lambda card: change(card["config"])


def _changed(out: Path, saved: checkpoint.Checkpoint, change: Change) -> Path:
    return write_hostile(out, saved.meta, change, saved.tensors("ema"))


def _bundled(out: Path, saved: checkpoint.Checkpoint, change: Change) -> Path:
    card = copy.deepcopy(material.card_of(saved))
    change(card)
    shutil.rmtree(place := out / "hostile.isd", ignore_errors=True)
    return material.folder.write(place, card, saved.tensors("ema"))


def _image(out: Path, meta: dict[str, Any], state: dict[str, torch.Tensor], change: Change) -> Path:
    return write_hostile(out, meta, change, state)
