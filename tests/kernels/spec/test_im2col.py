"""The readable im2col: shapes of what it names, and unfold and fold as torch has them."""

import numpy as np
import pytest

from minidl.kernels.errors import ShapeError
from minidl.kernels.spec import im2col as twin
from tests.kernels import convolution_cases as cases


@pytest.mark.parametrize("name", cases.CASES)
def test_intermediates(name) -> None:
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv)
    want = cases.by_definition(conv, x, w, g)
    groups, k, c = conv.groups, conv.out_channels // conv.groups, int(np.prod(conv.w_shape[1:]))
    windows = int(np.prod(conv.out))
    f = twin.forward_steps(x, w, conv)
    assert f.columns.shape == (conv.batch, groups, c, windows) and f.weights.shape == (groups, k, c)
    assert f.product.shape == (conv.batch, groups, k, windows)
    cases.close(f.y, want["forward"], "forward")
    i = twin.input_grad_steps(w, g, conv)
    assert i.columns.shape == f.columns.shape and i.cotangent.shape == f.product.shape
    cases.close(i.dx, want["input_grad"], "input_grad")
    d = twin.weight_grad_steps(x, g, conv)
    assert d.products.shape == (conv.batch, groups, k, c)
    np.testing.assert_array_equal(d.columns, f.columns)
    cases.close(d.dw, want["weight_grad"], "weight_grad")


def test_col2im_is_the_transpose_of_im2col() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 3, 9, 8))
    options = {"dilation": (1, 2), "padding": ((1, 2), (0, 1)), "stride": (2, 1)}
    columns = twin.im2col(x, (3, 2), **options)
    other = rng.standard_normal(columns.shape)
    back = twin.col2im(other, (9, 8), (3, 2), **options)
    assert np.vdot(columns, other) == pytest.approx(np.vdot(x, back), rel=1e-12)


@pytest.mark.torch
def test_unfold_and_fold() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(3).standard_normal((2, 3, 9, 8))
    options = {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (2, 1), "stride": (2, 1)}
    columns = twin.im2col(x, **options)
    np.testing.assert_array_equal(columns, torch.nn.functional.unfold(torch.from_numpy(x), **options).numpy())
    columns = columns**2
    want = torch.nn.functional.fold(torch.from_numpy(columns), (9, 8), **options).numpy()
    np.testing.assert_allclose(twin.col2im(columns, (9, 8), **options), want, rtol=1e-12, atol=1e-12)


def test_one_and_three_axes() -> None:
    x = np.arange(10.0).reshape(1, 2, 5)
    np.testing.assert_array_equal(twin.im2col(x, 3, stride=2)[0], [[0, 2], [1, 3], [2, 4], [5, 7], [6, 8], [7, 9]])
    volume = np.random.default_rng(4).standard_normal((2, 2, 3, 4, 5))
    columns = twin.im2col(volume, (2, 1, 3), padding=(1, 0, 2))
    assert columns.shape == (2, 2 * 6, 4 * 4 * 7)
    counts = twin.col2im(np.ones_like(columns), (3, 4, 5), (2, 1, 3), padding=(1, 0, 2))
    assert counts.shape == volume.shape and counts.min() == counts.max() == 6


def test_columns_of_another_size() -> None:
    with pytest.raises(ShapeError, match=r"columns has shape \(1, 4, 3\); .* must be \(N, C \* 4, 1 \* 2 = 2\)"):
        twin.col2im(np.ones((1, 4, 3)), (2, 3), 2)
    with pytest.raises(ShapeError, match=r"columns has shape \(1, 5, 2\)"):
        twin.col2im(np.ones((1, 5, 2)), (2, 3), 2)
