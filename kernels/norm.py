"""Normalisation over channels: batch norm with the statistics of the batch, and a scale and a shift per channel.

The functions run on the Numba kernels of ``cpu/norm.py`` for float32 and float64 where Numba is installed, on those of
``cuda/norm.py`` where the arrays are CuPy's, and on the definitions of ``spec/norm.py`` otherwise;
``algorithm="spec"``, ``"numba"`` or ``"cuda"`` forces one.  Arrays in, arrays out: x (N, C, *size), parameters and
statistics (C,).  Results lie channels last when x does.

Group norm, and with it layer and instance norm, has a kernel on CUDA only; elsewhere it is put together from
whole-array operations, of which ``spec/group_norm.py`` is the shortest form.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from .activation import accumulate
from .choice import compiles, module, on_cuda
from .constants import Constants
from .layout import channels_last
from .spec import norm as spec

SMALL = 1 << 14  # elements up to which a pass over channels-last storage is not worth a call


def batch_norm(
    x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, algorithm: str | None = None
) -> tuple[Any, Any, Any]:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, and the mean and biased variance of each channel.

    Ioffe and Szegedy 2015, algorithm 1.  ``weight`` and ``bias`` (C,) may be None.

    >>> import numpy as np
    >>> y, mean, variance = batch_norm(np.array([[1.0, 10.0], [3.0, 30.0]]), eps=0.0)
    >>> y.tolist(), mean.tolist(), variance.tolist()
    ([[-1.0, -1.0], [1.0, 1.0]], [2.0, 20.0], [1.0, 100.0])
    """
    return module("norm", algorithm, x).batch_norm(x, weight, bias, eps)


def batch_norm_grad(
    g: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float = 1e-5, *, algorithm: str | None = None
) -> tuple[Any, Any, Any]:
    """Gradients of x, weight and bias from the cotangent g of y: section 3 of the paper, simplified.

    >>> import numpy as np
    >>> x, g = np.array([[1.0], [3.0]]), np.array([[1.0], [5.0]])
    >>> _, dweight, dbias = batch_norm_grad(g, x, None, *batch_norm(x, eps=0.0)[1:], eps=0.0)
    >>> dweight.tolist(), dbias.tolist()
    ([4.0], [6.0])
    """
    return module("norm", algorithm, x).batch_norm_grad(g, x, weight, mean, variance, eps)


def scale_shift(x: Any, scale: Any, shift: Any = None, *, algorithm: str | None = None) -> Any:
    """``x * scale + shift``, each channel with its own: batch norm in evaluation.

    >>> import numpy as np
    >>> scale_shift(np.ones((1, 2, 2)), np.array([2.0, 3.0]), np.array([0.0, 1.0])).tolist()
    [[[2.0, 2.0], [4.0, 4.0]]]
    """
    return module("norm", algorithm, x).scale_shift(x, scale, shift)


def add_to_channels(x: Any, shift: Any) -> None:
    """``x += shift`` for each channel, in place: the bias of a convolution.  ``shift`` (C,).

    >>> import numpy as np
    >>> x = np.zeros((1, 2, 2))
    >>> add_to_channels(x, np.array([1.0, 3.0]))
    >>> x.tolist()
    [[[1.0, 1.0], [3.0, 3.0]]]
    """
    module("norm", "numba" if _worth_a_pass(x) else "spec", x).add_to_channels(x, shift)


def channel_sums(g: Any) -> Any:
    """The sum of g (N, C, *size) over all but its channels, (C,): the gradient of a bias.

    >>> import numpy as np
    >>> channel_sums(np.array([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
    [3.0, 7.0]
    """
    return module("norm", "numba" if _worth_a_pass(g) else "spec", g).channel_sums(g)


def _worth_a_pass(x: Any) -> bool:
    """Large and stored in another order than channels first, where NumPy's loops run along memory."""
    return x.size > SMALL and x.ndim > 2 and compiles(x) and not x.flags.c_contiguous


