"""One parallel loop for all kernels: compiled once, and told by address which compiled function to call.

Numba compiles a parallel loop together with everything that it calls, several times over; for a kernel that takes
seconds.  Here the loop knows nothing of the kernel.  A kernel is a function of a compile-time value, the address
of its arguments, and the number of the piece of work:

    class Scaling(NamedTuple):  # integers, addresses among them
        x: Address
        count: int

    @njit
    def scale(lanes, arguments, piece):
        a = read(Scaling, arguments)
        ...

    run(scale, Lanes("float32", 8), Scaling(...), pieces=10)

Pieces must not touch what another writes; then the result does not depend on the number of threads, nor on which of
them (see `crew`) computes which piece.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any, ForwardRef, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from ..jit import njit
from ..threads import get_num_threads
from .crew import call, dismiss, gather, share
from .simd import I64, Constant, address_of, emit_pointer, keep

SERIAL = 20e-6
"""Seconds of work below which waking the other threads costs more than it saves."""


Address = Annotated[int, "address"]
"""What a field of a NamedTuple of arguments is annotated with if it is one: `replay` has to know."""


class Loop(NamedTuple):
    """One call of `run`."""

    code: int
    pieces: int
    parallel: bool
    numbers: np.ndarray
    addresses: tuple[int, ...]  # which of the numbers are addresses


class _Watch(threading.local):
    loops: list[Loop | None] | None = None


_watch = _Watch()


def run(function: Callable[..., None], constant: Constant, arguments: Any, pieces: int, seconds: float = 1.0) -> None:
    """``function(constant, arguments, piece)`` for all pieces; serial where ``seconds`` of work are too little.

    ``arguments``: a NamedTuple of integers, or a tuple of several, which lie one after the other.
    """
    parts = (arguments,) if hasattr(arguments, "_fields") else arguments
    numbers = np.array([number for part in parts for number in part], np.int64)
    code, parallel = _address(function, constant), pieces > 1 and seconds > SERIAL
    board = gather(get_num_threads()) if parallel and get_num_threads() > 1 else 0
    try:
        _loop(code, numbers, pieces, board)
    finally:
        if board:
            dismiss()
    if _watch.loops is not None:
        _watch.loops.append(Loop(code, pieces, parallel, numbers, _places(*map(type, parts))))


@cache
def _places(*kinds: Any) -> tuple[int, ...]:
    """Which numbers of some NamedTuples, one after the other, are addresses."""
    fields = [kind.__annotations__[name] for kind in kinds for name in kind._fields]
    return tuple(i for i, field in enumerate(fields) if field in (Address, ForwardRef("Address")))


@contextmanager
def watching() -> Iterator[list[Loop | None]]:
    """Write down the loops that this thread runs inside; None for work that is done in another way."""
    before, _watch.loops = _watch.loops, []
    try:
        yield _watch.loops
    finally:
        _watch.loops = before


def outside_of_loops() -> None:
    """Say that a kernel computes something in NumPy, which nobody who watches its loops sees."""
    if _watch.loops is not None:
        _watch.loops.append(None)


@cache
def _address(function: Any, constant: Constant) -> int:
    """Where the machine code for this constant begins; compiled, or read from the disk cache, the first time."""
    signature = (constant._numba_type_, types.intp, types.intp)
    function.compile(signature)
    compiled = function.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


@njit
def _loop(function: int, numbers: Any, pieces: int, board: int) -> None:
    """All pieces; with the crew's help if there is a ``board``."""
    _loop_over(function, address_of(numbers), pieces, board)
    keep((numbers,))


@njit
def _loop_over(function: int, arguments: int, pieces: int, board: int) -> None:
    if board != 0:
        share(board, function, arguments, pieces)
    else:
        for piece in range(pieces):
            call(function, arguments, piece)


MOST_NUMBERS = 256  # of one loop


def run_program(program: np.ndarray, places: np.ndarray, parallel: bool) -> None:
    """The loops of a program (see `replay`), one after the other, with the addresses of its places put in."""
    board = gather(get_num_threads()) if parallel and get_num_threads() > 1 else 0
    try:
        _run_program(program, places, board)
    finally:
        if board:
            dismiss()


@njit
def _run_program(program: Any, places: Any, board: int) -> None:
    numbers, at = np.empty(MOST_NUMBERS, np.int64), 0
    while at < len(program):
        _put_in(program, at, places, numbers)
        _loop_over(program[at], address_of(numbers), program[at + 1], board if program[at + 2] else 0)
        at = _next_loop(program, at)
    keep((numbers,))


HEAD = 5  # code, pieces, parallel, how many numbers, how many of them are addresses


@njit
def _put_in(program: Any, at: int, places: Any, numbers: Any) -> None:
    """The arguments of the loop that is described from ``at`` on."""
    count, moves = program[at + 3], program[at + 4]
    for i in range(count):
        numbers[i] = program[at + HEAD + i]
    for i in range(at + HEAD + count, at + HEAD + count + 2 * moves, 2):
        numbers[program[i]] += places[program[i + 1]]


@njit
def _next_loop(program: Any, at: int) -> int:
    return at + HEAD + program[at + 3] + 2 * program[at + 4]


@intrinsic
def read(context, kind, address):
    """The NamedTuple ``kind`` of integers that lies at ``address``."""
    if not isinstance(kind, types.NamedTupleClass):
        return None
    cls = kind.instance_class
    result = types.NamedUniTuple(types.intp, len(cls._fields), cls)

    def emit(ctx, b, _sig, args):
        first = emit_pointer(b, args[1], I64)
        values = [b.load(b.gep(first, [I64(i)])) for i in range(len(cls._fields))]
        return ctx.make_tuple(b, result, values)

    return result(kind, types.intp), emit
