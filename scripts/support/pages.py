"""Parts of pages that a command writes, between marks that say what kind of part it is and which one:

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


def filled(page: Path, parts: Mapping[str, str], kind: str = "results") -> str:
    """The page's text with its parts of a kind as given. Raises `InputError` for a part that is not given."""

    def text_of(found: re.Match[str]) -> str:
        if found["name"] not in parts:
            known = ", ".join(sorted(parts)) or "none"
            raise InputError(f"{page} asks for the {kind} `{found['name']}`; there are: {known}.")
        return f"{found[1]}\n{parts[found['name']].strip()}\n\n{found[3]}"

    part = re.compile(rf"(<!-- {kind} (?P<name>[^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
    return part.sub(text_of, page.read_text())


def fill(page: Path, parts: Mapping[str, str], kind: str = "results") -> bool:
    """Writes the parts into the page; returns whether that changed it."""
    before, after = page.read_text(), filled(page, parts, kind)
    if before != after:
        with atomic_write(page) as temporary:
            temporary.write_text(after)
    return before != after
