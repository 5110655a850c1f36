"""LeRobot's data sets: written, read back, opened by LeRobot's own reader, and refused where they are broken."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import isd_policy
from isd_core.support.errors import InputError
from isd_policy import commands
from isd_policy.data import convert, inspect, read
from isd_policy.data.description import describe
from isd_policy.data.lerobot.video import VideoWriter
from isd_policy.data.lerobot.writer import write

pa = pytest.importorskip("pyarrow", reason="the lerobot-data extra is not installed")
pytest.importorskip("av", reason="the lerobot-data extra is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

LENGTHS = (12, 7)
N = sum(LENGTHS)
PYTHON = os.environ.get("ISD_LEROBOT_PYTHON", sys.executable)
"""The interpreter of an environment with LeRobot, which needs other versions than this package's tests."""


def pictures(height=32, width=48):
    """Each step has its own shade, ten apart, which videos keep to within two."""
    return np.repeat(np.arange(N, dtype=np.uint8) * 10, height * width * 3).reshape(N, height, width, 3)


@pytest.fixture
def demos():
    rng = np.random.default_rng(0)
    return isd_policy.Demonstrations.from_arrays(
        observations={"state": rng.normal(size=(N, 3)), "top": pictures(), "wrist": pictures(24, 24)},
        actions=rng.normal(size=(N, 2)),
        episode_ends=np.cumsum(LENGTHS),
        rate=10,
    )


@pytest.fixture
def written(demos, tmp_path):
    write(tmp_path / "set", demos, task="Push the block.")
    return tmp_path / "set"


@pytest.fixture
def older(demos, tmp_path):
    """The same in v2.1: a file for every episode."""
    root = tmp_path / "older"
    for e, (begin, end) in enumerate(((0, 12), (12, 19))):
        state, action = demos.observations["state"][begin:end], demos.actions[begin:end]
        table = {
            "observation.state": list(state),
            "action": list(action),
            "timestamp": np.arange(end - begin, dtype=np.float32) / 10,
            "frame_index": np.arange(end - begin),
            "episode_index": np.full(end - begin, e),
        }
        path = root / f"data/chunk-000/episode_{e:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(table), path)
        video = root / f"videos/chunk-000/observation.images.top/episode_{e:06d}.mp4"
        writer = VideoWriter(video, 10, 32, 48, "h264")
        for picture in pictures()[begin:end]:
            writer.write(picture)
        writer.close()
    features = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": {"motors": ["a", "b", "c"]}},
        "observation.images.top": {"dtype": "video", "shape": [32, 48, 3], "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": [2], "names": None},
    }
    info = {
        "codebase_version": "v2.1",
        "fps": 10,
        "features": features,
        "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "splits": {"train": "0:2"},
    }
    (root / "meta").mkdir()
    (root / "meta/info.json").write_text(json.dumps(info))
    rows = [{"episode_index": i, "tasks": [f"task {i}"], "length": n} for i, n in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("how", [{}, {"codec": "av1"}, {"pictures": "image"}], ids=["h264", "av1", "png"])
def test_what_is_written_is_read(demos, tmp_path, how, place):
    write(tmp_path / "set", demos, task="Push the block.", **how)
    found = read(tmp_path / "set", {"pictures": place})
    assert found.lengths.tolist() == list(LENGTHS) and found.rate == 10
    np.testing.assert_array_equal(found.observations["state"], demos.observations["state"])
    np.testing.assert_array_equal(found.actions, demos.actions)
    assert found.labels["state"] == ("state_0", "state_1", "state_2")
    exact = how.get("pictures") == "image"
    for key in ("top", "wrist"):
        for rows in ([[0, 0]], [[11, 11]], [[12, 13]], [[15, 18]]):
            seen = found.observations[key][np.array(rows)].astype(int)
            expected = demos.observations[key][np.array(rows)].astype(int)
            assert np.abs(seen - expected).max() <= (0 if exact else 2)


def test_numbers_without_a_state_are_joined_to_one(demos, tmp_path):
    rng = np.random.default_rng(1)
    other = isd_policy.Demonstrations.from_arrays(
        observations={"joints": rng.normal(size=(N, 2)), "grip": rng.normal(size=N)},
        actions=demos.actions,
        episode_ends=np.cumsum(LENGTHS),
        rate=10,
    )
    write(tmp_path / "set", other, task="Push.")
    found = read(tmp_path / "set", {})
    np.testing.assert_array_equal(found.state, other.state)
    assert found.schema.shapes == {"joints": (2,), "grip": (1,)}
    assert found.labels["joints"] == ("joints_0", "joints_1") and found.labels["grip"] == ("grip",)
    np.testing.assert_array_equal(
        read(tmp_path / "set", {"observation_keys": ["grip"]}).observations["grip"], other.observations["grip"]
    )
    (tmp_path / "set/meta/isd.json").unlink()  # as a set of LeRobot's own
    np.testing.assert_array_equal(read(tmp_path / "set", {}).observations["state"], other.state)


def test_the_older_version_is_read(older, demos):
    for place in ("memory", "disk"):
        found = read(older, {"pictures": place})
        np.testing.assert_array_equal(found.observations["state"], demos.observations["state"])
        seen = found.observations["top"][np.array([[12, 18]])].astype(int)
        assert np.abs(seen - pictures()[np.array([[12, 18]])].astype(int)).max() <= 2
    assert found.labels == {"state": ("a", "b", "c")}
    described = describe(older)
    assert described.kind == "LeRobot data set v2.1" and described.rate == 10
    assert described.masks["task 1"] == ("episode_000001",)
    assert read(older, {"filter_key": "task 1"}).lengths.tolist() == [7]


def test_from_the_command_line_and_back_with_its_environment(demo_file, tmp_path, capsys):
    out = tmp_path / "set"
    words = (f"data={demo_file}", f"out={out}", "format=lerobot", "lerobot.task=Lift the cube.")
    assert convert.main.run(*words) == 0
    found = read(out, {})
    assert found.rate == 20 and found.env_args["env_name"] == "Lift"
    np.testing.assert_array_equal(found.actions, read(demo_file, {}).actions)
    assert inspect.main.run(str(out)) == 0
    assert "rate: 20 Hz" in capsys.readouterr().out


def test_a_policy_is_trained_on_one(written, tmp_path):
    tiny = ["network=unet1d_small", "network.widths=[8,16]", "trainer.steps=1", "trainer.device=cpu"]
    tiny += ["trainer.batch_size=4", "dataset.observation_keys=[state]", f"run_dir={tmp_path / 'run'}"]
    assert commands.train.run("task=own", f"data={written}", *tiny) == 0
    assert isd_policy.load(tmp_path / "run").source.config["schema"]["rate"] == 10


# -- what is refused ---------------------------------------------------------------------------------------------------


def info(change):
    def made(root):
        path = root / "meta/info.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return made


def table(file, change):
    def made(root):
        found = parquet.read_table(root / file)
        parquet.write_table(change(found), root / file)

    return made


def column(name, values):
    def change(found):
        place = found.schema.get_field_index(name)
        return found.set_column(place, name, pa.array(values, found.schema.field(name).type))

    return change


DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
TOP = "videos/observation.images.top/chunk-000/file-000.mp4"


def another_codec(root):
    path = root / TOP
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))


