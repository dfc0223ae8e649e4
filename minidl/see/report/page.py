"""One self-contained HTML file: style, script and numbers in it, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import gzip
import html
import json
import struct
from importlib.resources import files
from typing import Any

# One module in this order; each file uses names of those before it
_SCRIPTS = ("data.js", "explain.js", "elements.js", "graph.js", "maps.js", "receptive.js", "panels.js", "main.js")


def _static(name: str) -> str:
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


def script() -> str:
    """The ES module of the report; what it exports is what anywidget asks of a notebook widget."""
    notice = "\n".join(f"// {line}" for line in _static("dagre.LICENSE").strip().splitlines())
    layout = f"// Layout of the graph: dagre 3.1.3\n{notice}\n{_static('dagre.min.js')}"
    return "\n".join([layout, *(_static(name) for name in _SCRIPTS)])


def style() -> str:
    """The style of the report, of its own elements only."""
    return _static("report.css")


def pack(document: dict[str, Any], numbers: bytes) -> bytes:
    """Document and numbers in one: gzip of [length of the JSON, JSON, padding, numbers]."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(-len(text) % 8) + numbers
    return gzip.compress(data, 6, mtime=0)


def page(document: dict[str, Any], numbers: bytes) -> str:
    """The whole file."""
    parts = {
        "title": html.escape(f"{document['title']}: minidl report"),
        "style": style() + _static("page.css"),
        "script": script().replace("</script", "<\\/script"),
        "data": base64.b64encode(pack(document, numbers)).decode("ascii"),
    }
    text = _static("page.html")
    for name, part in parts.items():
        before, _, after = text.partition("{" + name + "}")
        text = before + part + after
    return text