def scale_shift_grad(g: Any, x: Any, scale: Any, *, algorithm: str | None = None) -> tuple[Any, Any, Any]:
    """Gradients of x, scale and shift from the cotangent g.

    >>> import numpy as np
    >>> dx, dscale, dshift = scale_shift_grad(np.ones((1, 1, 2)), np.array([[[4.0, 5.0]]]), np.array([2.0]))
    >>> dx.tolist(), dscale.tolist(), dshift.tolist()
    ([[[2.0, 2.0]]], [9.0], [2.0])
    """
    return module("norm", algorithm, x).scale_shift_grad(g, x, scale)


def batch_norm_relu(
    x: Any,
    weight: Any,
    bias: Any,
    eps: float = 1e-5,
    added: Any = None,
    ceiling: float = np.inf,
    *,
    algorithm: str | None = None,
) -> tuple[Any, Any, Any]:
    """``relu(batch_norm(x) + added)``, and the mean and biased variance of each channel; see :func:`takes_relu`.

    ``ceiling``: where ReLU ends, as ReLU6 does at 6.

    >>> import numpy as np
    >>> batch_norm_relu(np.array([[1.0], [3.0]]), None, None, eps=0.0, added=np.array([[3.0], [0.0]]))[0].tolist()
    [[2.0], [1.0]]
    """
    return module("norm_relu", algorithm, x).batch_norm_relu(x, weight, bias, eps, added, ceiling)


def batch_norm_relu_grad(
    g: Any,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    eps: float = 1e-5,
    y: Any = None,
    ceiling: float = np.inf,
    into: Any = None,
    *,
    algorithm: str | None = None,
) -> tuple[Any, ...]:
    """Gradients of x, weight and bias from the cotangent g of ``batch_norm_relu``.

    Where something was added, ``y`` is the result, and the gradient of what was added comes fourth.  ``into``: what the
    gradient of x is added to, and returned as.

    >>> import numpy as np
    >>> x, g = np.array([[1.0], [3.0]]), np.array([[1.0], [5.0]])
    >>> _, dweight, dbias = batch_norm_relu_grad(g, x, None, None, *batch_norm(x, eps=0.0)[1:], eps=0.0)
    >>> dweight.tolist(), dbias.tolist()
    ([5.0], [5.0])
    """
    found = module("norm_relu", algorithm, x)
    arguments = g, x, weight, bias, mean, variance, eps, y, ceiling
    add = getattr(found, "add_batch_norm_relu_grad", None)  # of the compiled ones for the CPU
    if into is not None and add is not None and (rest := add(*arguments, into)) is not None:
        return into, *rest
    dx, *rest = found.batch_norm_relu_grad(*arguments)
    if into is not None:
        accumulate(into, dx)
    return dx if into is None else into, *rest


def track(running_mean: Any, running_var: Any, mean: Any, variance: Any, count: int, momentum: float) -> None:
    """Move the running statistics (C,) towards those of a batch, ``mean`` and biased ``variance`` (C,), in place.

    Each channel has ``count`` values; the running variance takes the unbiased estimate.

    >>> import numpy as np
    >>> running_mean, running_var = np.zeros(1), np.ones(1)
    >>> track(running_mean, running_var, np.array([2.0]), np.array([3.0]), count=4, momentum=0.5)
    >>> running_mean.tolist(), running_var.tolist()
    ([1.0], [2.5])
    """
    found = on_cuda("norm", running_mean, running_var, mean, variance)
    if found is not None:
        found.track(running_mean, running_var, mean, variance, count, momentum)
        return
    for running, new in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
        running += (new - running) * running.dtype.type(momentum)


def running_scale(mean: Any, variance: Any, weight: Any, bias: Any, eps: float, dtype: Any = None) -> tuple[Any, Any]:
    """Scale and shift (C,) with which `scale_shift` normalises by known statistics: batch norm in evaluation.

    All are (C,), ``weight`` and ``bias`` may be None.  ``dtype``: of what is normalised, None for the statistics' own.

    >>> import numpy as np
    >>> scale, shift = running_scale(np.array([5.0]), np.array([4.0]), np.array([10.0]), None, eps=0.0)
    >>> scale.tolist(), shift.tolist()
    ([5.0], [-25.0])
    """
    if compiles(variance):
        found = _running().running_scale(mean, variance, weight, bias, eps, variance.dtype if dtype is None else dtype)
        if found is not None:
            scale, shift = found
            return scale, shift
    return spec.running_scale(mean, variance, weight, bias, eps, dtype)


