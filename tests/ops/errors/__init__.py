"""Mistakes that users make, and what they are told: data for ../test_error_messages.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl


class ErrorInput:
    """``call`` raises ``error`` with every part of ``says`` in its message."""

    def __init__(self, name: str, call: Callable[[], Any], error: type[Exception], *says: str) -> None:
        self.name, self.call, self.error, self.says = name, call, error, says


def z(*shape: int, dtype: str = "float32") -> Any:
    return minidl.zeros(*shape, dtype=dtype)


def i(*values: int) -> Any:
    return minidl.tensor(list(values))