def cut(root):
    (root / TOP).write_bytes((root / TOP).read_bytes()[:200])


def outside(root):
    shutil.move(root / TOP, root.parent / "elsewhere.mp4")
    (root / TOP).symlink_to(root.parent / "elsewhere.mp4")


BROKEN = {
    "no metadata": (lambda root: (root / "meta/info.json").write_text("{"), "info.json cannot be read"),
    "another version": (info(lambda i: i.update(codebase_version="v1.6")), "version v1.6; v3.0 and v2.1 are read"),
    "no rate": (info(lambda i: i.update(fps=0)), "says fps=0"),
    "another rate of the steps": (info(lambda i: i.update(fps=20)), "was recorded 0.100 s after.*fps=20"),
    "no actions": (info(lambda i: i["features"].pop("action")), "no feature `action`; it has observation.state"),
    "a feature without column": (
        info(lambda i: i["features"].update({"observation.force": {"dtype": "float32", "shape": [1]}})),
        "no column observation.force; it has observation.state",
    ),
    "another size": (
        info(lambda i: i["features"]["observation.state"].update(shape=[4])),
        "has 3 numbers a step, and meta/info.json says 4",
    ),
    "a file outside": (info(lambda i: i.update(data_path="../other.parquet")), "names the file .*not in the data set"),
    "a link outside": (outside, "is a link to .*elsewhere.mp4.*dataset.external=true"),
    "a missing video": (lambda root: (root / TOP).unlink(), "file-000.mp4 is missing, a video"),
    "a cut video": (cut, "file-000.mp4 cannot be decoded"),
    "a codec without decoder": (another_codec, "no decoder|codec that PyAV .* lacks|cannot be decoded"),
    "a missing file": (lambda root: (root / DATA).unlink(), "file-000.parquet is missing"),
    "a damaged file": (lambda root: (root / DATA).write_bytes(b"PAR1 no"), "file-000.parquet cannot be read"),
    "no episodes": (lambda root: shutil.rmtree(root / "meta/episodes"), "where v3.0 describes its episodes"),
    "an episode without steps": (table(EPISODES, column("length", [0, 7])), "episode 0 has no steps"),
    "steps that are lost": (table(DATA, lambda t: t.slice(0, 15)), "has 3 steps of episode 1, .* says 7"),
    "steps out of time": (
        table(DATA, column("timestamp", np.arange(N, dtype=np.float32) * 0.2)),
        "step 1 of episode 0 was recorded 0.200 s after its first",
    ),
    "NaN": (
        table(DATA, column("observation.state", [[0.0, 0.0, float("nan")]] * N)),
        "observation.state of episode 0 holds nan at step 0, column 2",
    ),
}


