"""Element by element: ReLU and its kin, their gradients, and sums of two arrays, each in one pass over memory.

The functions run on the Numba kernels of ``cpu/activation.py`` for float32 and float64 where Numba is installed, and
on the definitions of ``spec/activation.py`` otherwise; ``algorithm="spec"`` or ``"numba"`` forces one.  Results lie
channels last when the first array does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .choice import compiles, module, on_cuda

SMALL = 1 << 14  # elements up to which NumPy's own loop is as fast as any


def relu(x: Any, *, algorithm: str | None = None) -> Any:
    """max(x, 0); NaN stays NaN.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _module(algorithm, x).relu(x)


def relu_grad(g: Any, y: Any, *, algorithm: str | None = None) -> Any:
    """The cotangent g where the result y is positive, 0 elsewhere.

    >>> import numpy as np
    >>> relu_grad(np.array([3.0, 4.0]), np.array([0.0, 2.0])).tolist()
    [0.0, 4.0]
    """
    return _module(algorithm, g).relu_grad(g, y)


def leaky_relu(x: Any, slope: float, *, algorithm: str | None = None) -> Any:
    """x above 0, slope x elsewhere.

    >>> import numpy as np
    >>> leaky_relu(np.array([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return _module(algorithm, x).leaky_relu(x, slope)


def leaky_relu_grad(g: Any, x: Any, slope: float, *, algorithm: str | None = None) -> Any:
    """The cotangent g where x is positive, slope g elsewhere.

    >>> import numpy as np
    >>> leaky_relu_grad(np.array([3.0, 4.0]), np.array([-1.0, 2.0]), 0.5).tolist()
    [1.5, 4.0]
    """
    return _module(algorithm, g).leaky_relu_grad(g, x, slope)


def clip(x: Any, low: float, high: float, *, algorithm: str | None = None) -> Any:
    """x limited to [low, high]; NaN stays NaN.

    >>> import numpy as np
    >>> clip(np.array([-1.0, 2.0, 9.0]), 0.0, 6.0).tolist()
    [0.0, 2.0, 6.0]
    """
    return _module(algorithm, x).clip(x, low, high)


def clip_grad(g: Any, x: Any, low: float, high: float, *, algorithm: str | None = None) -> Any:
    """The cotangent g where low < x < high, 0 elsewhere.

    >>> import numpy as np
    >>> clip_grad(np.array([3.0, 4.0, 5.0]), np.array([0.0, 2.0, 9.0]), 0.0, 6.0).tolist()
    [0.0, 4.0, 0.0]
    """
    return _module(algorithm, g).clip_grad(g, x, low, high)


def tanh(x: Any, *, algorithm: str | None = None) -> Any:
    """Hyperbolic tangent; of float32 within 6 units in the last place, of float64 NumPy's.

    >>> import numpy as np
    >>> tanh(np.array([0.0, 100.0])).tolist()
    [0.0, 1.0]
    """
    if algorithm is None and (not compiles(x) or x.dtype.char != "f"):
        algorithm = "spec"
    return _module(algorithm, x).tanh(x)


def tanh_grad(g: Any, y: Any, *, algorithm: str | None = None) -> Any:
    """``g (1 - y y)``, from the result y.

    >>> import numpy as np
    >>> tanh_grad(np.array([3.0, 4.0]), np.array([0.0, 0.5])).tolist()
    [3.0, 3.0]
    """
    return _of_two(algorithm, g, y).tanh_grad(g, y)


def add(a: Any, b: Any, *, algorithm: str | None = None) -> Any:
    """``a + b``, of any two operands; compiled where they are large arrays of one shape and dtype.

    >>> import numpy as np
    >>> add(np.array([1.0, 2.0]), np.array([3.0, 4.0])).tolist()
    [4.0, 6.0]
    """
    if algorithm is None and getattr(a, "size", 0) <= SMALL:
        return a + b
    return _of_two(algorithm, a, b).add(a, b)


def accumulate(a: Any, b: Any, *, algorithm: str | None = None) -> None:
    """``a += b``; where they are parts of one memory, b is what it was before.

    >>> import numpy as np
    >>> a = np.array([1.0, 2.0])
    >>> accumulate(a, np.array([3.0, 4.0]))
    >>> a.tolist()
    [4.0, 6.0]
    """
    found = _of_two(algorithm, a, b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b):
        found = _module("spec", a)  # loops over pieces would read sums
    found.accumulate(a, b)


def _module(algorithm: str | None, x: Any) -> Any:
    if algorithm is None and getattr(x, "size", 0) <= SMALL and on_cuda("activation", x) is None:
        algorithm = "spec"
    return module("activation", algorithm, x)


def _of_two(algorithm: str | None, a: Any, b: Any) -> Any:
    alike = compiles(a) and compiles(b) and a.shape == b.shape and a.dtype == b.dtype
    return _module(algorithm if alike else "spec", a)
