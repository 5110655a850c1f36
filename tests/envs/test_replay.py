from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_envs import replay
from isd_envs.engines import render
from isd_envs.engines.compiled.engine import CompiledEngine
from isd_envs.engines.slot import EnvSlot
from isd_envs.rollouts import film
from isd_envs.rollouts.results import actions_path, load_results, save_actions
from isd_envs.rollouts.rollout import Episode
from isd_envs.spec import EnvSpec

SPEC = EnvSpec()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result file with one success and one failure."""
    env_slot = EnvSlot(SPEC)
    demonstration = env_slot.demonstrate(1, 0, 0.05, max_steps=100, extra_steps=0)
    reset = env_slot.reset(5)
    idle = np.zeros((10, 7))
    episodes = [
        Episode(0, True, len(demonstration.actions), demonstration.start, demonstration.actions, 0.0, 1.0),
        Episode(1, False, 10, reset.start, idle, 0.0, 0.0),
    ]
    path = tmp_path_factory.mktemp("results") / "eval.json"
    save_actions(path, {"1": episodes})
    content = {
        "protocol": {"environment": SPEC.to_dict()},
        "results": {"1": {"episodes": [{"index": e.index, "success": e.success} for e in episodes]}},
        "starts": [episode.start for episode in episodes],
    }
    files.write_json(path, content)
    return path


def command(*overrides: str) -> int:
    return replay.main.run(*overrides)


def test_recorded_episodes_end_as_recorded(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(f"results={results}") == 0
    assert "2 of 2 episodes end as recorded." in capsys.readouterr().out


def test_a_different_ending_is_named(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = files.read_json(results)
    content["results"]["1"]["episodes"][1]["success"] = True
    copy = tmp_path / results.name
    files.write_json(copy, content)
    actions_path(copy).write_bytes(actions_path(results).read_bytes())
    command(f"results={copy}")
    assert "others: [1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "override, message", [("episodes=[2]", "episodes 0 to 1"), ("nfe=4", "no results for nfe=4"), ("out=3", "")]
)
def test_a_wrong_choice_is_named(
    results: Path, override: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "film_episodes", lambda *_, **__: [])
    assert command(f"results={results}", override) == (2 if message else 0)
    assert message in capsys.readouterr().err


def test_a_result_file_without_actions_is_named(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.json"
    copy.write_bytes(results.read_bytes())
    with pytest.raises(InputError, match=r"other\.actions\.npz does not exist"):
        load_results(copy)


def test_another_kind_of_json_is_named(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(InputError, match="no result file"):
        load_results(tmp_path / "x.json")


def test_actions_of_another_evaluation_are_refused(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "eval.json"
    copy.write_bytes(results.read_bytes())
    save_actions(copy, {"1": [Episode(0, True, 3, {}, np.zeros((3, 7)), 0.0, 1.0)]})
    with pytest.raises(InputError, match="another evaluation"):
        load_results(copy)


@pytest.mark.render
def test_films_and_a_contact_sheet_are_written(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    pytest.importorskip("PIL", reason="Pillow is not installed")
    engine = CompiledEngine(SPEC)
    engine.reset(1)
    try:
        engine.frame(64, 64, "agentview")
    except InputError as error:
        pytest.skip(str(error))
    episodes = load_results(results).episodes["1"][1:]
    written = replay.film_episodes(engine, episodes, tmp_path, size=64, camera="agentview", every=5, rate=4)
    assert [path.name for path in written] == ["nfe1_episode0001.mp4", "nfe1_episode0001.gif", "contact_sheet.png"]
    assert all(path.stat().st_size > 200 for path in written)
    with pytest.raises(InputError, match="agentview"):
        engine.frame(64, 64, "ceiling")


def test_captions_and_sheets_have_the_right_size(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frame = film.captioned(np.zeros((32, 40, 3), np.uint8), "episode 1")
    assert frame.shape == (32 + film.CAPTION_HEIGHT, 40, 3)
    film.contact_sheet(tmp_path / "sheet.png", [[frame, frame], [frame]])
    assert image.open(tmp_path / "sheet.png").size == (80, 2 * frame.shape[0])


def test_an_animation_holds_every_frame_at_its_rate_and_stays_at_its_end(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frames = [np.full((32, 40, 3), 200, np.uint8) for _ in range(6)]
    for i, frame in enumerate(frames):
        frame[10:14, 4 * i : 4 * i + 4] = (200, 60, 50)
    film.write_gif(tmp_path / "a.gif", frames, rate=10, hold=1.0)
    animation = image.open(tmp_path / "a.gif")
    assert (animation.n_frames, animation.info["duration"]) == (6, 100)
    animation.seek(5)
    assert animation.info["duration"] == 1100


def test_frames_are_spread_over_the_episode() -> None:
    frames = [np.full((1, 1, 3), i) for i in range(11)]
    assert [int(frame[0, 0, 0]) for frame in film.spread(frames, 3)] == [0, 5, 10]
    assert len(film.spread(frames[:2], 8)) == 2


def test_the_users_choice_of_a_renderer_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert render.backend(tmp_path) == "glfw"
    monkeypatch.delenv("MUJOCO_GL")
    assert render.backend(tmp_path) == "osmesa"


def test_a_renderer_that_does_not_work_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import mujoco

    def fail(*_: object) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(mujoco, "Renderer", fail)
    engine = CompiledEngine(SPEC)
    engine.reset(1)
    with pytest.raises(InputError, match="libosmesa6"):
        engine.frame(33, 33, "agentview")


@pytest.mark.render
def test_drawing_does_not_break_torchs_optimizers() -> None:
    pytest.importorskip("triton", reason="this build of torch has no triton")
    code = (
        "import mujoco; from isd_envs.engines.render import picture\n"
        'xml = \'<mujoco><worldbody><camera name="a"/><geom size="1"/></worldbody></mujoco>\'\n'
        "model = mujoco.MjModel.from_xml_string(xml)\n"
        "try: picture(model, mujoco.MjData(model), 32, 32, 'a')\n"
        "except Exception as error: print(error)\n"
        "import torch; torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
