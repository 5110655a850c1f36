from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_envs import demos, pictures
from isd_envs.demonstrations.recordings import load_recording, start_of
from isd_envs.engines.factory import make_engine
from isd_envs.engines.slot import EnvSlot
from isd_envs.rollouts.rollout import Request, rollout
from isd_envs.spec import EnvSpec

pytestmark = pytest.mark.render

SPEC = EnvSpec(cameras=("agentview",), picture_height=24, picture_width=32)


@pytest.fixture(scope="module", autouse=True)
def _renderer() -> None:
    """Skips where nothing can be drawn."""
    engine = make_engine(SPEC)
    engine.reset(0)
    try:
        engine.frame(8, 8, "agentview")
    except InputError as error:
        pytest.skip(str(error))


def test_pictures_of_a_file_are_those_of_the_environment(tmp_path: Path) -> None:
    """Drawn from states afterwards, a picture is that of the rollout."""
    source, out = tmp_path / "lift.hdf5", tmp_path / "pictures.hdf5"
    options = {"noise": 0.0, "extra_steps": 0, "max_steps": 100, "valid_fraction": 0.0}
    demos.generate(EnvSpec(), 1, 1, 4, source, **options)
    assert pictures.add_pictures(source, out, ["agentview", "robot0_eye_in_hand"], 24, workers=1) > 0
    env_slot = EnvSlot(EnvSpec(cameras=("agentview",), picture_height=24, picture_width=24))
    with h5py.File(out) as file:
        drawn, actions = file["data/demo_0/obs/agentview_image"][()], file["data/demo_0/actions"][()]
        assert file["data/demo_0/obs/robot0_eye_in_hand_image"].shape == drawn.shape
        start = start_of(recording := load_recording(source), recording.episodes[0], env_slot.engine)
    assert np.array_equal(env_slot.reset(start).observation["agentview_image"], drawn[0])
    after = env_slot.run_chunk(actions[:3], drawn=2).chunk.observations["agentview_image"]
    assert after.shape == (2, 24, 24, 3)
    assert np.abs(after[-1].astype(int) - drawn[3].astype(int)).mean() < 1  # sites are one substep old in the rollout


def test_only_the_last_pictures_of_a_chunk_are_drawn() -> None:
    env_slot = EnvSlot(SPEC)
    env_slot.reset(3)
    chunk = env_slot.run_chunk(np.zeros((6, 7)), drawn=2).chunk
    assert chunk.steps == 6
    assert chunk.observations["agentview_image"].shape == (2, 24, 32, 3)
    assert chunk.observations["object"].shape == (6, 10)


def test_a_policy_sees_its_last_pictures() -> None:
    seen: list[dict[str, np.ndarray]] = []

    def act(requests: list[Request]) -> np.ndarray:
        seen.extend(request.obs for request in requests)
        return np.tile([0.5, 0, 0, 0, 0, 0, 0.0], (len(requests), 4, 1))

    rollout(SPEC, [5], act, obs_horizon=2, max_steps=8)
    first, second = (obs["agentview_image"] for obs in seen)
    assert first.shape == second.shape == (2, 24, 32, 3)
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(second[0], second[1])


def test_an_unknown_camera_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "lift.hdf5"
    options = {"noise": 0.0, "extra_steps": 0, "max_steps": 100, "valid_fraction": 0.0}
    demos.generate(EnvSpec(), 1, 1, 4, source, **options)
    words = [f"data={source}", f"out={tmp_path / 'out.hdf5'}", "cameras=[ceiling]", "workers=1"]
    assert pictures.main.run(*words) == 2
    assert "agentview" in capsys.readouterr().err
    assert not (tmp_path / "out.hdf5").exists()
