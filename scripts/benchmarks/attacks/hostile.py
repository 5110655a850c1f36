"""Files made to do something else: configs that name programs, other roles, endless sizes. Nothing of it may happen."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isd_core.support.cli import compose_config, resolved
from isd_core.support.files import read_json
from isd_core.training import checkpoint
from isd_image.build import KIND as IMAGE
from isd_image.build import build_network, load_generator
from isd_image.model import ChannelNormaliser, ImageModel
from scripts.benchmarks.attacks import material
from scripts.benchmarks.attacks.tally import Tally, apart

SLOTS = ("path", "sampler", "network", "parametrisation", "encoder", "actions", "horizons", "schema", "task")
HUGE = 10**9
Change = Callable[[dict[str, Any]], None]


def programs(marker: Path) -> dict[str, Any]:
    """What a slot may not become, by name: programs, private and imported names, and members of other roles."""
    touch = ["touch", str(marker)]
    dotted: dict[str, dict[str, Any]] = {
        "a function of the standard library": {"_target_": "subprocess.run", "args": touch},
        "a class of the standard library": {"_target_": "subprocess.Popen", "args": touch},
        "a builtin": {"_target_": "builtins.exec", "source": f"open({str(marker)!r}, 'w')"},
        "a private name of ours": {"_target_": "isd_core.support.files._remove", "path": str(marker.parent)},
        "an imported module": {"_target_": "isd_core.training.checkpoint.subprocess.run", "args": touch},
        "a function of ours": {"_target_": "isd_core.support.files.write_json", "path": str(marker), "content": 1},
        "a class of ours with effects": {"_target_": "isd_core.training.loggers.JsonlLogger", "run_dir": str(marker)},
        "a registry's own function": {"_target_": "isd_core.support.registry.build", "role": "logger"},
    }
    typed = {f"{name}, as a type": {"type" if k == "_target_" else k: v for k, v in value.items()}
             for name, value in dotted.items()}  # fmt: skip
    roles = {
        "a logger": {"type": "jsonl", "run_dir": str(marker)},
        "an optimiser": {"type": "adamw", "lr": 1.0},
        "a curriculum": {"type": "linear", "begin": 0.0, "end": 1.0},
        "a data set": {"type": "folder", "root": str(marker.parent)},
        "a time law": {"type": "beta_pair", "a": 1.0, "b": 1.0},
        "a teacher": {"type": "teacher", "checkpoint": str(marker.parent)},
    }
    shapes = {
        "a text": "subprocess.run", "a list": touch, "nothing": None, "a number": 7, "an empty map": {},
        "a type that is a list": {"type": touch}, "a type that is a map": {"type": {"type": "linear"}},
        "a type that is a number": {"type": 7}, "a type of 100,000 letters": {"type": "a" * 100_000},
        "a type that climbs": {"type": "../../linear"},
    }  # fmt: skip
    return dotted | typed | roles | shapes


def deep(levels: int) -> dict[str, Any]:
    """A member within a member within a member."""
    value: dict[str, Any] = {"type": "linear"}
    for _ in range(levels):
        value = {"type": "flow_map", "path": value}
    return value


def put(*keys: str, value: Any) -> Change:
    """A change that sets one place of a config."""

    def change(config: dict[str, Any]) -> None:
        place = config
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def config_changes(marker: Path) -> Iterator[tuple[str, Change]]:
    """Every hostile change of a policy's config, with its name."""
    for name, value in programs(marker).items():
        for slot in SLOTS:
            yield f"{slot} is {name}", put(slot, value=value)
        yield f"sampler.path is {name}", put("sampler", "path", value=value)
        yield f"network has a field that is {name}", put("network", "hidden", value=value)
        yield f"network has a further field that is {name}", put("network", "stranger", value=value)
        yield f"actions.representation is {name}", put("actions", "representation", value=value)
    for levels in (20, 200):
        yield f"{levels} members within one another", put("sampler", value=deep(levels))
    size: Any
    for key in ("embedding", "hidden", "frequency_dim"):
        for size in (HUGE, 2**62, 10**30, -1, 0, 1.5, "8", None, True, [8]):
            yield f"network.{key} = {size}", put("network", key, value=size)
    for widths in ([HUGE, HUGE], [2**62], [], [0], [-8, 16], "8", [8] * 10_000, [[8]]):
        yield f"network.widths = {str(widths)[:40]}", put("network", "widths", value=widths)
    for key in ("observation", "prediction", "execution"):
        for size in (HUGE, 2**62, -1, 0, 2.5, "2", None):
            yield f"horizons.{key} = {size}", put("horizons", key, value=size)
    for size in ([HUGE], [2**62], [-1], [], [2.5], ["10"], None, "10"):
        yield f"an observation of shape {size}", put("schema", "observations", "object", value=size)
    for size in (HUGE, -1, 0, 2.5, "7", None):
        yield f"schema.action = {size}", put("schema", "action", value=size)


