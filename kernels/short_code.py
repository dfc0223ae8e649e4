"""What `native` functions do most, written shorter than Numba writes it: ranges, division, elements of arrays.

Numba's code serves all of its users.  A loop over a range takes it eighty instructions, a division of whole numbers
thirty with three branches, an element of an array looks at nine fields of it, and for ``min`` it compiles a function.
LLVM removes most of them again; until then they are written down, read and passed through by everything in between.
`compiler` asks here first.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .jit import require_numba

require_numba()

from llvmlite import ir  # noqa: E402
from numba import types  # noqa: E402
from numba.core import cgutils  # noqa: E402
from numba.core.typing.templates import AbstractTemplate, Registry, signature  # noqa: E402

RULES = Registry()
"""For types."""

CODE: dict[Any, Any] = {}
"""What writes LLVM's code for a function, by it and the types of its arguments."""

I64 = ir.IntType(64)
INTS = {count: (types.intp,) * count for count in (2, 3, 4)}


class _Extreme(AbstractTemplate):
    """Of ``min`` and ``max``, for each of which Numba compiles a function."""

    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.intp, *args) if not kws and args in INTS.values() else None


def _extreme(function: Any, comparison: str) -> None:
    def emit(_context: Any, b: ir.IRBuilder, _sig: Any, args: Any) -> ir.Value:
        best, *others = args
        for other in others:
            best = b.select(b.icmp_signed(comparison, other, best), other, best)
        return best

    RULES.register_global(function)(type(function.__name__, (_Extreme,), {"key": function}))
    CODE.update({(function, ints): emit for ints in INTS.values()})


_extreme(min, "<")
_extreme(max, ">")


def _divided(b: ir.IRBuilder, args: Any) -> tuple[ir.Value, ...]:
    """Quotient and remainder as C rounds, and -1 where Python's quotient is smaller by 1; by 0: 0 and the dividend."""
    x, y = args
    zero, one = y.type(0), y.type(1)
    by_zero = b.icmp_signed("==", y, zero)
    divisor = b.select(by_zero, one, y)
    remainder = b.srem(x, divisor)
    other_sign = b.and_(b.icmp_signed("!=", remainder, zero), b.icmp_signed("<", b.xor(remainder, divisor), zero))
    return by_zero, b.sdiv(x, divisor), remainder, other_sign


def _quotient(_context: Any, b: ir.IRBuilder, _sig: Any, args: Any) -> ir.Value:
    by_zero, quotient, _, other_sign = _divided(b, args)
    return b.select(by_zero, quotient.type(0), b.add(quotient, b.sext(other_sign, quotient.type)))


def _remainder(_context: Any, b: ir.IRBuilder, _sig: Any, args: Any) -> ir.Value:
    by_zero, _, remainder, other_sign = _divided(b, args)
    zero = remainder.type(0)
    return b.select(by_zero, zero, b.add(remainder, b.select(other_sign, args[1], zero)))


for _operator in (operator.floordiv, operator.ifloordiv):
    CODE[_operator, INTS[2]] = _quotient
for _operator in (operator.mod, operator.imod):
    CODE[_operator, INTS[2]] = _remainder


class _Root(AbstractTemplate):
    """Of ``np.sqrt`` of a number, which Numba takes for a ufunc."""

    key = np.sqrt

    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], *args) if not kws and len(args) == 1 and args[0] in FLOATS else None


