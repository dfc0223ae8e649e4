"""Layouts."""

import numpy as np

from minidl.kernels import layout


def test_memory_of_any_order_of_axes() -> None:
    a = np.arange(120.0).reshape(2, 3, 4, 5)
    for view in (a, a.transpose(0, 2, 3, 1), a.transpose(3, 1, 0, 2), a[:, :1, :, :][:, :, :1]):
        found = layout.memory(view)
        if view.size < a.size:
            assert found is None
            continue
        flat, strides = found
        assert np.shares_memory(flat, a)
        for index in np.ndindex(view.shape):
            assert flat[sum(i * s for i, s in zip(index, strides))] == view[index]
    assert layout.memory(a[..., ::-1]) is None
    assert layout.memory(np.zeros((0, 3, 2)))[0].size == 0


def test_copies_of_gappy_arrays() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)[:, ::2, ::-1]
    flat, strides = layout.memory_or_copy(a, "test")
    assert not np.shares_memory(flat, a) and strides == (8, 4, 1)
    np.testing.assert_array_equal(flat.reshape(a.shape), a)


def test_what_must_not_be_written_is_copied() -> None:
    a = np.arange(6.0).reshape(2, 3)
    a.flags.writeable = False
    flat, strides = layout.memory_or_copy(a, "test")
    assert flat.flags.writeable and strides == (3, 1) and not np.shares_memory(flat, a)
    np.testing.assert_array_equal(flat, np.arange(6.0))


def test_channels_last() -> None:
    last = np.zeros((2, 5, 4, 3)).transpose(0, 3, 1, 2)
    assert layout.channels_last(last) and not layout.channels_last(np.zeros((2, 3, 5, 4)))
    assert not layout.channels_last(np.zeros((2, 3, 1, 1))) and not layout.channels_last(np.zeros((2, 1, 5, 4)))
    assert layout.empty((4, 7, 2, 2), last).strides == (4 * 56, 8, 2 * 56, 56)
    assert layout.empty((4, 7, 2, 2), np.zeros((1, 2, 3, 3), "float32")).dtype == np.float32
