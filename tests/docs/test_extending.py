"""docs/extending.md says what is true: its code is that of the examples, its table of roles is the registry's."""

import re
from pathlib import Path

import pytest

import isd_envs  # noqa: F401  the role of tasks
import isd_image.roles  # noqa: F401
import isd_policy.roles  # noqa: F401
from isd_core.support.registry import ROLES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
TEXT = (ROOT / "docs" / "extending.md").read_text()
QUOTES = re.findall(r"<!-- (\w+\.py) -->\n```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("name, code", QUOTES)
def test_quoted_code_stands_in_the_example(name, code):
    """Parts of a file, in its order; a line `# ...` stands for what is left out."""
    source, place = (EXAMPLES / name).read_text(), 0
    for part in code.split("\n# ...\n"):
        found = source.find(part.strip("\n"), place)
        assert found >= 0, f"{name} does not have, or not in this order:\n{part}"
        place = found + len(part)


def test_the_quoted_config_is_the_file():
    (quoted,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert quoted == (EXAMPLES / "configs" / "network" / "unet1d_tiny.yaml").read_text()


def test_all_python_of_the_page_is_quoted():
    assert len(re.findall("```python\n", TEXT)) == len(QUOTES)


def test_every_own_example_is_quoted():
    assert {path.name for path in EXAMPLES.glob("own_*.py")} == {name for name, _ in QUOTES}


def rows():
    """role -> (entry points, base, given) as the page has it."""
    lines = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \| `([\w.]+)` \| (.*?) \|$", TEXT, re.MULTILINE)
    return {name: (group, base, set(re.findall(r"`(\w+)`", given))) for name, group, base, given in lines}


def test_the_table_of_roles_is_the_registrys():
    """Without the roles that tests declare."""
    house = ("isd_core", "isd_policy", "isd_image", "isd_envs", "torch", "gymnasium")
    declared = {
        name: (role.group, f"{role.base.__module__}.{role.base.__qualname__}", set(role.given))
        for name, role in ROLES.items()
        if role.base.__module__.split(".")[0] in house
    }
    assert rows() == declared
