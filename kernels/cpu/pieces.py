"""One parallel loop for all kernels: compiled once, and told by address which compiled function to call.

Numba compiles a parallel loop together with everything that it calls, several times over; for a kernel that takes
seconds.  Here the loop knows nothing of the kernel.  A kernel is a function of a compile-time value, the address
of its arguments, and the number of the piece of work:

    class Scaling(NamedTuple):  # integers, addresses among them
        x: Address
        count: int

    @native
    def scale(lanes, arguments, piece):
        a = read(Scaling, arguments)
        ...

    run(scale, Lanes("float32", 8), Scaling(...), pieces=10)

Pieces must not touch what another writes; then the result does not depend on the number of threads, nor on which of
them (see `crew`) computes which piece.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Annotated, Any, ForwardRef, NamedTuple

from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr, infer_global, signature
from numba.extending import intrinsic, models, register_model

from .. import machine_code
from ..jit import Native, native
from ..threads import get_num_threads
from .crew import call, dismiss, gather, share
from .simd import I8, I64, Constant, emit_pointer

SERIAL = 20e-6
"""Seconds of work below which waking the other threads costs more than it saves."""

NO_MEMORY = "a kernel found no memory for its intermediate results: a smaller batch needs less of it"


Address = Annotated[int, "address"]
"""What a field of a NamedTuple of arguments is annotated with if it is one: `replay` has to know."""


class Loop(NamedTuple):
    """One call of `run`."""

    code: int
    pieces: int
    parallel: bool
    numbers: array[int]  # of 64 bits
    addresses: tuple[int, ...]  # which of the numbers are addresses


class _Watch(threading.local):
    loops: list[Loop | None] | None = None


_watch = _Watch()


def run(function: Native, constant: Constant, arguments: Any, pieces: int, seconds: float = 1.0) -> None:
    """``function(constant, arguments, piece)`` for all pieces; serial where ``seconds`` of work are too little.

    ``arguments``: a NamedTuple of integers, or a tuple of several, which lie one after the other.  MemoryError where a
    piece found none; the others are done nevertheless.
    """
    parts = (arguments,) if hasattr(arguments, "_fields") else arguments
    numbers = array("q", chain.from_iterable(parts))
    code, parallel = code_address(function, constant), pieces > 1 and seconds > SERIAL
    board = gather(get_num_threads()) if parallel and get_num_threads() > 1 else 0
    try:
        failed = machine_code.entry(_loop, 4)(code, numbers.buffer_info()[0], pieces, board)
    finally:
        if board:
            dismiss()
    if failed:
        raise MemoryError(NO_MEMORY)
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


@contextmanager
def unwatched() -> Iterator[None]:
    """Run loops inside that nobody who watches has to know of."""
    before, _watch.loops = _watch.loops, None
    try:
        yield
    finally:
        _watch.loops = before


def is_watched() -> bool:
    """Whether the loops that this thread runs are written down at present."""
    return _watch.loops is not None


def outside_of_loops() -> None:
    """Say that a kernel computes something in NumPy, which nobody who watches its loops sees."""
    if _watch.loops is not None:
        _watch.loops.append(None)


def code_address(function: Native, constant: Constant) -> int:
    """Where the machine code for this constant begins; compiled, or read from the disk, the first time."""
    address = function.addresses.get(constant)
    if address is None:
        signature = constant._numba_type_, types.intp, types.intp
        address = function.addresses[constant] = machine_code.address(function, signature)
    return address


@native
def _loop(function: int, arguments: int, pieces: int, board: int) -> None:
    """All pieces; with the crew's help if there is a ``board``.  It fails where a piece does, after all of them."""
    failed = 0
    if board != 0:
        failed = share(board, function, arguments, pieces)
    else:
        for piece in range(pieces):
            if call(function, arguments, piece) != 0:
                failed += 1
    fail(failed)


@intrinsic
def fail(_context, count):
    """Leave the calling function, and those that called it, as where there is no memory, if ``count`` is not 0."""

    def emit(ctx, b, _sig, args):
        _fail_if(ctx, b, b.icmp_signed("!=", args[0], I64(0)))
        return ctx.get_dummy_value()

    return types.void(types.intp), emit


def _fail_if(ctx: Any, b: Any, condition: Any) -> None:
    with b.if_then(condition, likely=False):
        ctx.call_conv.return_user_exc(b, MemoryError, ())


LINE = 64  # bytes of a cache line
MOST_NUMBERS = 256  # of one loop


def run_program(begin: int, end: int, places: array[int], parallel: bool) -> None:
    """The loops of a program (see `replay`) that lies between two addresses, one after the other, with the addresses
    of its places put in."""
    board = gather(get_num_threads()) if parallel and get_num_threads() > 1 else 0
    try:
        failed = machine_code.entry(_run_program, 4)(begin, end, places.buffer_info()[0], board)
    finally:
        if board:
            dismiss()
    if failed:
        raise MemoryError(NO_MEMORY)