@pytest.mark.parametrize("change, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_set_is_refused_by_name(written, change, message):
    change(written)
    with pytest.raises(InputError, match=message) as caught:
        read(written, {"pictures": "memory"})
    assert str(written) in str(caught.value)


def test_a_video_of_another_rate_is_refused(written):
    writer = VideoWriter(written / TOP, 30, 32, 48, "h264")
    for picture in pictures():
        writer.write(picture)
    writer.close()
    with pytest.raises(InputError, match=r"has 30 frames a second, and meta/info\.json says fps=10"):
        read(written, {"pictures": "memory"})


def test_a_video_that_ends_before_is_refused(written):
    writer = VideoWriter(written / TOP, 10, 32, 48, "h264")
    for picture in pictures()[:15]:
        writer.write(picture)
    writer.close()
    with pytest.raises(InputError, match="has no frame 15"):
        read(written, {"pictures": "memory"})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rate": 30}, r"recorded at 10 steps a second, and dataset\.rate=30"),
        ({"observation_keys": ["depth"]}, "no observation `depth`; there is: state, top, wrist"),
        ({"filter_key": "valid"}, r"no filter key `valid` \(it has: train\)"),
        ({"action_key": "actions_abs"}, "no `actions_abs`"),
    ],
)
def test_what_the_set_does_not_have(written, options, message):
    with pytest.raises(InputError, match=message):
        read(written, options)


def test_what_cannot_be_written(demos, written, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        write(written, demos, task="Push.")
    unknown = isd_policy.Demonstrations.from_arrays(
        observations={"x": np.zeros((4, 1))}, actions=np.zeros((4, 1)), episode_ends=[4]
    )
    with pytest.raises(InputError, match="how many steps a second"):
        write(tmp_path / "new", unknown, task="Push.")
    with pytest.raises(InputError, match="codec=vp9: expected one of h264, av1"):
        write(tmp_path / "new", demos, task="Push.", codec="vp9")
    assert not (tmp_path / "new").exists()


# -- LeRobot's own reader ----------------------------------------------------------------------------------------------

THEIRS = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset

deltas = {"observation.state": [-0.1, 0.0], "action": [0.0, 0.1, 0.2]}
data = LeRobotDataset("isd/set", root=sys.argv[1], delta_timestamps=deltas, video_backend="pyav")
item = data[13]
print(json.dumps({
    "steps": len(data), "episodes": data.num_episodes, "fps": data.fps, "task": item["task"],
    "state": item["observation.state"].tolist(), "action": item["action"].tolist(),
    "shade": float(item["observation.images.top"].mean()) * 255,
    "stats": {key: data.meta.stats[key]["mean"].reshape(-1).tolist() for key in ("action", "observation.images.top")},
}))
"""


def test_lerobots_own_reader_opens_it(demos, tmp_path):
    probe = subprocess.run([PYTHON, "-c", "import lerobot.datasets"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip("there is no LeRobot here: ISD_LEROBOT_PYTHON names the interpreter of an environment with it")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for how in ({}, {"pictures": "image"}):
        out = tmp_path / f"set_{len(how)}"
        write(out, demos, task="Push the block.", **how)
        command = [PYTHON, "-c", THEIRS, str(out)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment | {"HF_HUB_OFFLINE": "1"}, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout.strip().splitlines()[-1])
        assert (said["steps"], said["episodes"], said["fps"], said["task"]) == (N, 2, 10, "Push the block.")
        np.testing.assert_allclose(said["state"], demos.observations["state"][12:14], rtol=1e-6)
        np.testing.assert_allclose(said["action"], demos.actions[13:16], rtol=1e-6)
        assert abs(said["shade"] - 130) <= 2
        np.testing.assert_allclose(said["stats"]["action"], demos.actions.mean(0), atol=1e-6)
        np.testing.assert_allclose(said["stats"]["observation.images.top"], [pictures().mean() / 255] * 3, atol=1e-6)
