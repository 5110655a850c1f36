"""Reports as one HTML file with everything inside, for any width, in light and dark, made from jinja2 templates.

A report's template extends `base_page.html.jinja` and takes figures, sections, charts and tables from
`parts.html.jinja`. What is put into it is escaped, apart from charts (see `isd_core.support.charts`).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """The page of a template's file. A name that it uses and `values` does not give is an error."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((HERE / "page.css").read_text())  # ours: quotes in it stay quotes
    return environment.get_template(template.name).render(style=style, **values) + "\n"


def data_uri(content: bytes, kind: str) -> str:
    """An image that lies inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