@native
def _run_program(program: int, end: int, places: int, board: int) -> None:
    arguments = _room()
    while program < end:
        _put_in(program, places, arguments)
        _loop(number(program, 0), arguments, number(program, 1), board if number(program, 2) else 0)
        program = _next_loop(program)


HEAD = 5  # code, pieces, parallel, how many numbers, how many of them are addresses


@native
def _put_in(program: int, places: int, arguments: int) -> None:
    """The arguments of the loop that is described from ``program`` on."""
    count, moves = number(program, 3), number(program, 4)
    for i in range(count):
        write_number(arguments, i, number(program, HEAD + i))
    for i in range(HEAD + count, HEAD + count + 2 * moves, 2):
        at = number(program, i)
        write_number(arguments, at, number(arguments, at) + number(places, number(program, i + 1)))


@native
def _next_loop(program: int) -> int:
    return program + 8 * (HEAD + number(program, 3) + 2 * number(program, 4))


@intrinsic
def number(_context, row, i):
    """Integer i of the row that begins at address ``row``."""

    def emit(_ctx, b, _sig, args):
        return b.load(b.gep(emit_pointer(b, args[0], I64), [args[1]]))

    return types.intp(types.intp, types.intp), emit


@intrinsic
def write_number(_context, row, i, value):
    """Integer i of the row that begins at address ``row`` becomes ``value``."""

    def emit(ctx, b, _sig, args):
        b.store(args[2], b.gep(emit_pointer(b, args[0], I64), [args[1]]))
        return ctx.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@intrinsic
def _room(_context):
    """The address of room for MOST_NUMBERS integers, as long as the calling function runs."""
    return types.intp(), lambda _ctx, b, _sig, _args: b.ptrtoint(cgutils.alloca_once(b, I64, I64(MOST_NUMBERS)), I64)


@intrinsic
def allocate(context, count):
    """The address of ``count`` bytes of memory, on a cache line, for the piece that asks; it gives them to `free`."""

    def emit(ctx, b, _sig, args):
        lines = b.and_(b.add(args[0], I64(2 * LINE - 1)), I64(-LINE))
        block = b.ptrtoint(ctx.nrt.allocate(b, lines), I64)
        _fail_if(ctx, b, b.icmp_signed("==", block, I64(0)))
        place = b.and_(b.add(block, I64(LINE)), I64(-LINE))  # at least 8 bytes further on: where the block begins
        b.store(block, emit_pointer(b, b.sub(place, I64(8)), I64))
        return place

    return types.intp(types.intp), emit


@intrinsic
def free(context, place):
    """Give back what `allocate` gave."""

    def emit(ctx, b, _sig, args):
        block = b.load(emit_pointer(b, b.sub(args[0], I64(8)), I64))
        ctx.nrt.free(b, emit_pointer(b, block, I8))
        return ctx.get_dummy_value()

    return types.void(types.intp), emit


class FieldsType(types.Type):
    """The type of integers in memory that have the names of the fields of a NamedTuple."""

    def __init__(self, cls: Any) -> None:
        self.cls = cls
        super().__init__(name=f"{cls.__module__}.{cls.__qualname__}")

    @property
    def key(self) -> Any:
        return self.cls


@register_model(FieldsType)
class _FieldsModel(models.PrimitiveModel):  # an address
    def __init__(self, manager: Any, kind: FieldsType) -> None:
        super().__init__(manager, kind, I64)


@infer_getattr
class _FieldsAttributes(AttributeTemplate):
    key = FieldsType

    def generic_resolve(self, kind: FieldsType, name: str) -> types.Type | None:
        return types.intp if name in kind.cls._fields else None


@lower_getattr_generic(FieldsType)
def _field(_context: Any, b: Any, kind: FieldsType, value: Any, name: str) -> Any:
    field = b.load(b.gep(emit_pointer(b, value, I64), [I64(kind.cls._fields.index(name))]))
    field.set_metadata("invariant.load", b.module.add_metadata([]))  # nobody writes them while a piece computes
    return field


@infer_global(len)
class _FieldsLength(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.intp, *args) if len(args) == 1 and isinstance(args[0], FieldsType) else None


@lower_builtin(len, FieldsType)
def _length(_context: Any, _b: Any, sig: Any, _args: Any) -> Any:
    return I64(len(sig.args[0].cls._fields))


@intrinsic
def read(context, kind, address):
    """The integers that lie at ``address``, with the names of the NamedTuple ``kind``."""
    if not isinstance(kind, types.NamedTupleClass):
        return None
    return FieldsType(kind.instance_class)(kind, types.intp), lambda _ctx, _b, _sig, args: args[1]
