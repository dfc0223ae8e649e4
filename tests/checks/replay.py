"""A known call gives what the kernel gives: for the mutation run, whose bugs forget what a call depends on."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from minidl.kernels import workspace
from minidl.kernels.cpu import nhwc, pieces, relayout, replay
from minidl.kernels.geometry import Conv

SQUARE = Conv.from_shapes((4, 4, 4, 4), (4, 4, 4, 4), padding=2)  # x and w of one shape


def _same_as_the_kernel(*pairs: tuple[np.ndarray, np.ndarray]) -> None:
    kernel = nhwc.forward.__wrapped__
    again = replay.replayed(kernel)
    for x, w in pairs:
        np.testing.assert_array_equal(again(x, w, SQUARE), kernel(x, w, SQUARE))


def _drawn() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 4, 4, 4, 4)).astype("float32")


def strides_count() -> None:
    x, w = _drawn()
    _same_as_the_kernel((x, w), (x, w.T), (x.T, w), (x, w))


def the_first_element_may_lie_above() -> None:
    x, w = _drawn()
    _same_as_the_kernel((x[..., ::-1], w[:, ::-1]), (x[..., ::-1].copy()[..., ::-1], (-w)[:, ::-1]))


def operands_may_be_one_array() -> None:
    x, w = _drawn()
    _same_as_the_kernel((x, x), (x, w))


def work_in_numpy_is_done_each_time() -> None:
    def copied(a: np.ndarray, b: np.ndarray, problem: Any, out: Any = None) -> np.ndarray:
        y = relayout.empty_last((2, 4, 4, 4), a.dtype)
        relayout.assign(y, a)  # a loop
        relayout.assign(y[:, :, ::2], b[:, :, ::2])  # NumPy's work, for it has gaps
        return y

    again = replay.replayed(copied)
    for a, b in (_drawn()[:, :2], -_drawn()[:, :2]):
        expected = a.copy()
        expected[:, :, ::2] = b[:, :, ::2]
        np.testing.assert_array_equal(again(a, b, None), expected)


def scratch_memory_stays_while_its_address_is_known() -> None:
    """A kernel tells its loops addresses; the array of the copy that it works on may be gone by then."""

    def kernel(a: np.ndarray, b: np.ndarray, problem: Any, out: Any = None) -> np.ndarray:
        y = np.empty_like(a) if out is None else out
        lent = [weakref.ref(workspace.borrow(name, a.shape, a.dtype).base) for name in ("one", "another")]
        workspace.release()  # as another thread may do
        assert all(memory() is not None for memory in lent)
        pieces.outside_of_loops()
        y[...] = a + b
        return y

    largest, again, (a, b) = workspace.LARGEST, replay.replayed(kernel), np.ones((2, 50), np.float32)
    try:
        for workspace.LARGEST in (largest, 0):  # or the block is too large to be kept
            for _ in range(3):
                assert again(a, b, None).sum() == 100
            assert again(a, b, None, a.copy()).sum() == 100
            assert again(a[:0], b[:0], None).size == 0
    finally:
        workspace.LARGEST = largest


CHECKS = (
    strides_count, the_first_element_may_lie_above, operands_may_be_one_array, work_in_numpy_is_done_each_time,
    scratch_memory_stays_while_its_address_is_known,
)  # fmt: skip