@cache
def _running() -> Any:
    from .cpu import running

    return running


def scale_shift_relu(
    x: Any, scale: Any, shift: Any, added: Any = None, ceiling: float = np.inf, *, algorithm: str | None = None
) -> Any:
    """``relu(x * scale + shift + added)``, each channel with its own scale and shift: batch norm in evaluation.

    >>> import numpy as np
    >>> scale_shift_relu(np.ones((1, 2)), np.array([2.0, 3.0]), np.array([0.0, -4.0])).tolist()
    [[2.0, 0.0]]
    """
    return module("norm_relu", algorithm, x).scale_shift_relu(x, scale, shift, added, ceiling)


def learn_scale_shift_relu(
    x: Any, scale: Any, shift: Any, added: Any = None, ceiling: float = np.inf, *, constants: Constants
) -> tuple[Any, Any]:
    """``scale_shift_relu(...)``, and a program that does it again for arrays x and ``added`` with these strides.

    scale and shift become ``constants``, which the program needs as long as it is used.  None for the program where no
    kernel can be run again so.
    """
    run = partial(scale_shift_relu, x, scale, shift, added, ceiling)
    if not (compiles(x) and x.size):
        return run(), None
    from .cpu.replay import learned

    constants.give(scale, shift)
    return learned(run, (x,) if added is None else (x, added), constants)


def group_norm(
    x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, algorithm: str | None = None
) -> tuple[Any, Any, Any]:
    """Each sample (C, *size) normalised over groups of channels, and the mean and biased variance (N, groups).

    Wu and He 2018, equation 7.  ``algorithm`` "spec" forces the definition, "cuda" the kernel.

    >>> import numpy as np
    >>> y, mean, variance = group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    >>> y.tolist(), mean.tolist(), variance.tolist()
    ([[-1.0, 1.0, -1.0, 1.0]], [[2.0, 20.0]], [[1.0, 100.0]])
    """
    return _of_groups(algorithm, x).group_norm(x, groups, weight, bias, eps)


def group_norm_grad(
    g: Any,
    x: Any,
    groups: int,
    weight: Any,
    mean: Any,
    variance: Any,
    eps: float = 1e-5,
    *,
    parameters: bool = True,
    algorithm: str | None = None,
) -> tuple[Any, Any, Any]:
    """Gradients of x, weight and bias from the cotangent g of y; without ``parameters`` the last two are None.

    >>> import numpy as np
    >>> x, g = np.array([[1.0, 3.0]]), np.array([[1.0, 5.0]])
    >>> _, dweight, dbias = group_norm_grad(g, x, 1, None, *group_norm(x, 1, eps=0.0)[1:], eps=0.0)
    >>> dweight.tolist(), dbias.tolist()
    ([-1.0, 5.0], [1.0, 5.0])
    """
    return _of_groups(algorithm, x).group_norm_grad(g, x, groups, weight, mean, variance, eps, parameters)


def _of_groups(algorithm: str | None, x: Any) -> Any:
    return module("group_norm", algorithm or ("cuda" if groups_have_a_kernel(x) else "spec"), x)


def groups_have_a_kernel(x: Any) -> bool:
    """Whether group norm of x is one kernel.

    >>> import numpy as np
    >>> groups_have_a_kernel(np.ones((2, 3)))
    False
    """
    return on_cuda("group_norm", x) is not None


def reads_half(x: Any) -> bool:
    """Whether kernels normalise x, which is float16, with statistics and parameters in float32.

    >>> import numpy as np
    >>> reads_half(np.ones((2, 3), "float16"))
    False
    """
    return x.dtype == np.float16 and on_cuda("norm", x) is not None


def takes_relu(x: Any) -> bool:
    """Whether a kernel takes the addition and the ReLU behind a batch norm of x along in its own passes.

    On the CPU where the channels lie side by side, on a device always.

    >>> import numpy as np
    >>> takes_relu(np.ones((2, 3, 4), "float16"))
    False
    """
    if compiles(x):
        return x.ndim == 2 or channels_last(x)
    return on_cuda("norm_relu", x) is not None
