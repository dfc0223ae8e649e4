"""index_add and index_put(accumulate=True) with sources that do not have the shape of the place they go to."""

import numpy as np
import pytest

import minidl


def test_index_put_adds_a_stretched_value_and_its_gradient_sums():
    x = minidl.zeros(4, 3, dtype="float64")
    v = minidl.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)
    rows = minidl.tensor([0, 2, 2])
    y = minidl.index_put(x, (rows,), v, accumulate=True)
    assert y.tolist() == [[1, 2, 3], [0, 0, 0], [2, 4, 6], [0, 0, 0]]
    g = np.random.default_rng(0).standard_normal((4, 3))
    y.backward(minidl.tensor(g))
    np.testing.assert_allclose(v.grad.numpy(), g[0] + 2 * g[2], rtol=1e-14)


def test_index_add_says_which_shape_it_needs():
    with pytest.raises(
        ValueError, match=r"index_add: 3 indices along dim 0 of \(4, 3\) need a source of \(3, 3\), not"
    ):
        minidl.index_add(minidl.zeros(4, 3), 0, [0, 2, 2], minidl.ones(3))


def test_randint_asks_for_a_size():
    with pytest.raises(TypeError, match=r"randint needs a size, for example randint\(3, 7, \(4,\)\)"):
        minidl.randint(3, 7)
