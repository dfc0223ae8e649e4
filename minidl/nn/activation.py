"""Activations as layers.  Formulas, slopes at kinks and sources stand at the functions of ``nn.functional``.

``inplace=True`` overwrites the input, as in PyTorch; it saves no memory while a graph is recorded.
"""

from __future__ import annotations

from typing import Any, ClassVar

from . import functional as F
from . import init
from .linear import new_parameter, positive
from .module import Module


class _Plain(Module):
    """An activation without settings; a subclass names its function."""

    _settings: ClassVar[tuple[str, ...]] = ()

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._settings]
        return ", ".join([*shown, "inplace=True"] if getattr(self, "inplace", False) else shown)


class ReLU(_Plain):
    """max(x, 0).

    >>> import minidl
    >>> minidl.nn.ReLU()(minidl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.relu(input, inplace=self.inplace)


class LeakyReLU(_Plain):
    """x above 0, ``negative_slope * x`` below: Maas et al. 2013.

    >>> import minidl
    >>> minidl.nn.LeakyReLU(0.1)(minidl.tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    _settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.leaky_relu(input, self.negative_slope, inplace=self.inplace)


class PReLU(_Plain):
    """Leaky ReLU with learned slopes: ``weight`` (num_parameters,), one for all or one for each channel (axis 1).

    >>> import minidl
    >>> minidl.nn.PReLU(init=0.5)(minidl.tensor([-2.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    _settings = ("num_parameters",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        positive("PReLU", num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self.init = init
        self.weight = new_parameter(num_parameters, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every slope ``init``, as at the beginning."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Any) -> Any:
        return F.prelu(input, self.weight)


class ELU(_Plain):
    """x above 0, ``alpha * (exp(x) - 1)`` below: Clevert et al. 2016.

    >>> import minidl
    >>> minidl.nn.ELU()(minidl.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.    ])
    """

    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.elu(input, self.alpha, inplace=self.inplace)


class CELU(_Plain):
    """x above 0, ``alpha * (exp(x / alpha) - 1)`` below: Barron 2017.

    >>> import minidl
    >>> minidl.nn.CELU(alpha=2.0)(minidl.tensor([-1.0, 2.0]))
    tensor([-0.7869,  2.    ])
    """

    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if alpha == 0:
            raise ValueError("CELU: alpha must not be zero, the exponent is x / alpha")
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.celu(input, self.alpha, inplace=self.inplace)


class SELU(_Plain):
    """ELU with the two constants that keep mean 0 and variance 1: Klambauer et al. 2017.

    >>> import minidl
    >>> minidl.nn.SELU()(minidl.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.selu(input, inplace=self.inplace)


class GELU(_Plain):
    """x times the probability that a standard normal number lies below x; ``approximate="tanh"`` is the quicker form.

    Hendrycks and Gimpel 2016.

    >>> import minidl
    >>> minidl.nn.GELU()(minidl.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.    ,  0.8413])
    """

    _settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return F.gelu(input, self.approximate)


class SiLU(_Plain):
    """``x * sigmoid(x)``, also called swish: Elfwing et al. 2018.

    >>> import minidl
    >>> minidl.nn.SiLU()(minidl.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.    ,  0.7311])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.silu(input, inplace=self.inplace)


class Mish(_Plain):
    """``x * tanh(softplus(x))``: Misra 2019.

    >>> import minidl
    >>> minidl.nn.Mish()(minidl.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.    ,  0.8651])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.mish(input, inplace=self.inplace)


class Sigmoid(_Plain):
    """1 / (1 + exp(-x)).

    >>> import minidl
    >>> minidl.nn.Sigmoid()(minidl.tensor([-1.0, 0.0, 1.0]))
    tensor([0.2689, 0.5   , 0.7311])
    """

    def forward(self, input: Any) -> Any:
        return F.sigmoid(input)


class Tanh(_Plain):
    """Hyperbolic tangent.

    >>> import minidl
    >>> minidl.nn.Tanh()(minidl.tensor([0.0, 1.0]))
    tensor([0.    , 0.7616])
    """

    def forward(self, input: Any) -> Any:
        return F.tanh(input)


class LogSigmoid(_Plain):
    """log(sigmoid(x)), exact for large negative x too.

    >>> import minidl
    >>> minidl.nn.LogSigmoid()(minidl.tensor([-100.0, 0.0]))
    tensor([-100.    ,   -0.6931])
    """

    def forward(self, input: Any) -> Any:
        return F.logsigmoid(input)


class Softplus(_Plain):
    """``log(1 + exp(beta * x)) / beta``; x itself where ``beta * x`` exceeds ``threshold``.

    >>> import minidl
    >>> minidl.nn.Softplus()(minidl.tensor([0.0, 1.0, 100.0]))
    tensor([  0.6931,   1.3133, 100.    ])
    """

    _settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        return F.softplus(input, self.beta, self.threshold)


