"""Reports as one HTML file with everything inside, for any width, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("page.css")


def page(title: str, lead: str, figures: Iterable[str], sections: Iterable[str], footer: str) -> str:
    """The file. figures and sections: what `figure` and `section` return; footer: HTML."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE.read_text()}</style>",
            "<main>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="sub">{escape(lead)}</p>',
            f'<div class="figures">{"".join(figures)}</div>',
            f'<div class="parts">{"".join(sections)}</div>',
            f"<footer>{footer}</footer>",
            "</main>",
            "</html>",
            "",
        ]
    )


def figure(number: str, words: str) -> str:
    """A number in large type and what it is."""
    return f'<div class="figure"><b>{escape(number)}</b><span>{escape(words)}</span></div>'


def section(title: str, body: str, wide: bool = False) -> str:
    """A part of the page; body: HTML."""
    kind = ' class="wide"' if wide else ""
    return f"<section{kind}><h2>{escape(title)}</h2>{body}</section>\n"


def chart(svg: str, caption: str) -> str:
    """A chart of `isd_core.support.charts` with its caption."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def table(values: Mapping[str, Any]) -> str:
    """Names and values, a row each."""
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(str(value))}</td></tr>' for key, value in values.items()
    )
    return f"<table>{rows}</table>"


def number_table(heads: Iterable[str], rows: Mapping[str, Iterable[str]]) -> str:
    """Numbers in columns; rows: name -> one cell for each head."""
    top = "".join(f'<th scope="col" class="number">{escape(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        + "</tr>"
        for name, cells in rows.items()
    )
    return f"<table><tr><td></td>{top}</tr>{body}</table>"


def data_uri(content: bytes, kind: str) -> str:
    """An image that lies inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
