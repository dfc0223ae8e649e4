"""Joined arrays against elements put one by one, in every storage, twice: what is remembered of a call is used too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from minidl.kernels import joining, threads
from minidl.kernels.cpu import joining as kernel

SHAPES = (
    (2, 3, 4, 5),
    (1, 3, 4, 5),
    (3, 8, 1, 5),
    (3, 5, 1, 1),
    (2, 1, 4, 3),
    (7, 9),
    (11,),
    (2, 3, 2, 4, 3),
    (1, 1, 1),
)
LENGTHS = ((1, 2), (3,), (2, 1, 4), (0, 2), (1, 1))
STORAGES = ("first", "last", "narrow", "narrow last", "reversed", "columns", "stretched")


def stored(a: np.ndarray, storage: str, axis: int = 0) -> np.ndarray:
    """The elements of ``a`` in another way in memory."""
    if storage == "last" and a.ndim > 2:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)
    if storage.startswith("narrow"):  # part of a longer array
        along = 1 if storage == "narrow last" and a.ndim > 2 else axis
        longer = stored(np.concatenate([a, a], along), "last" if storage == "narrow last" else "first")
        return np.split(longer, 2, along)[0]
    if storage == "reversed":
        return np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    if storage == "columns":
        return np.asfortranarray(a)
    if storage == "stretched":  # the same element all along an axis
        return np.broadcast_to(a[:1], a.shape)
    return a


def parts(dtype: str) -> Iterator[tuple[list[np.ndarray], int]]:
    rng = np.random.default_rng(0)
    for shape, lengths, storages in itertools.product(SHAPES, LENGTHS, itertools.product(STORAGES, repeat=2)):
        for axis in range(-len(shape), len(shape)):
            sizes = [(*shape[: axis % len(shape)], n, *shape[axis % len(shape) + 1 :]) for n in lengths]
            drawn = [rng.standard_normal(size).astype(dtype) for size in sizes]
            yield [stored(a, s, axis) for a, s in zip(drawn, itertools.cycle(storages))], axis


def joined(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """One part after the other, by an index for each."""
    first = arrays[0]
    shape = list(first.shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    y, begin = np.empty(shape, first.dtype), 0
    for a in arrays:
        np.moveaxis(y, axis, 0)[begin : begin + a.shape[axis]] = np.moveaxis(a, axis, 0)
        begin += a.shape[axis]
    return y


def check_storages(dtype: str) -> None:
    kernel._plan.cache_clear()
    for number, (arrays, axis) in enumerate(parts(dtype)):
        if number % 5:
            continue
        told = f"{dtype} along {axis}: {[(a.shape, a.strides) for a in arrays]}"
        before, expected, as_numpy = [a.copy() for a in arrays], joined(arrays, axis), np.concatenate(arrays, axis)
        got = joining.concatenate(arrays, axis, algorithm="numba")
        assert got.dtype == dtype and got.shape == expected.shape, told
        np.testing.assert_array_equal(got, expected, err_msg=told)
        for i, n in enumerate(got.shape):
            assert n == 1 or not got.size or got.strides[i] == as_numpy.strides[i], f"{told}: {got.strides}"
        for a, old in zip(arrays, before):
            assert not np.shares_memory(a, got), told
            np.testing.assert_array_equal(a, old, err_msg=told)


def check_pieces() -> None:
    """Rows shorter than a piece of work and longer, none of them a multiple; the number of threads changes nothing."""
    kernel._plan.cache_clear()
    rng, before = np.random.default_rng(1), threads.get_num_threads()
    for (n, h, w), lengths in itertools.product([(3, 37, 41), (1, 150, 151)], [(5, 1, 40), (17, 2), (70, 3)]):
        for storage in ("first", "last"):
            arrays = [stored(rng.standard_normal((n, c, h, w)).astype("float32"), storage) for c in lengths]
            expected = joined(arrays, 1)
            try:
                for count in {1, before}:
                    threads.set_num_threads(count)
                    for _ in range(2):
                        np.testing.assert_array_equal(joining.concatenate(arrays, 1, algorithm="numba"), expected)
            finally:
                threads.set_num_threads(before)


def check_other_arrays() -> None:
    """What was planned for some arrays serves others of these sizes, and no others."""
    kernel._plan.cache_clear()
    rng = np.random.default_rng(2)
    for dtype, axis, lengths in itertools.product(("float32", "float64"), (1, 2), ((3, 3), (3, 3), (2, 4), (6,))):
        arrays = []
        for n in lengths:
            shape = [2, 5, 5, 4]
            shape[axis] = n
            arrays.append(stored(rng.standard_normal(shape).astype(dtype), "last"))
        got = joining.concatenate(arrays, axis, algorithm="numba")
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, joined(arrays, axis))
