"""SIMD vectors inside Numba functions: the machine's registers, vector values, and loops written in LLVM's language.

Numba hands plain loops to LLVM's vectoriser, which cannot keep a block of sums in registers.  What it lacks is
added here in three layers:

* `Machine`: how wide a vector register is and how many there are, read from the host's features.
* `Lanes`: a compile-time value.  Its *type* carries a dtype and a number of lanes, so a function called with
  another `Lanes` is compiled anew, and cached on disk, like a function called with another dtype.  Inside,
  ``lanes.lanes`` and ``lanes.itemsize`` are numbers that the compiler knows.
* Vector values: ``v = load(lanes, address)`` is a vector; ``u + v``, ``u * 2.0``, ``maximum(u, v)``,
  ``fma(u, v, w)`` and ``store(address, v)`` are single instructions where the machine has registers as wide,
  several where it has not: every width is right everywhere.

Memory is named by *address*: an integer, in bytes, as in ``a.ctypes.data``.  Nothing is checked; the caller owns
the memory and keeps it alive.  Addresses need the alignment of an element, not of a vector.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any

import numpy as np

from ..jit import require_numba
from ..workspace import ALIGNMENT

require_numba()

from llvmlite import binding, ir  # noqa: E402
from numba import types  # noqa: E402
from numba.core import cgutils, config  # noqa: E402
from numba.core.imputils import lower_builtin, lower_getattr_generic  # noqa: E402
from numba.core.typing.templates import (  # noqa: E402
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import (  # noqa: E402
    NativeValue,
    intrinsic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

__all__ = [
    "Lanes",
    "Machine",
    "address_of",
    "broadcast",
    "clear_bytes",
    "copy_bytes",
    "finish_streams",
    "fma",
    "keep",
    "load",
    "machine",
    "maximum",
    "prefetch",
    "store",
    "stream",
    "transpose",
    "using",
    "zero",
]

# The machine -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """Vector registers: their width in bytes, and how many."""

    width: int
    registers: int

    def lanes(self, dtype: Any) -> int:
        """Elements of ``dtype`` in a register.

        >>> Machine(64, 32).lanes("float32"), Machine(64, 32).lanes("float64")
        (16, 8)
        """
        return self.width // np.dtype(dtype).itemsize


AVX512 = Machine(64, 32)
AVX2 = Machine(32, 16)
NEON = Machine(16, 32)
PORTABLE = Machine(16, 16)

_forced: list[Machine] = []


def machine() -> Machine:
    """The machine that kernels are written for: the host, or what an enclosing ``using`` says."""
    return _forced[-1] if _forced else _host()


@cache
def _host() -> Machine:
    """What LLVM makes of a wide fused multiply-add for the processor that Numba compiles for, asked of LLVM itself.

    That is this computer's, unless ``NUMBA_CPU_NAME`` or ``NUMBA_CPU_FEATURES`` name another.
    """
    here = config.CPU_NAME in (None, binding.get_host_cpu_name())
    name = binding.get_host_cpu_name() if here else config.CPU_NAME
    features = config.CPU_FEATURES or (binding.get_host_cpu_features().flatten() if here else "")
    wide = "<16 x float>"
    module = binding.parse_assembly(f"""
        declare {wide} @llvm.fmuladd.v16f32({wide}, {wide}, {wide})
        define void @f(ptr %a) {{
            %x = load {wide}, ptr %a
            %y = call {wide} @llvm.fmuladd.v16f32({wide} %x, {wide} %x, {wide} %x)
            store {wide} %y, ptr %a
            ret void
        }}""")
    binding.initialize_native_target()  # Numba does it too, but not before it compiles something
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple())
    assembly = target.create_target_machine(cpu=name, features=features).emit_assembly(module)
    if "vfmadd" in assembly:
        return AVX512 if "zmm" in assembly else AVX2
    return NEON if "fmla" in assembly else PORTABLE


@contextmanager
def using(forced: Machine) -> Iterator[None]:
    """Compute as if on another machine, in the whole process: for tests and for benchmarks.

    >>> with using(AVX2):
    ...     machine()
    Machine(width=32, registers=16)
    """
    _forced.append(forced)
    try:
        yield
    finally:
        _forced.remove(forced)


# Compile-time values ---------------------------------------------------------------------------------


class ConstantType(types.Type):
    """The type of a compile-time value: nothing at run time, everything in the type."""

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__(name=repr(value))


class Constant:
    """Base of frozen dataclasses whose instances Numba sees as types: one compilation for each."""

    @cached_property
    def _numba_type_(self) -> ConstantType:
        return ConstantType(self)

    def __reduce__(self) -> tuple:
        # without the cached type, which would lead back here: pickled types are the keys of the disk cache
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


register_model(ConstantType)(models.OpaqueModel)


@typeof_impl.register(Constant)
def _typeof_constant(value: Constant, _context: Any) -> ConstantType:
    return value._numba_type_


@unbox(ConstantType)
def _unbox_constant(_type: Any, _object: Any, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


@infer_getattr
class _ConstantAttributes(AttributeTemplate):
    key = ConstantType

    def generic_resolve(self, kind: ConstantType, name: str) -> types.Type | None:
        value = getattr(kind.value, name, None)
        return value._numba_type_ if isinstance(value, Constant) else types.intp if isinstance(value, int) else None


@lower_getattr_generic(ConstantType)
def _constant_attribute(context: Any, _builder: Any, kind: ConstantType, _value: Any, name: str) -> ir.Value:
    value = getattr(kind.value, name)
    return context.get_dummy_value() if isinstance(value, Constant) else context.get_constant(types.intp, int(value))


@dataclass(frozen=True)
class Lanes(Constant):
    """The type of a vector's elements, "float32", "float64", "int32" or "int64", and their number, a power of two.

    >>> Lanes("float32", 8)
    Lanes(dtype='float32', lanes=8)
    """

    dtype: str
    lanes: int

    @property
    def one(self) -> Lanes:
        """A single element of the same type."""
        return Lanes(self.dtype, 1)

    @property
    def four(self) -> Lanes:
        """Four elements of the same type."""
        return Lanes(self.dtype, 4)

    @property
    def places(self) -> Lanes:
        """As many integers: where each element comes from."""
        return Lanes("int32", self.lanes)

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def element(self) -> ir.Type:
        """LLVM's name of the element type."""
        return {"float32": ir.FloatType(), "float64": ir.DoubleType(), "int32": I32, "int64": I64}[self.dtype]

    @property
    def vector(self) -> ir.VectorType:
        """LLVM's name of the vector type."""
        return ir.VectorType(self.element, self.lanes)


