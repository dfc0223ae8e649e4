"""Mixed precision, by PyTorch's names: ``autocast`` and ``GradScaler``.

Products (convolution, ``linear``, ``matmul``, ``einsum``) take their operands in a low precision; sums over many
elements, norms, powers and losses compute in float32; everything else stays as it comes.  Parameters stay float32.

What "in a low precision" means depends on what an array can hold:

* float16 on a CUDA device: the operands are cast, and the results are float16 tensors of half the size.
* bfloat16, which neither NumPy nor CuPy has, and float16 on the CPU, which computes with it hundreds of times slower:
  operands, results and their cotangents are float32 tensors whose *values* are rounded to the low precision.  So
  training sees the same precision and the same range; it takes neither less memory nor less time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .autograd.mode import MODE, no_grad
from .autograd.tape import Primitive, vjp
from .backend import array_module, device_of, is_writeable, on
from .kernels.choice import on_cuda
from .kernels.norm import reads_half
from .nn.utils import all_finite
from .optim.conditional import step_unless, takes_a_flag
from .tensor import Tensor

__all__ = ["GradScaler", "autocast"]

F = TypeVar("F", bound=Callable[..., Any])

LOWERED = frozenset(("conv", "conv_input_grad", "linear", "matmul", "einsum"))
RAISED = frozenset(
    (
        "batch_norm", "batch_norm_relu", "binary_cross_entropy", "cross_entropy", "cumprod", "cumsum",
        "device_cross_entropy", "exp", "expm1", "log", "log10", "log1p", "log2", "log_softmax", "mean", "pow", "prod",
        "reciprocal", "rsqrt", "scale_shift", "softmax", "softplus", "standardize", "sum",
    )
)  # fmt: skip
NORMS = frozenset(("batch_norm", "batch_norm_relu", "scale_shift"))  # which kernels may compute in float32 themselves
DEFAULT = {"cuda": "float16", "cpu": "bfloat16"}  # the low precision of a device, as in PyTorch


def rounded_array(x: Any, kind: str) -> Any:
    """float32 values rounded to the nearest of float16 or bfloat16, halves to even; beyond the largest, infinity.

    >>> rounded_array(np.float32([1.00390625, 3.4e38]), "bfloat16").tolist()
    [1.0, inf]
    """
    xp = array_module(x)
    x = xp.asarray(x)
    with np.errstate(over="ignore"):
        if kind == "float16":
            return x.astype("float16").astype("float32")
        bits = x.view("uint32")
        bits = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
        return xp.where(xp.isnan(x), x, bits.view("float32"))


_rounded: Primitive = Primitive(
    "rounded",
    lambda x, *, kind: rounded_array(x, kind),
    vjp(lambda g, y, x, *, kind: _rounded(g, kind=kind)),  # the cotangent would lie in the low precision too
)


class autocast:
    """Context manager and decorator: products of float32 tensors in a low precision, as ``torch.autocast``.

    ``device_type`` "cuda" or "cpu", whose tensors it concerns; ``dtype`` "float16" or "bfloat16" (by default float16
    on CUDA, bfloat16 on the CPU).  The module's text says what becomes float16 and what is rounded only.  Call
    ``backward`` outside: gradients take the precision that their results had.  With float16 use :class:`GradScaler`.

    >>> import minidl
    >>> x, w = minidl.tensor([[1.001]]), minidl.tensor([[1.0]])
    >>> with minidl.autocast("cpu"):  # of bfloat16, 8 bits
    ...     (x @ w).item(), (x + w).item()
    (1.0, 2.00099...)
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if device_type not in DEFAULT:
            raise ValueError(f"autocast: the device type is 'cuda' or 'cpu', not {device_type!r}")
        self.device_type = device_type
        self.kind = DEFAULT[device_type] if dtype is None else str(dtype)
        if self.kind not in ("float16", "bfloat16"):
            raise ValueError(f"autocast: the low precision is 'float16' or 'bfloat16', not {dtype!r}")
        self.enabled = bool(enabled)
        self._before: list[Any] = []

    def __enter__(self) -> autocast:
        self._before.append(MODE.autocast)
        MODE.autocast = self if self.enabled else None
        return self

    def __exit__(self, *exc: object) -> None:
        MODE.autocast = self._before.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device_type, self.kind, self.enabled):
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def run(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Call ``primitive`` with its arguments, and its result, in the precision that it shall have."""
        name = primitive.name
        if name in LOWERED:
            return self.lowered(primitive, *args, **attrs)
        outer, MODE.autocast = MODE.autocast, None  # casts are primitives too
        try:
            if name in RAISED and not (name in NORMS and reads_half(args[0]._array)):
                args = tuple(a.to("float32") if self.concerns(a) and a.dtype == np.float16 else a for a in args)
            return primitive(*args, **attrs)
        finally:
            MODE.autocast = outer

    def lowered(self, function: Callable[..., Any], *args: Any, **attrs: Any) -> Any:
        """``function`` of its arguments, and its result, in the low precision; what it does inside is left alone."""
        outer, MODE.autocast = MODE.autocast, None
        try:
            result = function(*map(self._low, args), **attrs)
            return result if result.dtype == np.float16 else self._low(result)
        finally:
            MODE.autocast = outer

    def concerns(self, a: Any) -> bool:
        """Whether ``a`` is a tensor whose precision is chosen here: of this device, and of float16 or float32."""
        return isinstance(a, Tensor) and a.dtype.char in "ef" and a.device.type == self.device_type

    def _low(self, a: Any) -> Any:
        if not self.concerns(a):
            return a
        if (self.device_type, self.kind) == ("cuda", "float16"):
            return a.to("float16")
        return _rounded(a.to("float32"), kind=self.kind)


class GradScaler:
    """Keeps small gradients from vanishing in float16: the loss is scaled up, gradients are scaled down again.

    Micikevicius et al. 2018, "Mixed precision training", section 3.2.  Where a gradient is not finite the step is left
    out and the scale multiplied with ``backoff_factor``; after ``growth_interval`` steps without that it is multiplied
    with ``growth_factor``.

    On a CUDA device all of that stays there, and the host does not wait, where the optimiser can leave out a step by
    itself (:func:`minidl.optim.conditional.takes_a_flag`); so a step can be captured (:func:`minidl.cuda.graph_step`).
    :meth:`get_scale` and :meth:`state_dict` ask the device.

    >>> import minidl
    >>> w = minidl.nn.Parameter([1.0])
    >>> sgd, scaler = minidl.optim.SGD([w], lr=0.5), minidl.GradScaler("cpu", init_scale=8.0)
    >>> for slope in (1.0, float("inf")):
    ...     sgd.zero_grad()
    ...     scaler.scale((w * slope).sum()).backward()
    ...     _ = scaler.step(sgd)  # the second time it does nothing
    ...     scaler.update()
    ...     w.item(), scaler.get_scale()
    (0.5, 8.0)
    (0.5, 4.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if not growth_factor > 1:
            raise ValueError(f"GradScaler: the growth factor must be above 1, not {growth_factor}")
        if not 0 < backoff_factor < 1:
            raise ValueError(f"GradScaler: the backoff factor must lie between 0 and 1, not {backoff_factor}")
        self._device, self._enabled = device, enabled
        self._scale, self._growth_tracker = float(init_scale), 0
        self._there: Any = None  # both as float64 (2,) on the device, which then knows better
        self._growth_factor, self._backoff_factor, self._growth_interval = (
            growth_factor,
            backoff_factor,
            growth_interval,
        )
        self._found: dict[int, Any] = {}  # of an optimiser whose gradients are scaled down: whether one was not finite
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each of several, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * (self._scale if self._there is None else self.scale_for(outputs))
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(y) for y in outputs])  # type: ignore[call-arg]
        raise TypeError(f"GradScaler.scale takes a tensor or several, not {type(outputs).__name__}")

    def scale_for(self, outputs: Tensor) -> Tensor:
        """The present scale as a tensor without axes, of the dtype and on the device of ``outputs``; asks nothing.

        >>> import minidl
        >>> minidl.GradScaler("cpu", init_scale=8.0).scale_for(minidl.zeros(2))
        tensor(8.)
        """
        with on(outputs.device):
            if self._there is None:
                return Tensor._wrap(outputs._xp.full((), self.get_scale(), outputs.dtype))
            return Tensor._wrap(self._there[0].astype(outputs.dtype))

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimiser's parameters by the scale, so that they can be clipped or looked at."""
        if not self._enabled:
            return
        if id(optimizer) in self._found:
            raise RuntimeError("GradScaler.unscale_ has been called for this optimizer since the last update() already")
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        for g in gradients:
            if g.dtype == np.float16:
                raise ValueError("GradScaler does not scale gradients of float16: keep the parameters in float32")
        found: list[Any] = []
        for device in dict.fromkeys(g.device for g in gradients):
            with on(device):
                factor = 1 / (self._scale if self._there is None else self._there[:1])
                found.append(_unscale([g for g in gradients if g.device == device], factor))
        self._found[id(optimizer)] = found

    def know(self, optimizer: Any, found: bool) -> None:
        """Say whether a gradient of the optimiser was not finite, where that is known already; saves `step` a wait."""
        if self._enabled:
            self._found[id(optimizer)] = [found]

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()``, unless a gradient is not finite; the gradients are scaled down if they are not yet."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step has been called for this optimizer since the last update() already")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        flags = self._found[id(optimizer)]
        if len(flags) == 1 and not args and not kwargs and not isinstance(flags[0], bool) and takes_a_flag(optimizer):
            self._move(flags[0])
            return step_unless(optimizer, flags[0])
        found = self._found[id(optimizer)] = [bool(f) for f in self._found[id(optimizer)]]
        return None if any(found) else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """The scale of the next step, after all optimisers have had their ``step``."""
        if not self._enabled:
            return
        if not self._found:
            raise RuntimeError("GradScaler.update: there was no step() nor unscale_() since the last update()")
        flags = [f for each in self._found.values() for f in each]
        self._found.clear()
        self._stepped.clear()
        if new_scale is not None:
            self._write(float(new_scale), self._read()[1])
        elif self._there is not None:
            self._adapt(flags)
        elif any(map(bool, flags)):
            self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale, self._growth_tracker = self._scale * self._growth_factor, 0

    def get_scale(self) -> float:
        """The present scale; 1 where the scaler is not enabled."""
        return self._read()[0] if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on, by PyTorch's names."""
        if not self._enabled:
            return {}
        scale, growth_tracker = self._read()
        return {
            "scale": scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        if not self._enabled:
            return
        if lost := [name for name in self.state_dict() if name not in state_dict]:
            raise RuntimeError(f"GradScaler: the state lacks {', '.join(lost)}: was the scaler that gave it enabled?")
        self._growth_factor = float(state_dict["growth_factor"])
        self._backoff_factor = float(state_dict["backoff_factor"])
        self._growth_interval = int(state_dict["growth_interval"])
        self._write(float(state_dict["scale"]), int(state_dict["_growth_tracker"]))

    # ---- on a device ------------------------------------------------------------------------------------------

    def _move(self, flag: Any) -> None:
        """Keep scale and tracker beside ``flag`` from now on."""
        if self._there is None:
            self._there = array_module(flag).asarray(np.array([self._scale, self._growth_tracker], np.float64))

    def _read(self) -> tuple[float, int]:
        """Scale and growth tracker, from where they are."""
        if self._there is not None:
            with on(device_of(self._there)):
                scale, tracker = self._there.tolist()
            self._scale, self._growth_tracker = scale, int(tracker)
        return self._scale, self._growth_tracker

    def _write(self, scale: float, growth_tracker: int) -> None:
        self._scale, self._growth_tracker = scale, growth_tracker
        if self._there is not None:  # in the same memory, which a captured graph reads
            with on(device_of(self._there)):
                self._there.set(np.array([scale, growth_tracker], np.float64))

    def _adapt(self, flags: list[Any]) -> None:
        """The scale of the next step, on the device."""
        from .kernels.cuda import gradient_scale

        with on(device_of(self._there)):
            xp = array_module(self._there)
            there = [xp.full((), bool(f), "bool") if isinstance(f, (bool, np.bool_)) else f for f in (*flags, False)]
            settings = self._growth_factor, self._backoff_factor, self._growth_interval
            gradient_scale.adapt(self._there, xp.stack(there).any(), *settings)


def _unscale(gradients: list[Tensor], factor: Any) -> Any:
    """Multiply gradients of one device in place, with a number or an array (1,) there; whether one was not finite."""
    xp = gradients[0]._xp
    arrays = [g._array for g in gradients]
    kernels = on_cuda("optim", *arrays)
    if kernels is not None and all(a.flags.c_contiguous and is_writeable(a) for a in arrays):
        found = ~all_finite(arrays)
        kernels.scale(arrays, xp.full(1, factor, "float64") if isinstance(factor, float) else factor)
        for g in gradients:
            g._storage.version += 1
        return found
    with no_grad(), np.errstate(all="ignore"):
        for g in gradients:
            g.mul_(factor if isinstance(factor, float) else Tensor._wrap(factor.astype(g.dtype)))
    return ~all_finite([g._array for g in gradients])
