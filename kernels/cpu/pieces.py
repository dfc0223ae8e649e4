"""One parallel loop for all kernels: compiled once, and told by address which compiled function to call.

Numba compiles a parallel loop together with everything that it calls, several times over; for a kernel that takes
seconds.  Here the loop knows nothing of the kernel.  A kernel is a function of a compile-time value, the address
of its arguments, and the number of the piece of work:

    class Scaling(NamedTuple):  # integers, addresses among them
        x: int
        count: int

    @njit
    def scale(lanes, arguments, piece):
        a = read(Scaling, arguments)
        ...

    run(scale, Lanes("float32", 8), Scaling(...), pieces=10)

Pieces must not touch what another writes; then the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import njit, prange
from .simd import I8, I32, I64, Constant, emit_pointer

SERIAL = 20e-6
"""Seconds of work below which waking the other threads costs more than it saves."""


def run(function: Callable[..., None], constant: Constant, arguments: Any, pieces: int, seconds: float = 1.0) -> None:
    """``function(constant, arguments, piece)`` for all pieces; serial where ``seconds`` of work are too little.

    ``arguments``: NamedTuples of integers, one or several, which lie one after the other.
    """
    numbers = np.array(arguments, np.int64)
    loop = _parallel if pieces > 1 and seconds > SERIAL else _serial
    loop(_address(function, constant), numbers.ctypes.data, pieces)


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
def _parallel(function: int, arguments: int, pieces: int) -> None:
    for piece in prange(pieces):
        _call(function, arguments, piece)


@njit
def _serial(function: int, arguments: int, pieces: int) -> None:
    for piece in range(pieces):
        _call(function, arguments, piece)


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
