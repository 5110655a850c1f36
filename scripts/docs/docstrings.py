"""Docstrings as Sphinx wants them: they are plain text with code in backticks, and Sphinx reads reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterable

CODE = re.compile(r"(`[^`]+`)")


def to_rest(lines: Iterable[str]) -> list[str]:
    """Text that is indented under a paragraph becomes a block of code; signs that mean something are escaped."""
    result: list[str] = []
    block = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not block:
            result += ["", ".. code-block:: text", ""]
            block = True
        elif line and not indented:
            if block and result[-1]:
                result.append("")
            block = False
        result.append(line if block else escaped(line))
    return result


def escaped(line: str) -> str:
    """A line in which only backticks mean something."""
    parts = CODE.split(line)
    return "".join(part if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part) for part in parts)
