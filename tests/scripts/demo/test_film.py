"""Pictures of a rollout: an animation, a strip, and the sentence in their place."""

import numpy as np
import pytest
from PIL import Image

from scripts.demo import film
from scripts.setup import preflight
from scripts.setup.preflight import Finding


@pytest.fixture
def frames():
    """Twelve frames in which a square moves."""
    pictures = [np.full((film.SIZE, film.SIZE, 3), 200, np.uint8) for _ in range(12)]
    for step, picture in enumerate(pictures):
        picture[100:130, 10 * step : 10 * step + 30] = (200, 60, 50)
    return pictures


def run(monkeypatch, folder):
    monkeypatch.setattr("sys.argv", ["film", str(folder / "policy"), str(folder)])
    return film.main()


def test_the_strip_has_two_rows(frames, tmp_path):
    film.strip(frames, tmp_path / "a.png")
    width, height = Image.open(tmp_path / "a.png").size
    assert width > height > 2 * film.SIZE


def test_without_a_renderer_a_sentence_is_left(finished, monkeypatch, capsys):
    lacking = Finding("OSMesa", "there are no pictures", "libosmesa6", fatal=False)
    monkeypatch.setattr(preflight, "check_rendering", lambda: lacking)
    assert run(monkeypatch, finished) == 0
    assert "libosmesa6" in (finished / "rollout.txt").read_text()


def test_a_folder_without_a_policy_ends_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preflight, "check_rendering", lambda: None)
    assert run(monkeypatch, tmp_path) == 2
    assert capsys.readouterr().err.startswith("error: ")
