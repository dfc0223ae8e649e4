"""Texts that a file says about its arrays: in the header of safetensors, in the comment of the zip archives.

NumPy's ``.npz`` and PyTorch's files are zip archives; NumPy and PyTorch read them as if there were no comment.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping


def checked(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """A copy; TypeError for what is no text."""
    metadata = dict(metadata or {})
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata is text: {key!r} -> {value!r}; turn numbers into strings, e.g. str({value!r})")
    return metadata


def as_comment(metadata: Mapping[str, str] | None) -> bytes:
    """Metadata as the comment of a zip archive, empty of nothing."""
    found = checked(metadata)
    comment = json.dumps(found).encode() if found else b""
    if len(comment) > zipfile.ZIP_MAX_COMMENT:
        raise ValueError(
            f"metadata of {len(comment):,} bytes: the comment of a zip archive has room for "
            f"{zipfile.ZIP_MAX_COMMENT:,}; write a .safetensors file"
        )
    return comment


def from_comment(comment: bytes) -> dict[str, str]:
    """The metadata in a comment; nothing where somebody else has written one.

    >>> from_comment(as_comment({"epoch": "3"})), from_comment(b"packed on Monday")
    ({'epoch': '3'}, {})
    """
    try:
        found = json.loads(comment.decode())  # of bytes, json would guess the encoding and import its codec
        return checked(found)
    except (ValueError, TypeError, RecursionError):  # no JSON, no table of texts, nested too deeply
        return {}
