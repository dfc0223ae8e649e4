"""Results that follow from a few numbers and words, kept: geometry is asked for the same sizes again and again."""

from __future__ import annotations

import functools
import marshal
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

KEPT = 4096  # results of one function


def remembered(function: F) -> F:
    """``function`` for arguments that are numbers, words, None, and tuples or lists of such; it raises as it did.

    ``functools.cache`` would take 1.0 for 1, which is no stride, and refuses lists.  Here the key is the arguments as
    bytes, types included.  What has no bytes goes to ``function`` each time.

    >>> remembered(lambda n: n * 2)([1, 2])
    [1, 2, 1, 2]
    """
    known: dict[bytes, Any] = {}

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            key = marshal.dumps((args, options), 2)  # version 2: the same bytes for equal arguments
        except ValueError:
            return function(*args, **options)
        result = known.get(key)
        if result is None:
            result = function(*args, **options)
            if len(known) >= KEPT:
                known.clear()
            known[key] = result
        return result

    call.cache_clear = known.clear  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]
