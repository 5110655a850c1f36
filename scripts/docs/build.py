"""Builds the documentation's site from the repository: `bash scripts/docs.sh [--out DIR]`.

The pages of docs/ are copied beside the generated reference and the pages of the tutorials. Sphinx makes HTML of them,
with a search that works without a network. Warnings are errors, broken links among the pages included.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sphinx.cmd.build import build_main

from scripts.docs import reference, tutorials

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]]+)\]\(((?!https?://)[^)#\s]+)(#[^)\s]*)?\)")
MOVED = {"docs/extending.md": "extending.md"}
"""Links of pages that the site has in another folder."""
MARKS = re.compile(r"^<!-- .* -->\n", re.MULTILINE)


def gather(source: Path) -> None:
    """Fills the folder with everything that Sphinx reads."""
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("results", "__pycache__"))
    shutil.copy(ROOT / "CHANGELOG.md", source / "changelog.md")
    shutil.copy(ROOT / "CONTRIBUTING.md", source / "contributing.md")
    reference.write(source / "reference", ROOT)
    for notebook in (source / "tutorials").glob("*.ipynb"):
        notebook.with_suffix(".md").write_text(tutorials.page(notebook))
    for page in source.rglob("*.md"):
        page.write_text(as_page(page.read_text(), page.parent))


def as_page(text: str, folder: Path) -> str:
    """A page's text without marks for the tests; links to files of the repository that are no pages become names."""

    def linked(found: re.Match[str]) -> str:
        if (folder / found[2]).is_file():
            page = re.sub(r"\.ipynb$", ".md", found[2])  # a tutorial, which is a page of the site
            return f"[{found[1]}]({page}{found[3] or ''})"
        if found[2] in MOVED:
            return f"[{found[1]}]({MOVED[found[2]]}{found[3] or ''})"
        place = found[2].replace("../", "")
        return found[1] if found[1].strip("`") == place else f"{found[1]} (`{place}`)"

    return MARKS.sub("", LINK.sub(linked, text))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns Sphinx's exit code, which is not 0 where it warned."""
    parser = argparse.ArgumentParser(prog="bash scripts/docs.sh", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="folder of the site")
    out = parser.parse_args(arguments).out
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        gather(source)
        code = build_main(["-W", "--keep-going", "-q", "-b", "html", str(source), str(out)])
    if code == 0:
        print(f"Written: {out}/index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
