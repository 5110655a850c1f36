"""Any HDF5 or zarr of episodes, by a mapping."""

import h5py
import numpy as np
import pytest
import torch

import isd_policy
from isd_core.support.errors import InputError
from isd_policy import commands
from isd_policy.data import inspect, read
from isd_policy.data.description import describe
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons

LENGTHS = (5, 9, 3)
ENDS = np.cumsum(LENGTHS)
RNG = np.random.default_rng(0)
STATE = RNG.normal(size=(17, 3)).astype(np.float32)
ACT = RNG.uniform(-1, 1, (17, 2)).astype(np.float32)
CAMERA = RNG.integers(0, 256, (17, 6, 8, 3), np.uint8)
MAPPED = {"observations": {"state": "obs/state", "wrist": "obs/cam0"}, "actions": "act"}


def spans():
    return zip([0, *ENDS[:-1]], ENDS, strict=True)


def groups(file):
    """An episode is a group."""
    for i, (a, b) in enumerate(spans()):
        episode = file.create_group(f"log/run_{8 + i}")  # run_10 comes after run_9
        episode["obs/state"], episode["obs/cam0"], episode["act"] = STATE[a:b], CAMERA[a:b], ACT[a:b]


def flat(file):
    """All episodes follow each other."""
    file["obs/state"], file["obs/cam0"], file["act"] = STATE, CAMERA, ACT


def ends(file):
    flat(file)
    file["meta/episode_ends"] = ENDS


def numbers(file):
    flat(file)
    file["where"] = np.repeat([4, 5, 7], LENGTHS)


def starts(file):
    flat(file)
    file["where"] = ENDS - LENGTHS


def flags(file):
    flat(file)
    file["terminals"], file["timeouts"] = np.zeros((2, 17), bool)
    file["terminals"][4], file["timeouts"][13] = True, True  # and the last episode was cut off


def one_array_each(file):
    for i, (a, b) in enumerate(spans()):
        file[f"states/{i}"], file[f"cams/{i}"], file[f"acts/{i}"] = STATE[a:b], CAMERA[a:b], ACT[a:b]


STARRED = {"observations": {"state": "states/*", "wrist": "cams/*"}, "actions": "acts/*"}
LAYOUTS = {
    "groups": (groups, MAPPED),
    "groups, named": (groups, MAPPED | {"episodes": ["log/run_*"]}),
    "ends": (ends, MAPPED),
    "ends, named": (ends, MAPPED | {"episodes": ["meta/episode_ends"]}),
    "starts": (starts, MAPPED | {"episodes": ["where"]}),
    "a number for every step": (numbers, MAPPED | {"episodes": ["where"]}),
    "flags": (flags, MAPPED),
    "one flag": (flags, MAPPED | {"episodes": ["terminals", "timeouts"]}),
    "one array each": (one_array_each, STARRED),
}


@pytest.fixture
def make(tmp_path):
    """make(fill): an HDF5 file of that layout."""

    def made(fill, change=lambda file: None):
        path = tmp_path / "data.hdf5"
        with h5py.File(path, "w") as file:
            fill(file)
            change(file)
        return path

    return made


