"""Layouts."""

import numpy as np

from minidl.kernels import layout


def test_channels_last() -> None:
    last = np.zeros((2, 5, 4, 3)).transpose(0, 3, 1, 2)
    assert layout.channels_last(last) and not layout.channels_last(np.zeros((2, 3, 5, 4)))
    assert not layout.channels_last(np.zeros((2, 3, 1, 1))) and not layout.channels_last(np.zeros((2, 1, 5, 4)))
    assert layout.empty((4, 7, 2, 2), last).strides == (4 * 56, 8, 2 * 56, 56)
    assert layout.empty((4, 7, 2, 2), np.zeros((1, 2, 3, 3), "float32")).dtype == np.float32
