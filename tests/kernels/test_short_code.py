"""What `native` functions do most, in our own words: it is what Python does."""

import itertools
import re
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import types

from minidl.kernels import jit, machine_code
from minidl.kernels.cpu.elements import elements
from minidl.kernels.cpu.pieces import Address, read, run, write_number
from minidl.kernels.cpu.places import address
from minidl.kernels.cpu.simd import Lanes

U = np.uint64


@jit.native
def _divide(x: int, y: int, to: int) -> None:
    write_number(to, 0, x // y)
    write_number(to, 1, x % y)
    write_number(to, 2, min(x, y))
    write_number(to, 3, max(x, y))
    write_number(to, 4, min(x, 3, y))
    write_number(to, 5, max(3, x, y, -5))


@pytest.mark.parametrize("numbers", [range(-7, 8), (-(2**62), -1, 5, 2**62 - 1)])
def test_whole_numbers(numbers: range | tuple[int, ...]) -> None:
    divide, to = machine_code.entry(_divide, 3), np.zeros(6, np.int64)
    for x, y in itertools.product(numbers, numbers):
        divide(x, y, address(to))
        by_zero = (0, 0)  # what Numba says too, where it does not raise
        assert tuple(to[:2]) == (divmod(x, y) if y else by_zero), (x, y)
        assert tuple(to[2:]) == (min(x, y), max(x, y), min(x, 3, y), max(3, x, y, -5)), (x, y)


@jit.native
def _count(start: int, stop: int, step: int, to: int) -> None:
    places, last = 0, 99
    for i in range(start, stop, step):
        places, last = 10 * places + i, i
    write_number(to, 0, places)
    write_number(to, 1, last)
    places = 0
    for i in range(start, stop):
        for _ in range(i):
            places += stop
        places = 3 * places + i
    write_number(to, 2, places)


def test_ranges() -> None:
    count, to = machine_code.entry(_count, 4), np.zeros(3, np.int64)
    for start, stop, step in itertools.product(range(-4, 5), range(-4, 5), (-7, -3, -2, -1, 1, 2, 3, 7)):
        places, last, nested = 0, 99, 0
        for i in range(start, stop, step):
            places, last = 10 * places + i, i
        for i in range(start, stop):
            nested = 3 * (nested + max(0, i) * stop) + i
        count(start, stop, step, address(to))
        assert tuple(to) == (places, last, nested), (start, stop, step)


class Where(NamedTuple):
    place: Address


@jit.native
def _reverse(kind, arguments: int, piece: int) -> None:
    """Of five elements; by an array of its own, and by indices from both ends."""
    a, order = elements(kind, read(Where, arguments).place, 5), np.empty(5, np.int64)
    for i in range(len(a)):
        order[i] = len(a) - 1 - i
    for i in range(2):
        a[U(i)], a[order[i]] = a[order[i]], a[U(i)]
    a[2] = a[2] + len(order)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_elements_of_arrays(dtype: str) -> None:
    a = np.arange(5, 10, dtype=dtype)
    run(_reverse, Lanes(dtype, 1), Where(address(a)), 1)
    np.testing.assert_array_equal(a, np.array([9, 8, 12, 6, 5], dtype))


class Two(NamedTuple):
    source: Address
    target: Address
    rows: int
    columns: int


@jit.native
def _shift_rows(kind, arguments: int, piece: int) -> None:
    p = read(Two, arguments)
    x, y = elements(kind, p.source, p.rows * p.columns), elements(kind, p.target, p.rows * p.columns)
    for m in range(p.rows):
        for v in range(p.columns):
            at = m * p.columns + v
            y[at] = x[at] + 1


def test_loops_over_elements_are_vectorised() -> None:
    """Many elements in one instruction, as the names of LLVM's types tell: whatever is in their way costs a factor."""
    signature = Lanes("float32", 1)._numba_type_, types.intp, types.intp
    part, symbol = _shift_rows.dispatcher.part(signature)
    written = str(machine_code.optimised(part, symbol))
    assert re.search(r"fadd .*<\d+ x float>", written)
    x, y = np.arange(42, dtype="float32"), np.zeros(42, "float32")
    run(_shift_rows, Lanes("float32", 1), Two(address(x), address(y), 6, 7), 1)
    np.testing.assert_array_equal(y, x + 1)


@jit.native
def _take_roots(kind, arguments: int, piece: int) -> None:
    a = elements(kind, read(Where, arguments).place, 5)
    for i in range(5):
        a[i] = np.sqrt(a[i])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_roots(dtype: str) -> None:
    a = np.array([2, -1, 0.0, np.inf, 1e-40], dtype)
    with np.errstate(invalid="ignore"):
        want = np.sqrt(a)
    run(_take_roots, Lanes(dtype, 1), Where(address(a)), 1)
    np.testing.assert_array_equal(a, want)