@pytest.mark.parametrize("pictures", ["memory", "disk"])
@pytest.mark.parametrize("fill, options", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_the_same_episodes(make, fill, options, pictures):
    found = read(make(fill), options | {"pictures": pictures})
    assert found.lengths.tolist() == list(LENGTHS)
    np.testing.assert_array_equal(found.observations["state"], STATE)
    np.testing.assert_array_equal(found.actions, ACT)
    windows = ActionChunks(found, Horizons(2, 4, 2))
    batch = windows.batch(torch.arange(len(windows)))
    whole = isd_policy.Demonstrations.from_arrays(
        observations={"state": STATE, "wrist": CAMERA}, actions=ACT, episode_ends=ENDS
    )
    expected = ActionChunks(whole, Horizons(2, 4, 2)).batch(torch.arange(len(windows)))
    assert torch.equal(batch["obs"]["wrist"], expected["obs"]["wrist"])
    assert torch.equal(batch["action"], expected["action"])


def test_a_zarr_store_is_read_alike(tmp_path):
    zarr = pytest.importorskip("zarr", reason="the zarr extra is not installed")
    group = zarr.open_group(tmp_path / "data.zarr", mode="w")
    for name, values in {"obs/state": STATE, "obs/cam0": CAMERA, "act": ACT, "meta/episode_ends": ENDS}.items():
        group.create_array(name, data=values)
    for pictures in ("memory", "disk"):
        found = read(tmp_path / "data.zarr", MAPPED | {"pictures": pictures})
        np.testing.assert_array_equal(found.observations["wrist"][np.arange(5, 9)[None]][0], CAMERA[5:9])
        np.testing.assert_array_equal(found.actions, ACT)
    assert describe(tmp_path / "data.zarr", MAPPED).observations == {"state": (3,), "wrist": (6, 8, 3)}


def test_a_mapping_of_robomimics_layout_is_what_its_reader_reads(demo_file):
    mapped = read(demo_file, {"observations": {"object": "obs/object"}, "actions": "actions"})
    own = read(demo_file, {"observation_keys": ["object"]})
    np.testing.assert_array_equal(mapped.observations["object"], own.observations["object"])
    np.testing.assert_array_equal(mapped.actions, own.actions)
    assert mapped.names == own.names


def test_arrays_are_joined_and_pictures_turned(make):
    def change(file):
        file["more"] = STATE[:, 0]
        file["turned"] = np.moveaxis(CAMERA, -1, 1)

    path = make(ends, change)
    options = {"observations": {"all": ["obs/state", "more"], "wrist": "turned"}, "actions": ["act", "more"]}
    for pictures in ("memory", "disk"):
        found = read(path, options | {"pictures": pictures})
        np.testing.assert_array_equal(found.observations["all"], np.concatenate([STATE, STATE[:, :1]], axis=1))
        np.testing.assert_array_equal(found.observations["wrist"][np.arange(9)[None]][0], CAMERA[:9])
    assert found.actions.shape == (17, 3)
    assert describe(path, options).actions == {"actions": 3}


def remove(name):
    return lambda file: file.__delitem__(name)


def replace(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


REFUSED = {
    "nothing is mapped": (groups, None, {"actions": "act"}, r"dataset\.observations=\{state: PATH\}.*log/run_\*/act"),
    "no actions": (groups, None, {"observations": {"a": "obs/state"}}, r"has to be said: dataset\.actions"),
    "an array that is not there": (ends, None, {**MAPPED, "actions": "action"}, "are to be action, .*It holds act"),
    "an observation that is not there": (
        ends,
        None,
        {**MAPPED, "observations": {"a": "obs/joints"}},
        "the observation `a` is to be obs/joints, which is not there.*obs/state",
    ),
    "one that an episode lacks": (groups, remove("log/run_9/obs/state"), MAPPED, "log/run_9/obs/state, which is not"),
    "actions that an episode lacks": (
        groups,
        remove("log/run_9/act"),
        MAPPED,
        "that episode has no actions",
    ),
    "lengths": (groups, replace("log/run_9/obs/state", STATE[:4]), MAPPED, "has 4 steps, and the actions.*have 9"),
    "lengths of one array": (ends, replace("obs/state", STATE[:9]), MAPPED, "obs/state has 9 steps.*end at 17"),
    "an episode without steps": (groups, replace("log/run_9/act", ACT[:0]), MAPPED, "run_9 has no steps"),
    "ends of an episode without steps": (
        ends,
        replace("meta/episode_ends", np.array([5, 5, 17])),
        MAPPED,
        "episode 1 has no steps",
    ),
    "ends that do not fit": (
        ends,
        replace("meta/episode_ends", np.array([5, 12])),
        MAPPED,
        "5 to 12 in 2 entries",
    ),
    "episodes nobody divides": (flat, None, MAPPED, r"does not say where its episodes end.*dataset\.episodes"),
    "flags of another length": (flags, None, {**MAPPED, "episodes": ["terminals", "no"]}, "no, which is not there"),
    "no numbers": (ends, replace("obs/state", np.array([b"a"] * 17)), MAPPED, "expected numbers"),
    "NaN": (ends, replace("obs/state", np.full((17, 3), np.nan)), MAPPED, "of episode_0 holds nan at step 0"),
    "sizes": (
        groups,
        replace("log/run_9/obs/state", STATE[:9, :2]),
        MAPPED,
        "2 numbers a step in run_9",
    ),
    "pictures that differ": (
        groups,
        replace("log/run_9/obs/cam0", CAMERA[:9, :4]),
        MAPPED,
        r"\[6, 8, 3\] in run_8 and \[4, 8, 3\] in run_9",
    ),
    "another kind of actions": (ends, None, {**MAPPED, "action_key": "actions_abs"}, "no `actions_abs`"),
    "an unknown key": (
        ends,
        None,
        {**MAPPED, "observation_keys": ["depth"]},
        "no observation `depth`; there is",
    ),
    "a star in a flat file": (ends, None, {**MAPPED, "observations": {"a": "obs/*"}}, "one array for each episode"),
    "a rate that is none": (ends, None, {**MAPPED, "rate": 0}, r"dataset\.rate=0"),
    "a reader that takes no mapping": (ends, None, {**MAPPED, "reader": "robomimic"}, "no field `actions`"),
    "an unknown reader": (ends, None, {"reader": "nobodys"}, "no reader called `nobodys`.*mapping.*isd_flow.readers"),
    "a file of no known layout": (ends, None, {}, r"no reader knows it .*act \[2\].*dataset\.observations="),
}


@pytest.mark.parametrize("fill, change, options, message", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_by_name(make, fill, change, options, message):
    path = make(fill, change or (lambda file: None))
    with pytest.raises(InputError, match=message) as caught:
        read(path, options)
    assert str(path) in str(caught.value) or "dataset." in str(caught.value)


def test_a_rate_that_is_not_the_files_is_refused(demo_file):
    assert read(demo_file, {"observation_keys": ["object"], "rate": 20}).rate == 20
    with pytest.raises(InputError, match=r"recorded at 20 steps a second, and dataset\.rate=10"):
        read(demo_file, {"observation_keys": ["object"], "rate": 10})


def test_the_command_line_and_python_take_the_same(make, tmp_path):
    path = make(groups)
    words = ["dataset.observations={state: obs/state}", "dataset.actions=act", "dataset.episodes=log/run_*"]
    tiny = ["network.widths=[8,16]", "trainer.batch_size=4", "trainer.steps=1", "trainer.device=cpu"]
    code = commands.train.run(
        "task=own",
        f"data={path}",
        "dataset.rate=15",
        *words,
        *tiny,
        f"run_dir={tmp_path / 'run'}",
        "network=unet1d_small",
    )
    assert code == 0
    config = isd_policy.load(tmp_path / "run").source.config
    assert config["schema"]["rate"] == 15 and config["task"]["observation_keys"] == ["state"]
    demos = isd_policy.read(
        path, observations={"state": "obs/state"}, actions="act", episodes="log/run_*", rate=15, external=False
    )
    assert demos.content() == config["content"]["data"]
    trained = isd_policy.train(
        demos,
        network="unet1d_small",
        steps=1,
        run_dir=tmp_path / "second",
        **{"network.widths": [8, 16], "trainer": {"batch_size": 4, "device": "cpu"}},
    )
    assert trained.source.config["dataset"]["observations"] == {"state": "obs/state"}


def test_inspect_says_what_can_be_done(make, capsys):
    words = ["observations={state: obs/state}", "actions=act"]
    assert inspect.main.run(str(make(groups)), *words) == 0
    printed = capsys.readouterr().out
    assert "train: yes, task=own" in printed
    assert "replay: no, it names no environment" in printed
    assert "evaluate: no, it names no environment" in printed
    assert "rate: unknown (dataset.rate=HZ says it)" in printed
