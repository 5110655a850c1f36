"""The documentation's site: docstrings, links, and the generated reference."""

import re
from pathlib import Path

import pytest

from isd_core.support.cli import CONFIGS
from isd_core.support.groups import Groups

pytest.importorskip("sphinx", reason="the docs extra is not installed")

from scripts.docs import build, pictures, reference
from scripts.docs.docstrings import to_rest

ROOT = Path(__file__).resolve().parents[3]


def test_signs_of_formulas_stay_what_they_are():
    assert to_rest(["|F - sg T|^2 of `F*` and x_t, times *two*"]) == [r"\|F - sg T\|^2 of `F*` and x\_t, times \*two\*"]


def test_indented_text_is_code():
    assert to_rest(["Say so:", "", "    a | b", "", "    c", "", "And on."]) == [
        *("Say so:", "", "", ".. code-block:: text", "", "    a | b", "", "    c", "", "And on.")
    ]


def test_links_to_pages_stay_and_others_become_names(tmp_path):
    for name in ("page.md", "tutorial.ipynb"):
        (tmp_path / name).touch()
    text = "[t](tutorial.ipynb#part) [a](page.md#part) [b](../scripts/x.py) [`scripts/y.py`](../scripts/y.py) [c](https://arxiv.org)"
    assert build.as_page(text, tmp_path) == (
        "[t](tutorial.md#part) [a](page.md#part) b (`scripts/x.py`) `scripts/y.py` [c](https://arxiv.org)"
    )


def test_marks_of_the_tests_are_no_text():
    assert build.as_page("<!-- own_data.py -->\n```python\n", Path()) == "```python\n"


@pytest.mark.parametrize("group", ["objective", "trainer", "times", "task"])
def test_every_choice_of_a_group_is_in_the_reference(group):
    groups = Groups.of(CONFIGS, [])
    text = reference.group(groups, group)
    for choice in groups.choices(group):
        assert f"## {group}={choice}\n" in text


def test_fields_have_their_default_range_and_meaning():
    text = reference.group(Groups.of(CONFIGS, []), "times")
    part = text.split("## times=beta_pair\n")[1].split("\n## ")[0]
    assert re.search(r"\| `a` \| `0.8` \| a number above 0 \| Beta\(a, b\) \|", part)


def test_fields_of_members_within_members_have_their_ranges():
    text = reference.group(Groups.of(CONFIGS, []), "objective")
    part = text.split("## objective=alpha_flow\n")[1].split("\n## ")[0]
    assert "| `intermediate.type` | `fraction` | a member of `intermediate` |" in part
    assert re.search(r"\| `intermediate.alpha.gamma` \| `25.0` \| a number", part)


def test_every_installed_command_is_in_the_reference():
    text = reference.commands(ROOT)
    scripts = re.findall(r"^(isd-[\w-]+) =", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert [line[4:-1] for line in text.splitlines() if line.startswith("## `")] == scripts
    assert "| `nfe` | `null` | numbers of network evaluations" in text


def test_the_pictures_are_drawn(tmp_path):
    assert pictures.main(["--out", str(tmp_path)]) == 0
    assert all((tmp_path / path.name).stat().st_size > 10_000 for path in (ROOT / "docs/media").glob("flow_*.png"))


def test_the_site_is_built_without_a_warning(tmp_path, capfd):
    assert build.main(["--out", str(tmp_path)]) == 0, capfd.readouterr().err
    assert "Pre-CFG" in (tmp_path / "glossary.html").read_text()
    assert "from_arrays" in (tmp_path / "tutorials" / "first_policy.html").read_text()
    assert list((tmp_path / "_downloads").rglob("first_policy.ipynb"))
    assert (tmp_path / "searchindex.js").stat().st_size > 10_000
    pages = [path.read_text() for path in tmp_path.rglob("*.html")]
    fetched = re.compile(r"<(?:script|img|link|source)[^>]+(?:src|href)=\"(https?:[^\"]+)")
    assert not [address for page in pages for address in fetched.findall(page)], (
        "something is fetched when a page is read"
    )
