"""A call that was made before: the loops of the first one, run again on other arrays.

What a kernel does is decided by sizes: how the work is cut, in which order its loops run, what they are told.  It takes
50 to 100 us of Python to work that out, as long as a small convolution takes.  So the first call with certain sizes and
strides is watched, and its loops (`pieces.run`) are written down as a *program*, a row of integers.  Later calls put
the addresses of their own arrays into the program and run it, all loops in one step.

An address in a program is the number of a *place* (an operand, the result, a block of scratch memory) and the distance
from where that begins.  Which integers are addresses is said by their annotation, `pieces.Address`.  A call is run
again only if all it did is known: where an address leads to no known place (a temporary array), or the kernel says
that it computes something in NumPy (`pieces.outside_of_loops`), calls of that kind go through Python every time.

In inference the weights of a layer are known to be those of the call before (`ops.inference`).  Then `learned` gives a
program of what is left to do: what a kernel makes of its weights alone (`constants.made_of`) is made once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import partial, wraps
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..constants import Constants, holding
from ..threads import get_num_threads
from ..workspace import LARGEST, block, lending
from .pieces import MOST_NUMBERS, Loop, is_watched, run_program, watching
from .places import address
from .relayout import empty_like_strides
from .simd import machine

KEPT = 4096  # programs of one kernel

Range = tuple[int, int]  # addresses: the first byte, and the one after the last
Lent = tuple[str, int, int]  # a block of scratch memory: name, address, bytes


class Program(NamedTuple):
    """Loops with open addresses.  Places: the operands, the result, then the blocks of scratch memory."""

    numbers: np.ndarray
    begin: int  # address of the numbers
    end: int
    parallel: bool
    scratch: tuple[tuple[str, int], ...]  # names and bytes
    shape: tuple[int, ...]  # of the result
    strides: tuple[int, ...]
    below: tuple[int, ...]  # bytes of the operands that lie before their first elements, where strides are negative

    def run(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        result, place = empty_like_strides(self.shape, self.strides, arrays[0].dtype)
        blocks = [block(name, size) for name, size in self.scratch]
        begins = [address(a) - below for a, below in zip(arrays, self.below)]
        places = array("q", [*begins, place, *[lent.address for lent in blocks]])
        run_program(self.begin, self.end, places, self.parallel)
        return result


def replayed(kernel: Callable[..., np.ndarray] | None = None, *, operands: int = 2) -> Any:
    """``kernel(a, b, problem, out=None)``, whose calls without ``out`` are run again where that can be done.

    ``operands``: so many arrays come first, all of one dtype; those after the first may be None.  ``problem`` says,
    with their strides, everything else that counts, their shapes among it.
    """
    if kernel is None:
        return partial(replayed, operands=operands)
    known: dict[Any, Program | None] = {}

    @wraps(kernel)
    def call(*arguments: Any, out: np.ndarray | None = None) -> np.ndarray:
        arrays, (problem, *rest) = arguments[:operands], arguments[operands:]
        out = rest[0] if rest else out
        if is_watched():  # whoever watches wants to see the loops
            return kernel(*arrays, problem, out)
        if out is not None:
            with lending():
                return kernel(*arrays, problem, out)
        strides = [None if a is None else a.strides for a in arrays]
        key = problem, *strides, arrays[0].dtype, get_num_threads(), machine()
        program = known.get(key)
        given = [a for a in arrays if a is not None]
        if program is not None:
            return program.run(given)
        if key in known or not all(a.size for a in given):
            with lending():
                return kernel(*arrays, problem)
        with lending() as lent, watching() as loops:
            result = kernel(*arrays, problem)
        if _apart((*given, result), lent):
            if len(known) >= KEPT:
                known.clear()
            known[key] = _program(loops, lent, (*given, result))
        return result

    call.known, call.cache_clear = known, known.clear  # type: ignore[attr-defined]
    return call


def learned(
    kernel: Callable[[], np.ndarray], operands: Sequence[np.ndarray], constants: Constants
) -> tuple[np.ndarray, Program | None]:
    """What ``kernel()`` returns, and the program that computes the same of other ``operands``, if all is known.

    Whatever else the kernel reads are ``constants``, arrays that stay as they are.  It has to be one that is
    `replayed`, or calls such kernels and nothing else, and has something to compute.
    """
    with holding(constants), lending() as lent, watching() as loops:
        result = kernel()
    if result is NotImplemented or not _apart((*operands, *constants.given, result), lent):
        return result, None
    return result, _program(loops, lent, (*operands, result), constants.arrays())


_permanent: list[np.ndarray] = []


def permanent(a: np.ndarray) -> np.ndarray:
    """``a``, which from now on lives as long as the process, so that a program may hold its address."""
    _permanent.append(a)
    return a


_kept_zeros: dict[np.dtype, np.ndarray] = {}


def permanent_zeros(dtype: np.dtype, count: int) -> np.ndarray:
    """At least ``count`` zeros.  Never written to, so one row of them serves all."""
    kept = _kept_zeros.get(dtype)
    if kept is None or len(kept) < count:
        kept = _kept_zeros[dtype] = permanent(np.zeros(2 * count, dtype))
    return kept


def _extent(a: np.ndarray) -> Range:
    return np.lib.array_utils.byte_bounds(a)


def _program(
    loops: Sequence[Loop | None],
    lent: Sequence[Lent],
    arrays: tuple[np.ndarray, ...],
    constants: Sequence[np.ndarray] = (),
) -> Program | None:
    """What the loops did with the arrays, operands and a result; None where that is not all known."""
    result, staying = arrays[-1], [_extent(a) for a in (*_permanent, *constants)]
    scratch = {name: max(size for other, _, size in lent if other == name) for name, _, _ in lent}
    places = [_extent(a) for a in arrays]
    places += [next((start, start + scratch[name]) for other, start, _ in lent if other == name) for name in scratch]
    numbers: list[int] = []
    for loop in loops:
        if loop is None or not loop.addresses or len(loop.numbers) > MOST_NUMBERS:
            return None
        row, moves = loop.numbers.tolist(), []
        for i in loop.addresses:
            found = _place(row[i], places)
            if found is not None:
                moves += [i, found]
                row[i] -= places[found][0]
            elif row[i] and not any(_inside(row[i], extent) for extent in staying):
                return None
        numbers += [loop.code, loop.pieces, int(loop.parallel), len(row), len(moves) // 2, *row, *moves]
    parallel = any(loop.parallel for loop in loops if loop is not None)
    below = tuple(address(a) - begin for a, (begin, _) in zip(arrays[:-1], places))
    written, blocks = np.array(numbers, np.int64), tuple(scratch.items())
    begin = address(written)
    return Program(written, begin, begin + written.nbytes, parallel, blocks, result.shape, result.strides, below)


def _place(where: int, places: Sequence[Range]) -> int | None:
    return next((place for place, extent in enumerate(places) if _inside(where, extent)), None)


def _inside(where: int, extent: Range) -> bool:
    return extent[0] <= where < extent[1]


def _apart(arrays: tuple[np.ndarray, ...], lent: Sequence[Lent]) -> bool:
    """Whether an address leads to one array only, and a block of scratch memory stayed where it was."""
    extents = sorted(_extent(a) for a in arrays)
    moved = len({(name, start) for name, start, _ in lent}) > len({name for name, _, _ in lent})
    kept = all(size <= LARGEST for _, _, size in lent)
    return kept and not moved and all(high <= low for (_, high), (low, _) in pairwise(extents))