class Softsign(_Plain):
    """x / (1 + |x|).

    >>> import minidl
    >>> minidl.nn.Softsign()(minidl.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5 ,  0.  ,  0.75])
    """

    def forward(self, input: Any) -> Any:
        return F.softsign(input)


class Hardtanh(_Plain):
    """x cut off at ``min_val`` and ``max_val``.

    >>> import minidl
    >>> minidl.nn.Hardtanh()(minidl.tensor([-2.0, 0.5, 2.0]))
    tensor([-1. ,  0.5,  1. ])
    """

    _settings: ClassVar[tuple[str, ...]] = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ValueError(f"{type(self).__name__}: min_val = {min_val} must lie below max_val = {max_val}")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.hardtanh(input, self.min_val, self.max_val, inplace=self.inplace)


class ReLU6(Hardtanh):
    """x cut off at 0 and 6: Howard et al. 2017.

    >>> import minidl
    >>> minidl.nn.ReLU6()(minidl.tensor([-1.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """

    _settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)


class Hardsigmoid(_Plain):
    """relu6(x + 3) / 6.

    >>> import minidl
    >>> minidl.nn.Hardsigmoid()(minidl.tensor([-4.0, 0.0, 1.5, 4.0]))
    tensor([0.  , 0.5 , 0.75, 1.  ])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.hardsigmoid(input, inplace=self.inplace)


class Hardswish(_Plain):
    """``x * relu6(x + 3) / 6``: Howard et al. 2019.

    >>> import minidl
    >>> minidl.nn.Hardswish()(minidl.tensor([-1.5, 0.0, 4.0]))
    tensor([-0.375,  0.   ,  4.   ])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.hardswish(input, inplace=self.inplace)


class Threshold(_Plain):
    """x above ``threshold``, ``value`` elsewhere.

    >>> import minidl
    >>> minidl.nn.Threshold(1.0, -7.0)(minidl.tensor([0.5, 2.0]))
    tensor([-7.,  2.])
    """

    _settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.threshold(input, self.threshold, self.value, inplace=self.inplace)


class Hardshrink(_Plain):
    """x where |x| exceeds ``lambd``, 0 elsewhere.

    >>> import minidl
    >>> minidl.nn.Hardshrink()(minidl.tensor([-2.0, 0.25, 2.0]))
    tensor([-2.,  0.,  2.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(_Plain):
    """x moved towards 0 by ``lambd``, and 0 where it would cross.

    >>> import minidl
    >>> minidl.nn.Softshrink()(minidl.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5,  0. ,  1.5])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        if lambd < 0:
            raise ValueError(f"Softshrink: lambd must not be negative, got {lambd!r}")
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Tanhshrink(_Plain):
    """x - tanh(x).

    >>> import minidl
    >>> minidl.nn.Tanhshrink()(minidl.tensor([0.0, 1.0]))
    tensor([0.    , 0.2384])
    """

    def forward(self, input: Any) -> Any:
        return F.tanhshrink(input)


class GLU(_Plain):
    """The first half of axis ``dim`` times the sigmoid of the second: Dauphin et al. 2017.

    ShapeError where that axis has an odd length.

    >>> import minidl
    >>> minidl.nn.GLU()(minidl.tensor([[1.0, 2.0, 0.0, 0.0]]))
    tensor([[0.5, 1. ]])
    """

    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.glu(input, self.dim)


class Softmax(_Plain):
    """Probabilities along ``dim``: exp(x) divided by its sum.

    ``dim`` defaults to the last axis (PyTorch guesses it from the number of axes).

    >>> import minidl
    >>> minidl.nn.Softmax(dim=1)(minidl.zeros(1, 4))
    tensor([[0.25, 0.25, 0.25, 0.25]])
    """

    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmax(input, self.dim)


class LogSoftmax(Softmax):
    """Logarithm of :class:`Softmax`, without the overflow of computing both.

    >>> import minidl
    >>> minidl.nn.LogSoftmax(dim=1)(minidl.tensor([[0.0, 0.0]]))
    tensor([[-0.6931, -0.6931]])
    """

    def forward(self, input: Any) -> Any:
        return F.log_softmax(input, self.dim)


class Softmin(Softmax):
    """:class:`Softmax` of -x.

    >>> import minidl
    >>> minidl.nn.Softmin(dim=1)(minidl.tensor([[0.0, 0.0, 1000.0]]))
    tensor([[0.5, 0.5, 0. ]])
    """

    def forward(self, input: Any) -> Any:
        return F.softmin(input, self.dim)


class Softmax2d(_Plain):
    """Softmax over the channels at each position of (N, C, H, W) or (C, H, W).

    >>> import minidl
    >>> y = minidl.nn.Softmax2d()(minidl.zeros(1, 4, 2, 3))
    >>> y.shape, y[0, 0, 0, 0].item()
    ((1, 4, 2, 3), 0.25)
    """

    def forward(self, input: Any) -> Any:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d takes (N, C, H, W) or (C, H, W), not an input of shape {input.shape}")
        return F.softmax(input, -3)