def _root(_context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    kind = ir.FunctionType(args[0].type, [args[0].type])
    name = f"llvm.sqrt.f{sig.return_type.bitwidth}"
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


FLOATS = types.float32, types.float64
RULES.register_global(np.sqrt)(_Root)
CODE.update({(np.sqrt, (kind,)): _root for kind in FLOATS})


def _together(context: Any, b: ir.IRBuilder, kind: Any, values: Any) -> ir.Value:
    """The values as one of Numba's structures."""
    whole = ir.Constant(context.get_value_type(kind), ir.Undefined)
    for i, value in enumerate(values):
        whole = b.insert_value(whole, value, i)
    return whole


def _range(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    """Where it begins, how many numbers there are, and the step."""
    zero, one = I64(0), I64(1)
    start, stop, step = (zero, *args, one) if len(args) == 1 else (*args, one)[:3]
    count = b.sub(stop, start)
    if len(args) == 3:
        up = b.icmp_signed(">", step, zero)
        size = b.select(up, step, b.sub(zero, step))
        size = b.select(b.icmp_signed("==", size, zero), one, size)
        count = b.sdiv(b.add(b.select(up, count, b.sub(zero, count)), b.sub(size, one)), size)
    return _together(context, b, sig.return_type, (start, count, step))


def _iterator(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    start, count, step = (b.extract_value(args[0], i) for i in range(3))
    places = [cgutils.alloca_once(b, I64) for _ in range(2)]
    for value, place in zip((start, count), places):
        b.store(value, place)
    return _together(context, b, sig.return_type, (places[0], I64(0), step, places[1]))


def _next(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    """The next number, and whether there is one."""
    at, _, step, left = (b.extract_value(args[0], i) for i in range(4))
    value, count = b.load(at), b.load(left)
    b.store(b.sub(count, I64(1), flags=["nsw"]), left)
    b.store(b.add(value, step), at)
    return _together(context, b, sig.return_type, (value, b.icmp_signed(">", count, I64(0))))


CODE.update({(range, ints[:count]): _range for count, ints in enumerate([INTS[3]] * 4) if count})
CODE["getiter", (types.range_state64_type,)] = _iterator
CODE["iternext", (types.range_iter64_type,)] = _next


def _place(b: ir.IRBuilder, array: ir.Value, index: ir.Value) -> ir.Value:
    """Where an element lies of a C-contiguous array of one axis.

    No index is negative here: to look, and to count such a one from the end, would keep loops from being vectorised.
    """
    return b.gep(b.extract_value(array, ARRAY.index("data")), [index])


ARRAY = ("meminfo", "parent", "nitems", "itemsize", "data", "shape", "strides")


def emit_array(
    context: Any, b: ir.IRBuilder, kind: Any, data: ir.Value, count: ir.Value, owner: Any = None
) -> ir.Value:
    """An array of ``count`` elements that begin at the pointer ``data``; without an ``owner`` nobody frees them."""
    parts = context.get_value_type(kind).elements
    size = I64(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    one = [b.insert_value(ir.Constant(part, ir.Undefined), n, 0) for part, n in zip(parts[-2:], (count, size))]
    nobody = [ir.Constant(part, None) for part in parts[:2]]
    return _together(context, b, kind, (owner or nobody[0], nobody[1], count, size, data, *one))


class _Empty(AbstractTemplate):
    """Of ``np.empty(count, dtype)``."""

    def generic(self, args: Any, kws: Any) -> Any:
        if kws or len(args) != 2 or (np.empty, args) not in CODE:
            return None
        return signature(types.Array(args[1].dtype, 1, "C"), *args)


def _empty(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    kind, count = sig.return_type, args[0]
    pointer = context.get_value_type(types.CPointer(kind.dtype))
    size = b.mul(count, I64(kind.dtype.bitwidth // 8))
    owner = context.nrt.meminfo_alloc_aligned(b, size, ir.IntType(32)(64))
    return emit_array(context, b, kind, b.bitcast(context.nrt.meminfo_data(b, owner), pointer), count, owner)


RULES.register_global(np.empty)(type("empty", (_Empty,), {"key": np.empty}))
CODE.update({(np.empty, (types.intp, types.NumberClass(kind))): _empty for kind in (types.uint8, types.int64)})


def _element(_context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    return b.load(_place(b, *args))


def _set_element(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    array, index, value = args
    b.store(context.cast(b, value, sig.args[2], sig.args[0].dtype), _place(b, array, index))
    return context.get_dummy_value()


for _dtype in (types.float32, types.float64, types.int32, types.int64):
    _kind = types.Array(_dtype, 1, "C")
    for _index in (types.int64, types.uint64):
        CODE[operator.getitem, (_kind, _index)] = _element
        for _value in (types.float32, types.float64, types.int64):
            CODE[operator.setitem, (_kind, _index, _value)] = _set_element
