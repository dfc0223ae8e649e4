"""Parity cases of ``minidl.nn.functional``; the names carry the prefix ``nn.functional.``."""

from tests.parity.cases import Case

CASES: list[Case] = []

EXEMPT: dict[str, str] = {}
