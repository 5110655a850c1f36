"""Replays of demonstrations: `python -m isd_envs.replay data=FILE`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_envs import demos, replay
from isd_envs.demonstrations.recordings import load_recording, start_of
from isd_envs.engines.factory import make_engine
from isd_envs.spec import EnvSpec


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations of Lift, the second of which is cut off before it succeeds."""
    out = tmp_path_factory.mktemp("demos") / "lift.hdf5"
    options = {"noise": 0.05, "extra_steps": 2, "max_steps": 100, "valid_fraction": 0.0}
    demos.generate(EnvSpec(), 2, 1, 5, out, **options)
    with h5py.File(out, "r+") as file:
        for key in ("actions", "states"):
            values = file[f"data/demo_1/{key}"][()]
            del file[f"data/demo_1/{key}"]
            file[f"data/demo_1/{key}"] = values[:20]
    return out


def command(*words: str) -> int:
    return replay.main.run(*words)


def test_successes_are_counted_and_failures_named(demonstrations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(f"data={demonstrations}") == 0
    printed = capsys.readouterr().out
    assert "1 of 2 demonstrations succeed" in printed
    assert "not: demo_1" in printed
    assert "robosuite 1.5.2" in printed


def test_robosuites_own_layout_with_a_model_beside_the_file(
    demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What robosuite's collection script writes: env, env_info, repository_version and the name of a model's file."""
    raw = tmp_path / "demo.hdf5"
    shutil.copy(demonstrations, raw)
    (tmp_path / "models").mkdir()
    with h5py.File(raw, "r+") as file:
        data = file["data"]
        env_args = json.loads(data.attrs["env_args"])
        del data.attrs["env_args"]
        data.attrs["env"], data.attrs["repository_version"] = "Lift", "1.5.2"
        data.attrs["env_info"] = json.dumps(env_args["env_kwargs"])
        for name, demo in data.items():
            (tmp_path / "models" / f"{name}.xml").write_text(str(demo.attrs["model_file"]))
            demo.attrs["model_file"] = f"{name}.xml"
    assert command(f"data={raw}") == 0
    assert "1 of 2 demonstrations succeed" in capsys.readouterr().out
    (tmp_path / "models" / "demo_0.xml").unlink()
    assert command(f"data={raw}") == 2
    assert "demo_0.xml" in capsys.readouterr().err


def test_the_start_has_the_recorded_cube(demonstrations: Path) -> None:
    recording = load_recording(demonstrations)
    engine = make_engine(recording.spec)
    start = start_of(recording, recording.episodes[0], engine)
    with h5py.File(demonstrations) as file:
        expected = json.loads(file["data/demo_0"].attrs["start"])
    assert start == expected


def test_a_model_of_another_simulator_is_refused(demonstrations: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.hdf5"
    shutil.copy(demonstrations, copy)
    with h5py.File(copy, "r+") as file:
        values = file["data/demo_0/states"][()]
        del file["data/demo_0/states"]
        file["data/demo_0/states"] = values[:, :-2]
    recording = load_recording(copy)
    with pytest.raises(InputError, match="30 numbers; in this simulator Lift has 32"):
        start_of(recording, recording.episodes[0], make_engine(recording.spec))


@pytest.mark.parametrize("words", [(), ("data=a", "results=b"), ("data=absent.hdf5",)])
def test_bad_input(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*words) == 2
    assert capsys.readouterr().err.startswith("error: ")


# -- Push-T ------------------------------------------------------------------------------------------------------------


def followed(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(largest distance from the recorded places (px), best coverage) of each episode of a recording, replayed."""
    pytest.importorskip("gym_pusht", reason="the pusht extra is not installed")
    recording = load_recording(path)
    engine = make_engine(recording.spec)
    off, coverage = [], []
    for episode in recording.episodes:
        start = start_of(recording, episode, engine)
        engine.reset_to(start)
        chunk = engine.run(episode.actions, until_success=False)
        places = np.concatenate([chunk.observations["agent_pos"], chunk.observations["block_pos"]], axis=1)
        off.append(np.abs(places[:-1] - episode.states[1:, :4]).max())
        coverage.append(0.95 * chunk.best if chunk.best < 1 else _best_coverage(engine, start, episode.actions))
    return np.array(off), np.array(coverage)


def _best_coverage(engine: Any, start: dict[str, Any], actions: np.ndarray) -> float:
    """The coverage itself, which the score cuts off at .95."""
    engine.reset_to(start)
    found = []
    for action in actions:
        engine.run(action[None])
        found.append(engine.world._get_coverage())
    return max(found)


def test_human_episodes_stay_on_their_recorded_states(pytestconfig: pytest.Config) -> None:
    off, coverage = followed(pytestconfig.rootpath / "tests/data/pusht/three_episodes.zarr.zip")
    assert off.max() < 1e-3
    assert coverage.min() > 0.85


def test_all_human_episodes(pytestconfig: pytest.Config) -> None:
    """The whole recording, where it is beside the checkout.

    Recorded states are float32. In one episode contact enlarges that rounding a million times; from a start within it,
    half a unit in the last place of the angle, the episode is followed like the others.
    """
    path = pytestconfig.rootpath.parent / "shared/data/pusht/pusht_cchi_v7_replay.zarr.zip"
    if not path.exists():
        pytest.skip(f"the recording of 206 episodes is not at {path}")
    off, coverage = followed(path)
    assert np.flatnonzero(off > 0.01).tolist() == [107]
    assert off[107] < 0.2
    assert np.delete(off, 107).max() < 2e-3
    assert coverage.mean() == pytest.approx(0.8995, abs=5e-5)
