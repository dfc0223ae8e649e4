"""Clipping gradients, and parameters as one vector."""

import math

import numpy as np
import pytest

import minidl
from minidl import nn


def test_clip_grad_norm():
    a, b, c = (nn.Parameter(minidl.zeros(n)) for n in (2, 3, 1))
    a.grad, b.grad = minidl.tensor([3.0, 0.0]), minidl.tensor([0.0, 0.0, -4.0])
    assert nn.utils.clip_grad_norm_([a, b, c], 10.0).item() == 5.0 and a.grad.tolist() == [3.0, 0.0]
    assert nn.utils.clip_grad_norm_([a, b, c], 1.0).item() == 5.0
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(b.grad.numpy(), [0.0, 0.0, -0.8], rtol=1e-6)
    assert nn.utils.clip_grad_norm_(b, 0.4, math.inf).item() == pytest.approx(0.8)
    np.testing.assert_allclose(b.grad.numpy(), [0.0, 0.0, -0.4], rtol=1e-5)
    assert nn.utils.clip_grad_norm_([a, b], 9.0, 1).item() == pytest.approx(1.0)
    assert nn.utils.clip_grad_norm_([c], 1.0).item() == 0.0 and c.grad is None
    b.grad = minidl.tensor([math.nan, 1.0, 2.0])
    for p in (2, math.inf):
        message = r"the norm of the gradients is nan, so they cannot be clipped: some gradient holds NaN"
        with pytest.raises(RuntimeError, match=message):
            nn.utils.clip_grad_norm_([a, b], 1.0, p, error_if_nonfinite=True)
    assert a.grad.numpy()[0] == pytest.approx(0.6) and math.isnan(nn.utils.clip_grad_norm_([a, b], 1.0).item())


@pytest.mark.torch
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
def test_clipping_is_torchs(norm_type):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(s) for s in ((3, 4), (5,), (2, 1, 3))]
    ours = [nn.Parameter(np.zeros_like(g)) for g in gradients]
    theirs = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in gradients]
    for p, q, g in zip(ours, theirs, gradients):
        p.grad, q.grad = minidl.tensor(g), torch.tensor(g)
    total = nn.utils.clip_grad_norm_(ours, 0.7, norm_type)
    assert total.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 0.7, norm_type).item(), rel=1e-12)
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)
    nn.utils.clip_grad_value_(ours, 0.1), torch.nn.utils.clip_grad_value_(theirs, 0.1)
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)


def test_parameters_as_one_vector_and_back():
    layer = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (8,) and vector.requires_grad
    nn.utils.vector_to_parameters(minidl.arange(8.0), layer.parameters())
    assert layer.weight.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and layer.bias.tolist() == [6.0, 7.0]
    with pytest.raises(ValueError, match=r"8 elements in all, so the vector must be \(8,\), not \(7,\)"):
        nn.utils.vector_to_parameters(minidl.zeros(7), layer.parameters())
