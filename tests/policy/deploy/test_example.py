"""The documented example drives a robot as it stands in the documents."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def example(document):
    """The Python block that makes a runner."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    (block,) = (block for block in blocks if "Runner(" in block)
    return re.sub(r"  #.*", "", block)


def test_the_documents_show_the_same_example_in_ten_lines():
    lines = [line for line in example("README.md").splitlines() if line]
    assert lines == [line for line in example("docs/deployment.md").splitlines() if line]
    assert len(lines) <= 10


def test_the_example_drives_a_robot(make_bundle, tmp_path):
    assert make_bundle() == tmp_path / "policy.isd"
    code = example("README.md").replace("ticks=200", "ticks=40")
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert re.search(r"of 40 deadlines missed.*; policy .* over \d+ calls", result.stdout), result.stderr
