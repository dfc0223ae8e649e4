"""Sphinx: ``python -m sphinx -W docs docs/_build`` (needs the extra ``docs``)."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import minidl  # noqa: E402

project = "minidl"
author = "the minidl authors"
release = version = minidl.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "public_names"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
add_module_names = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"minidl {release}"
pygments_style = "friendly"
