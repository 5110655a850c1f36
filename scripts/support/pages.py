"""Parts of pages that a command writes, between marks:

<!-- results policy_cpu overview -->
...
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write

PART = re.compile(r"(<!-- results (?P<name>[^\n]+?) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL)


def names(page: Path) -> list[str]:
    """The names of the parts that a page asks for."""
    return [found["name"] for found in PART.finditer(page.read_text())]


def filled(page: Path, parts: Mapping[str, str]) -> str:
    """The page's text with its parts as given. Raises `InputError` for a part that is not given."""

    def text_of(found: re.Match[str]) -> str:
        if found["name"] not in parts:
            known = ", ".join(sorted(parts)) or "none"
            raise InputError(f"{page} asks for the results `{found['name']}`; there are: {known}.")
        return f"{found[1]}\n{parts[found['name']].strip()}\n\n{found[4]}"

    return PART.sub(text_of, page.read_text())


def fill(page: Path, parts: Mapping[str, str]) -> bool:
    """Writes the parts into the page; returns whether that changed it."""
    before, after = page.read_text(), filled(page, parts)
    if before != after:
        with atomic_write(page) as temporary:
            temporary.write_text(after)
    return before != after
