"""What a parity case is: one call written once, carried out by minidl and by PyTorch on the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Input:
    """A tensor argument: how its numbers are drawn, where they lie in memory, whether it wants a gradient.

    ``kind``: "normal"; "positive" (0.5 to 2); "unit" (-0.9 to 0.9); "distinct" (no two closer than 0.05, none near 0);
    "zeros"; "ties" (small whole numbers as floating point); "spd" (symmetric positive definite); "int"; "bool".
    ``layout``: "C", "F" (axes stored in reverse order), "strided" (every second element of a larger array).
    ``dtype``: None for the dtype under test.
    """

    shape: tuple[int, ...]
    kind: str = "normal"
    layout: str = "C"
    dtype: str | None = None
    grad: bool = True
    low: int = 0
    high: int = 5

    def draw(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        if self.kind == "int":
            values = rng.integers(self.low, self.high, self.shape)
        elif self.kind == "bool":
            values = rng.random(self.shape) < 0.5
        else:
            values = np.asarray(_DRAW[self.kind](rng, self.shape))
        wanted = self.dtype or {"int": "int64", "bool": "bool"}.get(self.kind, dtype)
        values = values.astype(np.float32).astype(wanted) if wanted.startswith("float") else values.astype(wanted)
        return _lay_out(values, self.layout)

    @property
    def differentiable(self) -> bool:
        floating = (self.dtype or "float").startswith("float")
        return self.grad and floating and self.kind not in ("int", "bool")


def _spd(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    a = rng.standard_normal(shape)
    return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])


def _distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    n = int(np.prod(shape))
    return ((rng.permutation(n) - n // 2 + 0.5) * 0.1).reshape(shape)


_DRAW: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Any]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.5, 2.0, shape),
    "unit": lambda rng, shape: rng.uniform(-0.9, 0.9, shape),
    "distinct": _distinct,
    "zeros": lambda rng, shape: np.zeros(shape),
    "ties": lambda rng, shape: rng.integers(-2, 3, shape),
    "spd": _spd,
}


def _lay_out(values: np.ndarray, layout: str) -> np.ndarray:
    if layout == "F":
        return np.asfortranarray(values)
    if layout == "strided":
        wide = np.repeat(values, 2, axis=-1)
        wide[..., 1::2] = 77 if values.dtype != bool else True  # would show if strides were ignored
        return wide[..., ::2]
    return np.ascontiguousarray(values) if values.ndim else values


@dataclass(frozen=True)
class Case:
    """``function(module, *args, **kwargs)`` with ``module`` minidl or torch.

    ``op`` is the name that the case covers.  ``second=False`` where PyTorch has no second derivative, ``first=False``
    where there is none at all.  ``factor`` widens the tolerance of ill-conditioned problems.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    call: Callable[..., Any] | None = None
    label: str = ""
    first: bool = True
    second: bool = True
    factor: float = 1.0

    @property
    def id(self) -> str:
        return f"{self.op}[{self.label or _describe(self.args, self.kwargs)}]"

    def run(self, module: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if self.call is not None:
            return self.call(module, *args, **kwargs)
        function = module
        for part in self.op.split("."):
            function = getattr(function, part)
        return function(*args, **kwargs)


def case(op: str, *args: Any, call: Callable[..., Any] | None = None, **options: Any) -> Case:
    """Options of a :class:`Case` begin with an underscore; all other keywords belong to the call."""
    own = {k[1:]: options.pop(k) for k in list(options) if k.startswith("_")}
    return Case(op, args, options, call, **own)


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, Input):
            extra = "" if value.kind == "normal" else "-" + value.kind
            extra += "" if value.grad else "-const"
            extra += f"{value.low}to{value.high}" if value.kind == "int" else ""
            extra += ("" if value.layout == "C" else value.layout) + ("" if value.dtype is None else "-" + value.dtype)
            return "x".join(map(str, value.shape)) + extra if value.shape else "0d" + extra
        if isinstance(value, (list, tuple)):
            return ("[%s]" if isinstance(value, list) else "(%s)") % ",".join(map(text, value))
        return str(value).replace(" ", "")

    return ",".join([*map(text, args), *(f"{k}={text(v)}" for k, v in kwargs.items())])


def inputs_of(value: Any) -> Iterator[Input]:
    """All tensor arguments inside nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Input):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from inputs_of(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from inputs_of(v)


def replaced(value: Any, tensors: Iterator[Any]) -> Any:
    """``value`` with its Inputs replaced by ``tensors``, in order."""
    if isinstance(value, Input):
        return next(tensors)
    if isinstance(value, (list, tuple)):
        return type(value)([replaced(v, tensors) for v in value])
    if isinstance(value, dict):
        return {k: replaced(v, tensors) for k, v in value.items()}
    return value


# ---- short names for tables --------------------------------------------------------------------------------


def R(*shape: int, **options: Any) -> Input:
    """Normal numbers."""
    return Input(shape, **options)


def P(*shape: int, **options: Any) -> Input:
    """Numbers in 0.5 to 2."""
    return Input(shape, kind="positive", **options)


def U(*shape: int, **options: Any) -> Input:
    """Numbers in -0.9 to 0.9."""
    return Input(shape, kind="unit", **options)


def D(*shape: int, **options: Any) -> Input:
    """Numbers far from each other and from 0: away from every kink."""
    return Input(shape, kind="distinct", **options)


def T(*shape: int, **options: Any) -> Input:
    """Whole numbers from -2 to 2 as floating point: many ties."""
    return Input(shape, kind="ties", **options)


def Z(*shape: int, **options: Any) -> Input:
    """Zeros."""
    return Input(shape, kind="zeros", **options)


def N(*shape: int, high: int = 5, low: int = 0, **options: Any) -> Input:
    """Integers from ``low`` up to, not including, ``high``."""
    return Input(shape, kind="int", low=low, high=high, **options)


def B(*shape: int, **options: Any) -> Input:
    """Booleans."""
    return Input(shape, kind="bool", **options)


def S(*shape: int, **options: Any) -> Input:
    """Symmetric positive definite matrices."""
    return Input(shape, kind="spd", **options)
