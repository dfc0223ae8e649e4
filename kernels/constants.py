"""Weights that stay as they are, and what kernels make of them: panels, transformed filters.

Most kernels rearrange their weights before they compute.  For one small image that takes as long as the arithmetic, and
in inference it gives the same each time.  A caller who knows that arrays stay as they are says so with `holding`;
kernels ask `made_of` for what they make of an array and need not know which case it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from math import prod

import numpy as np

from .cpu.places import address
from .workspace import aligned, borrow

Array = np.ndarray


class Constants:
    """Arrays that stay as they are, and what was made of them so far."""

    def __init__(self) -> None:
        self.given: list[Array] = []
        self._made: dict[Hashable, Array] = {}

    def give(self, *arrays: Array | None) -> None:
        """These stay as they are."""
        self.given += [a for a in arrays if a is not None and not any(a is other for other in self.given)]

    def arrays(self) -> list[Array]:
        """All of them, given and made."""
        return [*self.given, *self._made.values()]

    @property
    def bytes(self) -> int:
        """Of what was made."""
        return sum(a.nbytes for a in tuple(self._made.values()))  # other threads may be adding to them

    def hold(self, a: Array) -> bool:
        """Whether ``a`` is one of the arrays that were given, or a view of one."""
        low, high = np.lib.array_utils.byte_bounds(a)
        extents = map(np.lib.array_utils.byte_bounds, self.given)
        return any(begin <= low and high <= end for begin, end in extents)

    def made_of(
        self, a: Array, what: Hashable, shape: tuple[int, ...], dtype: np.dtype, fill: Callable[[Array], None]
    ) -> Array:
        from .cpu.pieces import unwatched

        key = what, address(a), a.strides, shape
        found = self._made.get(key)
        if found is None:
            found = np.ndarray(shape, dtype, aligned(prod(shape) * dtype.itemsize))
            if found.size:
                with unwatched():
                    fill(found)
            found = self._made.setdefault(key, found)  # another thread's, which a program may know already
        return found


class _Present(threading.local):
    constants: Constants | None = None


_present = _Present()


@contextmanager
def holding(constants: Constants) -> Iterator[None]:
    """Inside, the arrays that ``constants`` were given stay as they are, for as long as ``constants`` are used."""
    before, _present.constants = _present.constants, constants
    try:
        yield
    finally:
        _present.constants = before


def is_constant(a: Array) -> bool:
    """Whether the caller knows that ``a`` stays as it is."""
    return _present.constants is not None and _present.constants.hold(a)


def made_of(
    a: Array, what: Hashable, shape: tuple[int, ...], dtype: np.dtype, name: str, fill: Callable[[Array], None]
) -> Array:
    """An array that ``fill`` writes: ``what`` follows from ``a``.  Of constants kept, else borrowed as ``name``."""
    constants = _present.constants
    if constants is not None and constants.hold(a):
        return constants.made_of(a, what, shape, dtype, fill)
    made = borrow(name, shape, dtype)
    if made.size:
        fill(made)
    return made
