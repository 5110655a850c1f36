"""The tutorials of docs/tutorials: notebooks without outputs, as pages of the site and as programs that are run.

`python -m scripts.docs.tutorials [NAME ...]` runs them from top to bottom and writes the pictures that the site shows:
those of the cells whose metadata name a `picture`, with its text in `alt`.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isd_core.support.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "tutorials"
MEDIA = ROOT / "docs" / "media" / "tutorials"
KINDS = {".png": "image/png", ".gif": "image/gif"}
LIMIT = 600
"""Seconds that a cell may take."""


def names() -> list[str]:
    """The tutorials, by the names of their files."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def page(path: Path) -> str:
    """The Markdown of a notebook: its text, its code as blocks, the pictures of its cells as files beside the pages."""
    parts: list[str] = []
    for cell in json.loads(path.read_text())["cells"]:
        source, about = "".join(cell["source"]), cell["metadata"]
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        if "picture" in about:
            parts.append(f"![{about['alt']}](../media/tutorials/{about['picture']})")
    note = f"This page is a notebook: {{download}}`{path.name}`, in the checkout `docs/tutorials/{path.name}`."
    parts.insert(1, f"```{{note}}\n{note}\n```")
    return "\n\n".join(parts) + "\n"


def run(path: Path) -> Any:
    """The notebook with its outputs; an exception of a cell is raised. It runs in an empty folder."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=LIMIT, resources=place).execute()
    return notebook


def pictures(notebook: Any) -> dict[str, bytes]:
    """The pictures of a notebook that was run, by the names of their files; `LookupError` for a cell that drew none."""
    found = {}
    for cell in notebook.cells:
        if (name := cell.metadata.get("picture")) is None:
            continue
        kind = KINDS[Path(name).suffix]
        drawn = [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]
        if not drawn:
            raise LookupError(f"the cell of the picture {name} drew none")
        found[name] = base64.b64decode(drawn[-1])
    return found


def printed(notebook: Any) -> str:
    """What the cells of a notebook that was run wrote on standard output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.docs.tutorials", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("names", nargs="*", choices=[*names(), []], metavar="NAME", help=", ".join(names()))
    parser.add_argument("--out", type=Path, default=MEDIA, help="folder of the pictures")
    flags = parser.parse_args(arguments)
    for name in flags.names or names():
        began = time.monotonic()
        for file, content in pictures(run(FOLDER / f"{name}.ipynb")).items():
            with atomic_write(flags.out / file) as temporary:
                temporary.write_bytes(content)
            print(f"Written: {flags.out / file}")
        print(f"{name}: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