def card_changes() -> Iterator[tuple[str, Change]]:
    """Hostile changes of a bundle's card beside its config."""
    for nfe in (HUGE, 2**62, 10**30, 0, -1, 1.5, "1", [1], True):
        yield f"nfe = {nfe}", put("nfe", value=nfe)
    for noise in ("touch", "", None, 7, ["noise"], {"type": "noise"}):
        yield f"initial_noise = {noise}", put("initial_noise", value=noise)
    for weights in ("../../weights", "/etc/passwd", "model", None, 7):
        yield f"weights = {weights}", put("weights", value=weights)
    for kind in ("image", None, 7, ["policy"]):
        yield f"kind = {kind}", put("kind", value=kind)
    for config in ("null", "[]", '"text"', "7", "{}"):
        yield f"config = {config}", put("config", value=json.loads(config))


def chosen(changes: Iterable[tuple[str, Change]], tries: int, seed: int) -> list[tuple[str, Change]]:
    """At most `tries` of the changes, drawn by the seed."""
    every = list(changes)
    order = np.random.default_rng(seed).permutation(len(every))[:tries]
    return [every[number] for number in sorted(order)]


def policies(out: Path, tries: int, seed: int) -> list[Tally]:
    """Changes of a bundle with valid hashes and of a checkpoint."""
    marker = out / "touched"
    saved = checkpoint.load(material.write_checkpoint(out / "run", seed))
    expected = material.load_and_act(saved.path)
    card, state = material.card_of(saved), saved.tensors("ema")
    bundles, checkpoints = Tally("hostile bundles with valid hashes"), Tally("hostile checkpoints")
    changes = list(config_changes(marker))
    of_bundles = [*((name, _in_config(change)) for name, change in changes), *card_changes()]
    for name, change in chosen(of_bundles, tries, seed):
        hostile = copy.deepcopy(card)
        change(hostile)
        place = out / "hostile.isd"
        material.folder.write(place, hostile, state)
        bundles.count(name, tried(partial(material.load_and_act, place), marker, expected))
        shutil.rmtree(place)
    for name, change in chosen(changes, tries, seed):
        place = write_hostile(out, saved.meta, change, state)
        checkpoints.count(name, tried(partial(material.load_and_act, place), marker, expected))
    return [bundles, checkpoints, _nested_json(out, saved.path)]


def tried(act: Callable[[], Any], marker: Path, expected: Any = None, seconds: float = 10.0) -> str:
    """`apart`, and whether a program has run meanwhile."""
    happened = apart(act, expected, seconds)
    if marker.exists():
        marker.unlink()
        return "a program ran"
    return happened


def _in_config(change: Change) -> Change:
    return lambda card: change(card["config"])


def write_hostile(out: Path, meta: Mapping[str, Any], change: Change, state: Mapping[str, Any]) -> Path:
    """The checkpoint of that description and those weights, with a change to its config and a hash that is right."""
    shutil.rmtree(out / "hostile", ignore_errors=True)
    place = checkpoint.save(out / "hostile", 1, {"model": state, "ema": state}, meta)
    described = read_json(place / checkpoint.META)
    change(described["config"])
    (place / checkpoint.META).write_text(json.dumps(checkpoint.with_hash(described)))  # NaN, which our writer refuses
    return place


def _nested_json(out: Path, source: Path) -> Tally:
    """Descriptions that no parser should follow to their end."""
    tally = Tally("descriptions that are no descriptions")
    texts = {
        "100,000 lists": "[" * 100_000, "100,000 maps": '{"a":' * 100_000, "nothing": "", "null": "null",
        "a list": "[]", "a number of 10,000 digits": "9" * 10_000, "bytes": "\udcff\udcfe",
    }  # fmt: skip
    for name, content in texts.items():
        place = out / "nested"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place)
        (place / checkpoint.META).write_bytes(content.encode(errors="surrogateescape"))
        tally.count(name, apart(partial(material.load_and_act, place)))
    return tally


def image_checkpoint(out: Path, seed: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The description and the weights of a small model of digits."""
    words = ["data=digits", "network=dit_digits", f"run_dir={out / 'image'}", f"seed={seed}"]
    config = resolved(compose_config("image_train", words))
    model = ImageModel(build_network(config), ChannelNormaliser(torch.zeros(1), torch.ones(1)))
    return {"kind": IMAGE, "seed": seed, "config": config, **checkpoint.provenance()}, model.state_dict()


def image_changes(marker: Path) -> Iterator[tuple[str, Change]]:
    """Every hostile change of a config of images, with its name."""
    for slot in ("path", "sampler", "network", "parametrisation", "codec", "guidance"):
        for name, value in programs(marker).items():
            yield f"{slot} is {name}", put(slot, value=value)


def images(out: Path, tries: int, seed: int) -> Tally:
    """The same in a checkpoint of images."""
    marker = out / "touched"
    meta, state = image_checkpoint(out, seed)
    load_generator(write_hostile(out, meta, lambda config: None, state), "ema", "cpu")  # as it is it can be read
    tally = Tally("hostile checkpoints of images")
    for name, change in chosen(image_changes(marker), tries, seed):
        place = write_hostile(out, meta, change, state)
        tally.count(name, tried(partial(load_generator, place, "ema", "cpu"), marker))
    return tally


def hostile(out: Path, tries: int, seed: int) -> list[Tally]:
    """`tries` hostile bundles, checkpoints of policies and checkpoints of images, or as many as there are."""
    return [*policies(out, tries, seed), images(out, tries, seed)]