# Instructions ----------------------------------------------------------------------------------------
# Each function appends instructions to the block that ``b``, an llvmlite IRBuilder, points at.

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FUSE = ("contract",)  # a product and a sum may become one instruction


def emit_pointer(b: ir.IRBuilder, address: ir.Value, to: ir.Type) -> ir.Value:
    """The address, an integer, as a pointer to elements ``to``."""
    return b.inttoptr(address, to.as_pointer())


def emit_load(b: ir.IRBuilder, lanes: Lanes, pointer: ir.Value, index: ir.Value | int = 0) -> ir.Value:
    """The vector that begins at element ``index`` of ``pointer``, a pointer to elements."""
    at = b.bitcast(b.gep(pointer, [_index(index)]), lanes.vector.as_pointer())
    return b.load(at, align=lanes.itemsize)


def emit_store(
    b: ir.IRBuilder,
    lanes: Lanes,
    value: ir.Value,
    pointer: ir.Value,
    index: ir.Value | int = 0,
    past_caches: bool = False,
) -> None:
    """Store the vector ``value`` from element ``index`` of ``pointer``, a pointer to elements, on.

    ``past_caches``: straight to memory, which then is not read before; to the alignment of a vector, or of a cache line
    where that is longer, and see `finish_streams`.
    """
    at = b.bitcast(b.gep(pointer, [_index(index)]), lanes.vector.as_pointer())
    if past_caches:
        stored = b.store(value, at, align=min(lanes.itemsize * lanes.lanes, ALIGNMENT))
        stored.set_metadata("nontemporal", b.module.add_metadata([I32(1)]))
    else:
        b.store(value, at, align=lanes.itemsize)


