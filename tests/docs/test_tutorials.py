"""The tutorials run from top to bottom and end where they say; they are stored without outputs."""

import json
import re

import pytest

from scripts.docs import tutorials

ENDS = {
    "first_policy": (r"(\d+)% of the episodes pass the obstacle", 70, 100),
    "images_from_folder": (r"accuracy of the shapes at 1 NFE: (\d+)%", 50, 100),
    "moving_picture": (r"median distance of one jump and two: ([\d.]+)", 0, 0.2),
    "own_data": (r"mean distance from the goal at the end: ([\d.]+)", 0, 0.3),
    "robot_loop": (r"The joint is at (-?[\d.]+) rad; it was told to stop: True", -0.2, 0.2),
}
"""What a tutorial prints, and between which numbers it is."""


def test_every_tutorial_has_an_end():
    assert tutorials.names() == sorted(ENDS)


@pytest.mark.parametrize("name", tutorials.names())
def test_a_tutorial_is_stored_without_outputs_and_with_its_pictures(name):
    cells = json.loads((tutorials.FOLDER / f"{name}.ipynb").read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
    drawn = [cell["metadata"]["picture"] for cell in cells if "picture" in cell["metadata"]]
    assert drawn and not [file for file in drawn if not (tutorials.MEDIA / file).is_file()]


def test_no_picture_is_left_of_a_tutorial_that_does_not_draw_it():
    pages = "".join((tutorials.FOLDER / f"{name}.ipynb").read_text() for name in tutorials.names())
    assert not [path.name for path in tutorials.MEDIA.iterdir() if f'"{path.name}"' not in pages]


def test_a_cell_without_its_picture_is_an_error():
    cell = type("Cell", (), {"metadata": {"picture": "a.png"}, "outputs": [{"output_type": "stream"}]})
    with pytest.raises(LookupError, match=r"a\.png"):
        tutorials.pictures(type("Notebook", (), {"cells": [cell]}))


def test_a_page_has_the_code_the_text_and_the_pictures(tmp_path):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "\n", "Text."]},
        {"cell_type": "code", "metadata": {"picture": "a.png", "alt": "A line"}, "source": ["draw()"]},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    text = tutorials.page(tmp_path / "a.ipynb")
    assert text.startswith("# Title\n\nText.\n\n```{note}\n") and "{download}`a.ipynb`" in text
    assert text.endswith("```python\ndraw()\n```\n\n![A line](../media/tutorials/a.png)\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", tutorials.names())
def test_a_tutorial_runs_and_ends_where_it_says(name, environment, monkeypatch, tmp_path):
    for module in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(module)
    monkeypatch.setattr("os.environ", environment | {"IPYTHONDIR": str(tmp_path / "ipython")})
    notebook = tutorials.run(tutorials.FOLDER / f"{name}.ipynb")
    assert tutorials.pictures(notebook)
    text = tutorials.printed(notebook)
    pattern, least, most = ENDS[name]
    found = re.search(pattern, text)
    assert found and least <= float(found[1]) <= most, text
