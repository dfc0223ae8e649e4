"""The fused linear layer: the bits of a product and a sum, which is what a listener sees."""

import numpy as np
import pytest

import minidl
from minidl.autograd import Tape, grad
from minidl.kernels.errors import ShapeError

F = minidl.nn.functional


def operands(dtype: str, bias: bool = True) -> list[minidl.Tensor]:
    rng = np.random.default_rng(7)
    shapes = [(5, 3), (4, 3), (4,)] if bias else [(5, 3), (4, 3)]
    return [minidl.tensor(rng.standard_normal(s), dtype=dtype, requires_grad=True) for s in shapes]


def differentiated(listened: bool, dtype: str, bias: bool) -> list[np.ndarray]:
    args = operands(dtype, bias)
    if listened:
        with Tape() as tape:
            y = F.linear(*args)
        assert [call.primitive.name for call in tape.calls] == ["permute", "matmul", "add"][: 3 if bias else 2]
    else:
        y = F.linear(*args)
        assert y.grad_fn.name == "linear"
    g = minidl.tensor(np.random.default_rng(8).standard_normal(y.shape), dtype=dtype)
    return [y.detach().numpy(), *(d.numpy() for d in grad(y, args, g))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_whether_somebody_listens_or_not(dtype: str, bias: bool) -> None:
    for fused, steps in zip(differentiated(False, dtype, bias), differentiated(True, dtype, bias), strict=True):
        assert fused.dtype == steps.dtype and fused.shape == steps.shape
        np.testing.assert_array_equal(fused, steps)


def test_the_gradient_of_the_gradient() -> None:
    x, w, b = operands("float64")
    rng = np.random.default_rng(9)
    g, u = (minidl.tensor(rng.standard_normal(s)) for s in ((5, 4), (4, 3)))
    g.requires_grad_()
    (dw,) = grad(F.linear(x, w, b), [w], g, create_graph=True)
    dx, dg = grad(dw, [x, g], u)  # dw = g^T x
    np.testing.assert_allclose(dx.numpy(), g.detach().numpy() @ u.numpy())
    np.testing.assert_allclose(dg.numpy(), x.detach().numpy() @ u.numpy().T)


def test_a_bias_of_another_size_is_refused_before_anything_is_computed() -> None:
    x, w, _ = operands("float32")
    with pytest.raises(ShapeError, match="linear: the bias must have one value for each of 4 outputs, not shape"):
        F.linear(x, w, minidl.ones(3))