def emit_broadcast(b: ir.IRBuilder, lanes: Lanes, scalar: ir.Value) -> ir.Value:
    """The vector with ``scalar`` in every lane."""
    undefined = ir.Constant(lanes.vector, ir.Undefined)
    first = b.insert_element(undefined, scalar, I32(0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, lanes.lanes), [0] * lanes.lanes))


def emit_fma(b: ir.IRBuilder, lanes: Lanes, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """x * y + z, rounded once where the machine can, otherwise twice."""
    bits = 8 * lanes.itemsize
    kind = ir.FunctionType(lanes.vector, [lanes.vector] * 3)
    return b.call(_declare(b, kind, f"llvm.fmuladd.v{lanes.lanes}f{bits}"), [x, y, z])


def emit_total(b: ir.IRBuilder, lanes: Lanes, vector: ir.Value) -> ir.Value:
    """The sum of a vector's elements: of its halves, of the halves of that, ..."""
    n = lanes.lanes
    while n > 1:
        n //= 2
        masks = (ir.Constant(ir.VectorType(I32, n), list(range(first, first + n))) for first in (0, n))
        vector = b.fadd(*(b.shuffle_vector(vector, vector, mask) for mask in masks))
    return b.extract_element(vector, I32(0))


def emit_zero(lanes: Lanes) -> ir.Value:
    """The vector of zeros."""
    return ir.Constant(lanes.vector, [0 if lanes.dtype.startswith("int") else 0.0] * lanes.lanes)


def emit_loop(
    b: ir.IRBuilder,
    count: ir.Value,
    carried: list[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """``for i in range(count): carried = body(i, carried)``, the carried values kept in registers."""
    before = b.block
    head, inside, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(I64)
    i.add_incoming(I64(0), before)
    values = [b.phi(v.type) for v in carried]
    for phi, start in zip(values, carried):
        phi.add_incoming(start, before)
    b.cbranch(b.icmp_signed("<", i, count), inside, after)
    b.position_at_end(inside)
    following = body(i, list(values))
    for phi, value in zip(values, following):
        phi.add_incoming(value, b.block)
    i.add_incoming(b.add(i, I64(1)), b.block)
    b.branch(head)
    b.position_at_end(after)
    return list(values)


def emit_opaque(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The same integer, of which LLVM forgets how it was computed.

    Of addresses that differ by multiples of a step, in a loop, LLVM makes as many counters, more than there are
    registers.  If it knows nothing of the first, the others are sums within an instruction.
    """
    kind = ir.FunctionType(value.type, [value.type])
    return b.asm(kind, "", "=r,0", [value], side_effect=False)


def _index(index: ir.Value | int) -> ir.Value:
    return I64(index) if isinstance(index, int) else index


def _declare(b: ir.IRBuilder, kind: ir.FunctionType, name: str) -> ir.Function:
    known = b.module.globals.get(name)
    return known if known is not None else ir.Function(b.module, kind, name)


# Vector values in Numba functions --------------------------------------------------------------------


class VectorType(types.Type):
    """Numba's type of a register with several numbers."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        super().__init__(name=f"vector({lanes.dtype}, {lanes.lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: VectorType) -> None:
        super().__init__(manager, kind, kind.lanes.vector)


def _is(kind: type, *candidates: Any) -> bool:
    return all(isinstance(c, kind) for c in candidates)


@intrinsic
def load(_context, lanes, address):
    """The vector at ``address``."""
    if not _is(ConstantType, lanes) or not _is(types.Integer, address):
        return None
    spec = lanes.value

    def emit(_ctx, b, _sig, args):
        return emit_load(b, spec, emit_pointer(b, args[1], spec.element))

    return VectorType(spec)(lanes, types.intp), emit


@intrinsic
def store(_context, address, vector):
    """Write ``vector`` to ``address``."""
    if not _is(VectorType, vector) or not _is(types.Integer, address):
        return None
    spec = vector.lanes

    def emit(ctx, b, _sig, args):
        emit_store(b, spec, args[1], emit_pointer(b, args[0], spec.element))
        return ctx.get_dummy_value()

    return types.void(types.intp, vector), emit


@intrinsic
def stream(_context, address, vector):
    """Write ``vector`` to ``address`` past the caches: see `emit_store`."""
    if not _is(VectorType, vector) or not _is(types.Integer, address):
        return None
    spec = vector.lanes

    def emit(ctx, b, _sig, args):
        emit_store(b, spec, args[1], emit_pointer(b, args[0], spec.element), past_caches=True)
        return ctx.get_dummy_value()

    return types.void(types.intp, vector), emit


@intrinsic
def broadcast(_context, lanes, scalar):
    """The vector whose elements are all ``scalar``."""
    if not _is(ConstantType, lanes) or not _is(types.Number, scalar):
        return None
    spec = lanes.value

    def emit(_ctx, b, _sig, args):
        return emit_broadcast(b, spec, args[1])

    return VectorType(spec)(lanes, getattr(types, spec.dtype)), emit


@intrinsic
def zero(_context, lanes):
    """The vector of zeros."""
    if not _is(ConstantType, lanes):
        return None
    spec = lanes.value
    return VectorType(spec)(lanes), lambda _ctx, _b, _sig, _args: emit_zero(spec)


@intrinsic
def fma(_context, x, y, z):
    """x * y + z of three vectors."""
    if not _is(VectorType, x, y, z) or not x == y == z:
        return None
    return x(x, y, z), lambda _ctx, b, _sig, args: emit_fma(b, x.lanes, *args)


@intrinsic
def maximum(_context, x, y):
    """The larger of two vectors, element by element; where x is NaN, y (``maximum(zero, x)`` keeps NaN)."""
    if not _is(VectorType, x, y) or x != y:
        return None

    def emit(_ctx, b, _sig, args):
        return b.select(b.fcmp_ordered(">", *args), *args)

    return x(x, y), emit


@intrinsic
def minimum(_context, x, y):
    """The smaller of two vectors, element by element; where x is NaN, y."""
    if not _is(VectorType, x, y) or x != y:
        return None

    def emit(_ctx, b, _sig, args):
        return b.select(b.fcmp_ordered("<", *args), *args)

    return x(x, y), emit


@intrinsic
def keep_larger(_context, x, best, place, winner):
    """(best, winner), where x is larger or NaN replaced by (x, place): the first of equals stays, the last NaN."""
    if not _is(VectorType, x, best, place, winner) or x != best or place != winner:
        return None
    result = types.Tuple([best, winner])

    def emit(ctx, b, _sig, args):
        x, best, place, winner = args
        wins = b.or_(b.fcmp_ordered(">", x, best), b.fcmp_unordered("uno", x, x))
        return ctx.make_tuple(b, result, (b.select(wins, x, best), b.select(wins, place, winner)))

    return result(x, best, place, winner), emit


@intrinsic
def where_equal(_context, a, b, x):
    """x where the integers a and b are equal, 0 elsewhere."""
    if not _is(VectorType, a, b, x) or a != b:
        return None

    def emit(_ctx, builder, _sig, args):
        a, b, x = args
        return builder.select(builder.icmp_signed("==", a, b), x, emit_zero(sig_lanes))

    sig_lanes = x.lanes
    return x(a, b, x), emit


@intrinsic
def where_between(_context, a, low, high, x):
    """x where low < a < high, 0 elsewhere, of vectors of floating point numbers; if high is NaN, low < a suffices."""
    if not _is(VectorType, a, low, high, x) or not a == low == high == x:
        return None

    def emit(_ctx, b, _sig, args):
        a, low, high, x = args
        inside = b.and_(b.fcmp_ordered(">", a, low), b.fcmp_unordered("<", a, high))
        return b.select(inside, x, emit_zero(spec))

    spec = x.lanes
    return x(a, low, high, x), emit


@intrinsic
def address_of(_context, array):
    """The address of an array's first element: signed, since ``a.ctypes.data`` plus an int64 is a float64.

    Numba frees an array after the last mention of its *name*: write ``keep`` after the last use of its address.
    """
    if not _is(types.Array, array):
        return None

    def emit(ctx, b, sig, args):
        data = ctx.make_array(sig.args[0])(ctx, b, args[0]).data
        return b.ptrtoint(data, I64)

    return types.intp(array), emit


@intrinsic
def keep(_context, arrays):
    """Do nothing with a tuple of arrays, and so keep them alive until here."""
    return types.void(arrays), lambda ctx, _b, _sig, _args: ctx.get_dummy_value()


@intrinsic
def prefetch(_context, address):
    """Ask for the cache line at ``address``, which need not be anybody's, to be brought into the L2 cache."""

    def emit(ctx, b, _sig, args):
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        fetch = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
        b.call(fetch, [emit_pointer(b, args[0], I8), I32(0), I32(2), I32(1)])
        return ctx.get_dummy_value()

    return types.void(types.intp), emit


@intrinsic
def finish_streams(_context):
    """What this thread has stored past the caches is in memory before anything that it stores later."""

    def emit(ctx, b, _sig, _args):
        b.fence("seq_cst")
        return ctx.get_dummy_value()

    return types.void(), emit


@intrinsic
def copy_bytes(_context, target, source, count):
    """Copy ``count`` bytes from address ``source`` to address ``target``."""

    def emit(ctx, b, _sig, args):
        to, origin = (emit_pointer(b, a, I8) for a in args[:2])
        cgutils.raw_memcpy(b, to, origin, args[2], 1)
        return ctx.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@intrinsic
def clear_bytes(_context, target, count):
    """Set ``count`` bytes from address ``target`` on to 0."""

    def emit(ctx, b, _sig, args):
        cgutils.memset(b, emit_pointer(b, args[0], I8), args[1], 0)
        return ctx.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def transpose(_context, lanes, target, target_step, source, source_step):
    """target[i, j] = source[j, i] for a block of lanes x lanes elements; the rows are ``..._step`` bytes apart.

    log2(lanes) rounds: in the round of distance d, rows i and i + d exchange what a transposition moves by d.
    """
    if not _is(ConstantType, lanes):
        return None
    spec = lanes.value
    n = spec.lanes

    def emit(ctx, b, _sig, args):
        _, target, target_step, source, source_step = args
        places = [b.add(source, b.mul(source_step, I64(i))) for i in range(n)]
        rows = [emit_load(b, spec, emit_pointer(b, place, spec.element)) for place in places]
        d = n // 2
        while d:
            keep = [j if not j & d else n + (j ^ d) for j in range(n)]  # of rows i and i + d: the new row i
            move = [j ^ d if not j & d else n + j for j in range(n)]  # the new row i + d
            for i in range(n):
                if not i & d:
                    pair = rows[i], rows[i + d]
                    rows[i], rows[i + d] = (
                        b.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, n), mask)) for mask in (keep, move)
                    )
            d //= 2
        for i, row in enumerate(rows):
            place = b.add(target, b.mul(target_step, I64(i)))
            emit_store(b, spec, row, emit_pointer(b, place, spec.element))
        return ctx.get_dummy_value()

    return types.void(lanes, types.intp, types.intp, types.intp, types.intp), emit


# Arithmetic: vector with vector, and vector with a scalar that is broadcast


def _arithmetic(operation: Any, emit: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]) -> None:
    @infer_global(operation)
    class _(AbstractTemplate):
        def generic(self, args, kws):
            if kws or len(args) != 2:
                return None
            x, y = args
            if _is(VectorType, x, y) and x == y:
                return signature(x, x, x)
            if _is(VectorType, x) and _is(types.Number, y):
                return signature(x, x, getattr(types, x.lanes.dtype))
            if _is(types.Number, x) and _is(VectorType, y):
                return signature(y, getattr(types, y.lanes.dtype), y)
            return None

    def lower(_ctx, b, sig, args):
        spec = sig.return_type.lanes
        x, y = (v if _is(VectorType, kind) else emit_broadcast(b, spec, v) for kind, v in zip(sig.args, args))
        return emit(b, x, y)

    lower_builtin(operation, VectorType, VectorType)(lower)
    lower_builtin(operation, VectorType, types.Float)(lower)
    lower_builtin(operation, types.Float, VectorType)(lower)


_arithmetic(operator.add, lambda b, x, y: b.fadd(x, y, flags=FUSE))
_arithmetic(operator.sub, lambda b, x, y: b.fsub(x, y, flags=FUSE))
_arithmetic(operator.mul, lambda b, x, y: b.fmul(x, y, flags=FUSE))
_arithmetic(operator.truediv, lambda b, x, y: b.fdiv(x, y))
