"""Parameters taken together: making them without values, clipping gradients, all of them as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..backend import array_module, is_writeable, on
from ..kernels.choice import on_cuda
from ..ops import cat
from ..tensor import Tensor, as_tensor, tensor
from .init import SKIPPING


@contextmanager
def skip_init() -> Iterator[None]:
    """Modules made inside have parameters without memory, and the functions of ``nn.init`` do nothing.

    Such a parameter is one zero, seen from every place of its shape: good for counting, for shapes (run an empty
    batch), and for loading a state dict, which puts real memory in its place.  It cannot be written to in place.
    Buffers, which are small, are made as always.

    >>> import minidl
    >>> with minidl.nn.utils.skip_init():
    ...     layer = minidl.nn.Linear(1_000_000, 1_000_000)
    >>> layer(minidl.zeros(0, 1_000_000)).shape
    (0, 1000000)
    """
    before = SKIPPING.on
    SKIPPING.on = True
    try:
        yield
    finally:
        SKIPPING.on = before


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their common norm is at most ``max_norm``; returns the norm before.

    The norm is that of one vector of all gradients; ``norm_type`` may be ``math.inf``.  As in PyTorch the factor is
    ``max_norm / (norm + 1e-6)``.  Pascanu, Mikolov and Bengio 2013, algorithm 1.

    >>> import minidl
    >>> w = minidl.nn.Parameter([0.0, 0.0])
    >>> (w * minidl.tensor([3.0, 4.0])).sum().backward()
    >>> minidl.nn.utils.clip_grad_norm_([w], 1.0).item()
    5.0
    >>> w.grad
    tensor([0.6, 0.8])
    """
    gradients = _gradients(parameters)
    if not gradients:
        return tensor(0.0)
    xp = gradients[0]._xp
    arrays = [g._array for g in gradients]
    kernels = on_cuda("optim", *arrays)
    if kernels is not None and norm_type == 2 and all(a.flags.c_contiguous and is_writeable(a) for a in arrays):
        with on(gradients[0].device):
            total = xp.sqrt(kernels.sum_of_squares(arrays))
            _check_norm(total, error_if_nonfinite)
            kernels.scale(arrays, xp.minimum(max_norm / (total + 1e-6), 1).reshape(1))
        for g in gradients:
            g._storage.version += 1
        return as_tensor(total, dtype=gradients[0].dtype)
    norms = [xp.linalg.norm(g._array.reshape(-1).astype("float64"), norm_type) for g in gradients if g.numel()]
    total = xp.linalg.norm(xp.stack(norms), norm_type) if norms else xp.zeros(())
    _check_norm(total, error_if_nonfinite)
    factor = max_norm / (total + 1e-6)
    if xp is not np or factor < 1 or math.isnan(factor):  # a device is not asked: the host would wait
        factor = xp.minimum(factor, 1)
        with no_grad():
            for g in gradients:
                g.mul_(as_tensor(factor, dtype=g.dtype))
    return as_tensor(total, dtype=gradients[0].dtype)


def all_finite(arrays: list[Any]) -> Any:
    """Whether all elements of some arrays of one device are finite, as an array of that device.

    >>> bool(all_finite([np.ones(2), np.array([1.0, np.inf])]))
    False
    """
    xp = array_module(arrays[0])
    kernels = on_cuda("optim", *arrays)
    if kernels is not None and arrays[0].dtype == "float32" and all(a.flags.c_contiguous for a in arrays):
        return xp.isfinite(kernels.sum_of_squares(arrays))
    return xp.stack([xp.isfinite(a).all() for a in arrays]).all()


def _check_norm(total: Any, error_if_nonfinite: bool) -> None:
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"the norm of the gradients is {float(total)}, so they cannot be clipped: some gradient holds NaN or "
            "infinity"
        )


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Cut every element of every gradient off at -clip_value and clip_value.

    >>> import minidl
    >>> w = minidl.tensor([1.0, 2.0], requires_grad=True)
    >>> (w * minidl.tensor([3.0, -0.5])).sum().backward()
    >>> minidl.nn.utils.clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([ 1. , -0.5])
    """
    with no_grad():
        for g in _gradients(parameters):
            g.clamp_(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened, in one vector; differentiable.

    >>> import minidl
    >>> minidl.nn.utils.parameters_to_vector(minidl.nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """The inverse of :func:`parameters_to_vector`: overwrite the parameters with parts of ``vec``.

    >>> import minidl
    >>> layer = minidl.nn.Linear(2, 1)
    >>> minidl.nn.utils.vector_to_parameters(minidl.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.weight.detach(), layer.bias.detach()
    (tensor([[1., 2.]]), tensor([3.]))
    """
    listed = list(parameters)
    total = sum(p.numel() for p in listed)
    if vec.shape != (total,):
        raise ValueError(
            f"the parameters have {total} elements in all, so the vector must be ({total},), not {vec.shape}"
        )
    start = 0
    with no_grad():
        for p in listed:
            p.copy_(vec.detach()[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
