"""Windows of an array that is zero outside itself, against walking over positions one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl.kernels.tiling import overlap, read, write


def line_at(a: np.ndarray, position: int, step: int) -> float:
    """The sample that stands at a position, 0.0 where none does."""
    sample, rest = divmod(position, step)
    return float(a[sample]) if rest == 0 and 0 <= sample < len(a) else 0.0


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_every_window_of_a_line(step):
    a = np.array([1.5, -2.0, 3.25, 7.0])
    for start, length in itertools.product(range(-9, 24), range(1, 9)):
        window = read(np.full(length, np.nan), a, (start,), (step,))
        expected = [line_at(a, start + i, step) for i in range(length)]
        assert window.tolist() == expected, (start, length)


def test_read_then_write_restores_what_the_window_saw():
    rng = np.random.default_rng(1)
    a = rng.standard_normal((2, 5, 4))
    window = read(np.full((2, 6, 7), np.nan), a, (-1, 2), (2, 3))  # positions -1..4 and 2..8
    back = np.zeros_like(a)
    write(back, window, (-1, 2), (2, 3))
    seen = np.zeros((5, 4), bool)
    seen[0:3, 1:3] = True  # samples at 0 2 4, and at 3 6
    assert np.array_equal(back, np.where(seen, a, 0))


def test_a_window_beside_the_array_is_empty():
    assert overlap(4, 3, 4) == (slice(0, 0), slice(0, 0))
    assert overlap(-3, 3, 4) == (slice(0, 0), slice(0, 0))
    assert overlap(1, 2, 4, step=3) == (slice(0, 0), slice(0, 0))  # between two samples
