import itertools
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from isd_core.support import cli
from isd_core.support.overrides import LISTS, MISSING, NAMES, PATHS, Override, apply, words

CONFIG = {"data": MISSING, "report": None, "run_dir": "runs/x", "checkpoint": MISSING, "filter_key": None}
NESTED = {"source": {"root": MISSING, "held_out": None, "split": 360}, "codec": {"source": None}, "device": "cpu"}
NUMBERS = {"steps": 3, "rate": 0.5, "nfe": [1, 2], "labels": None, "delay": None, "compile": False, "seconds": MISSING}


def given(*texts):
    """The config after some words, resolved."""
    config = OmegaConf.create(CONFIG | NESTED | NUMBERS)
    OmegaConf.set_struct(config, True)
    for text in texts:
        apply(config, Override.of(text))
    return config


ODD = [
    *(
        "my file (1).hdf5",
        "a=b",
        "a,b",
        "{x}",
        "[x",
        "it's",
        '"quoted"',
        "back\\slash\\",
        "Müller",
        "a#b",
        "a: b",
        "  ",
    ),
    *(
        "${steps}",
        "\\${steps}",
        "$HOME",
        "%d",
        "*",
        "20241127",
        "1e5",
        "true",
        "-1",
        "0x10",
        "glob(*)",
        "choice(a)",
        "@x",
    ),
]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("key", ["data", "report", "run_dir", "filter_key", "source.root", "codec.source", "device"])
def test_text_is_taken_as_it_stands(key, text):
    config = given(f"{key}={text}")
    assert OmegaConf.select(config, key) == text
    assert OmegaConf.create({"x": OmegaConf.to_container(config, resolve=True)}, flags={"allow_objects": True})
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    for part in key.split("."):
        plain = plain[part]
    assert plain == text


def test_every_mixture_of_backslashes_and_dollar_signs_is_taken_as_it_stands():
    for n in range(1, 5):
        for parts in itertools.product(["a", "\\", "${", "}", "'"], repeat=n):
            assert given(f"data={''.join(parts)}").data == "".join(parts)


@pytest.mark.parametrize(
    "word, value",
    [
        ("data=null", "null"),  # a path that is needed has no other meaning for it
        ("run_dir=null", "null"),
        ("report=null", None),
        ("codec.source=null", None),
        ("filter_key=null", None),
        ("device=null", None),
        ("report=true", "true"),
    ],
)
def test_null_is_none_where_the_field_may_be_none(word, value):
    assert OmegaConf.select(given(word), word.partition("=")[0]) == value


def test_the_home_folder_is_meant_by_a_tilde_in_a_path_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = given("data=~/x", "source.root=~", "run_dir=a/~", "filter_key=~/x")
    assert (config.data, config.source.root, config.run_dir, config.filter_key) == (
        "/home/me/x",
        "/home/me",
        "a/~",
        "~/x",
    )


@pytest.mark.parametrize(
    "word, value",
    [
        ("steps=5", 5),
        ("steps=1e4", 10_000),
        ("steps=0.5", 0.5),
        ("steps=null", None),
        ("steps=${source.split}", 360),
        ("rate=2", 2),
        ("rate=1e-3", 0.001),
        ("seconds=2.5", 2.5),
        ("seconds=a b", "a b"),
        ("source.split=7", 7),
        ("compile=true", True),
        ("compile=reduce-overhead", "reduce-overhead"),
        ("nfe=1", [1]),
        ("nfe=1,2,4", [1, 2, 4]),
        ("nfe=[4]", [4]),
        ("nfe=null", None),
        ("labels=3", [3]),
        ("labels=[3,7]", [3, 7]),
        ("labels=null", None),
        ("delay=50", 50),
        ("delay=[0,50]", [0, 50]),
        ("delay=0,50", [0, 50]),
    ],
)
def test_other_values_are_read(word, value):
    read = OmegaConf.select(given(word), word.partition("=")[0])
    assert read == value
    assert type(value) is type(read) or isinstance(value, list)


def test_the_words_of_values_give_the_values():
    values = {"run_dir": "~ab (1),=", "nfe": [1, 4], "steps": 7, "rate": 0.25, "report": None, "compile": True}
    config = given(*words(values | {"data": Path("a b")}))
    assert {key: config[key] for key in values} == values
    assert config.data == str(Path("a b").absolute())


# -- the fields that exist --------------------------------------------------------------------------------------------

PLAIN = {
    *("length", "step"),
    *("nfe", "batch", "second_nfe", "steps", "classes", "latent_scale", "omega", "t_min", "t_max", "max_steps", "lead"),
    *(
        "rate_limit",
        "workspace",
        "inference_delay_ms",
        "side",
        "rate",
        "reward",
        "candidates",
    ),  # numbers, and lists of them
    *("tangent", "bridge", "reader", "teacher"),  # with fields of their own
}


def untold():
    """(file, field) of every field whose default does not tell what it holds."""
    for path in sorted(cli.CONFIGS.rglob("*.yaml")):
        config = OmegaConf.load(path)
        for key, value in flat(OmegaConf.to_container(config)):
            if value is None or value == MISSING:
                yield path.relative_to(cli.CONFIGS), key


def flat(config):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat(value)
        elif key != "defaults":
            yield key, value


def test_every_field_that_may_hold_text_is_declared():
    fields = set(untold())
    undeclared = {f"{path}: {key}" for path, key in fields if key not in PATHS | NAMES | LISTS | PLAIN}
    assert not undeclared
    idle = (PATHS | NAMES | LISTS | PLAIN) - {key for _, key in fields} - {"reference", "run_dir"}
    assert not idle, "no config has these fields"
