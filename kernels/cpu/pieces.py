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

Pieces must not touch what another writes; then the result does not depend on the number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any, ForwardRef, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import njit, prange
from ..threads import get_num_threads
from .simd import I8, I32, I64, Constant, address_of, emit_pointer, keep

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
    (_parallel if parallel and get_num_threads() > 1 else _serial)(code, numbers, pieces)
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


@intrinsic
def _call(context, function, arguments, piece):
    """Call machine code that has Numba's calling convention: (result, exception, arguments...) -> status."""

    def emit(ctx, b, _sig, args):
        result = cgutils.alloca_once(b, I8.as_pointer())
        error = cgutils.alloca_once(b, ctx.call_conv.get_function_type(types.none, ()).args[1].pointee)
        kind = ir.FunctionType(I32, [result.type, error.type, I8.as_pointer(), I64, I64])
        b.call(emit_pointer(b, args[0], kind), [result, error, I8.as_pointer()(None), args[1], args[2]])
        return ctx.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@njit(parallel=True)
def _parallel(function: int, numbers: Any, pieces: int) -> None:
    arguments = address_of(numbers)
    for piece in prange(pieces):
        _call(function, arguments, piece)
    keep((numbers,))


@njit
def _serial(function: int, numbers: Any, pieces: int) -> None:
    arguments = address_of(numbers)
    for piece in range(pieces):
        _call(function, arguments, piece)
    keep((numbers,))


MOST_NUMBERS = 256  # of one loop


@njit
def run_program(program: Any, places: Any) -> None:
    """The loops of a program (see `replay`), one after the other, with the addresses of its places put in."""
    numbers, at = np.empty(MOST_NUMBERS, np.int64), 0
    while at < len(program):
        _put_in(program, at, places, numbers)
        for piece in range(program[at + 1]):
            _call(program[at], address_of(numbers), piece)
        at = _next_loop(program, at)
    keep((numbers,))


@njit(parallel=True)
def run_parallel_program(program: Any, places: Any) -> None:
    numbers, at = np.empty(MOST_NUMBERS, np.int64), 0
    while at < len(program):
        _put_in(program, at, places, numbers)
        function, arguments = program[at], address_of(numbers)
        if program[at + 2]:
            for piece in prange(program[at + 1]):
                _call(function, arguments, piece)
        else:
            for piece in range(program[at + 1]):
                _call(function, arguments, piece)
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
