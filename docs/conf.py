"""Sphinx's settings; `bash scripts/docs.sh` builds the site."""

import re
from importlib import metadata

from scripts.docs.docstrings import to_rest

ANNOTATED = re.compile(r"Annotated\[(\w+), Range\([^)]*\)\]")

project = "isd-flow"
author = "the authors of isd-flow"
release = metadata.version("isd-flow")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["examples", "results"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
html_theme = "furo"  # system fonts, no script from elsewhere
html_title = "isd-flow"
html_static_path = []
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"


def setup(app):
    """Docstrings of this code are plain text."""

    def converted(app, what, name, value, options, lines):
        lines[:] = to_rest(lines)

    def without_ranges(app, what, name, value, options, signature, returned):
        return (ANNOTATED.sub(r"\1", signature), returned) if signature else None

    app.connect("autodoc-process-docstring", converted)
    app.connect("autodoc-process-signature", without_ranges)
