"""Whether operations are recorded: ``no_grad`` and ``enable_grad``, one switch a thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    recording = True
    differentiating: Any = None  # the node that is being pulled back
    autocast: Any = None  # what chooses the precision of an operation, see minidl/amp.py


MODE = _Mode()


def is_grad_enabled() -> bool:
    """Whether an operation on tensors that require a gradient is recorded at present, in this thread.

    >>> import minidl
    >>> with minidl.no_grad():
    ...     minidl.is_grad_enabled()
    False
    """
    return MODE.recording


class set_grad_enabled:
    """Context manager and decorator: record operations, or not.

    >>> import minidl
    >>> x = minidl.tensor([1.0], requires_grad=True)
    >>> with minidl.set_grad_enabled(False):
    ...     (x * 2).requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(MODE.recording)
        MODE.recording = self.mode

    def __exit__(self, *exc: object) -> None:
        MODE.recording = self.before.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


class no_grad(set_grad_enabled):
    """Do not record: no graph is kept, results do not require a gradient.

    >>> import minidl
    >>> x = minidl.tensor([1.0], requires_grad=True)
    >>> with minidl.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Record again inside a ``no_grad`` block.

    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> with minidl.no_grad():
    ...     with minidl.enable_grad():
    ...         y = x * x
    >>> y.requires_grad
    True
    """

    def __init__(self) -> None:
        super().__init__(True)
