"""Parity cases of arithmetic, functions of one argument, choice and reductions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.parity.cases import B, Case, D, Input, N, P, R, T, U, Z, case

SHAPES = [(2, 3), (), (0, 3), (4,)]


def two_operands() -> Iterator[Case]:
    """Broadcasting, promotion with Python numbers, 0-d tensors and integers, layouts."""
    pairs: list[tuple[Any, Any]] = [
        (R(2, 3), R(2, 3)),
        (R(2, 3), R(3)),
        (R(2, 1, 3), R(4, 1)),
        (R(), R(3)),
        (R(2, 3, layout="strided"), R(2, 3, layout="F")),
        (R(0, 3), R(1)),
        (R(3), 2),
        (R(3), 2.5),
        (R(3), True),
        (R(3), R(dtype="float64")),
        (R(3, dtype="float32"), R(3, dtype="float64")),
        (R(3, dtype="float16", grad=False), R(3)),
        (N(3), R(3)),
        (N(3), R()),
        (N(3), 2),
        (N(3), 2.5),
        (N(3, dtype="int32"), N(3)),
        (N(3, dtype="int32"), N()),
        (N(3, dtype="uint8"), N(3, dtype="int8")),
        (N(), 2.5),
    ]
    for a, b in pairs:
        yield case("add", a, b)
        if b is not True:  # which PyTorch refuses to subtract
            yield case("sub", a, b)
        yield case("mul", a, b)
        if b is not True:
            yield case("maximum", *_tensors(a, b))
            yield case("minimum", *_tensors(a, b))
        for op in ("eq", "ne", "lt", "le", "gt", "ge"):
            yield case(op, a, b)
    for a, b in pairs:
        yield case("div", a, _away_from_zero(b))
        if "float16" not in str(a) and b is not True:  # PyTorch squares in float16 before it promotes
            yield case("atan2", *_tensors(a, _away_from_zero(b)))
    yield case("maximum", T(3, 4), T(3, 4))
    yield case("minimum", T(3, 4), T(3, 4))
    yield case("add", B(3), B(3))
    yield case("mul", B(3), B(3))
    yield case("mul", B(3), N(3))
    yield case("mul", B(3), 2.5)
    yield case("add", R(2, 3), R(3), alpha=-0.5)
    yield case("add", R(2, 3), 2, alpha=3)
    yield case("sub", R(2, 3), R(3), alpha=2)
    for mode in ("floor", "trunc"):
        yield case("div", R(3, 4), P(4), rounding_mode=mode)
        yield case("div", N(3, 4, low=-9, high=9), N(4, low=1), rounding_mode=mode)
        yield case("div", N(3, 4, low=-9, high=9), 2, rounding_mode=mode)
    for a, b in [(R(3, 4), P(4)), (R(5), -0.75), (N(6, low=-9, high=9), 4), (N(6, low=-9), 2.5), (7.5, P(4))]:
        yield case("remainder", a, b, _first=isinstance(a, Input))  # PyTorch has no rule for a number on the left
        yield case("floor_divide", a, b, _first=False, call=_operator("__floordiv__", "__rfloordiv__"))
    for a, b in [
        (P(2, 3), R(3)), (P(3, layout="strided"), R(2, 1)), (R(4), 2), (R(4), 3.0), (R(4), 0), (R(4), 1), (R(4), -1),
        (R(4), -2.0), (P(4), 0.5), (P(4), -1.5), (2, R(4)), (2.5, R(2, 2)), (N(4), 2), (N(4), 2.5), (2, N(4)), (R(), 3),
        (Z(3), 2), (Z(3), 1), (P(3), N(3)), (N(3, low=1), R(3)), (R(0), 2),
    ]:  # fmt: skip
        yield case("pow", a, b)
    yield case("pow", Z(3), P(3), _second=False)  # infinite there
    yield case("pow", 0.0, P(3), _second=False)
    for op in ("logical_and", "logical_or", "logical_xor"):
        for a, b in [(B(3), B(3)), (N(2, 3, high=2), B(3)), (T(4), N(4, high=2))]:
            yield case(op, a, b)
    for op in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        for a, b in [(B(3), B(3)), (N(2, 3), N(3)), (N(3, dtype="int32"), 6)]:
            yield case(op, a, b)


def _tensors(a: Any, b: Any) -> tuple[Any, Any]:
    """torch.maximum and atan2 take tensors only: a Python number becomes a 0-d tensor."""
    return a, b if isinstance(b, Input) else N(low=1) if isinstance(b, int) else U()


def _away_from_zero(b: Any) -> Any:
    if not isinstance(b, Input):
        return b
    options = {"layout": b.layout, "dtype": b.dtype, "grad": b.grad}
    return N(*b.shape, low=1, **options) if b.kind == "int" else P(*b.shape, **options)


def _operator(name: str, reflected: str) -> Any:
    def call(module: Any, a: Any, b: Any) -> Any:
        return getattr(a, name)(b) if hasattr(a, "dtype") else getattr(b, reflected)(a)

    return call


def one_operand() -> Iterator[Case]:
    smooth = {
        "exp": R, "exp2": R, "expm1": R, "log": P, "log2": P, "log10": P, "log1p": P, "sqrt": P, "rsqrt": P,
        "reciprocal": P, "sin": R, "cos": R, "tan": U, "asin": U, "acos": U, "atan": R, "sinh": R, "cosh": R, "tanh": R,
        "sigmoid": R, "erf": R, "square": R, "neg": R, "abs": D,
    }  # fmt: skip
    for op, draw in smooth.items():
        for shape in SHAPES:
            yield case(op, draw(*shape))
        yield case(op, draw(3, 4, layout="strided"))
        yield case(op, draw(3, 4, layout="F"))
        if op not in ("acos", "asin"):
            yield case(op, N(3, low=1, high=4))
            yield case(op, N(3, low=1, high=4, dtype="int32"))
    yield case("abs", T(20))
    yield case("log", Input((4,), "ties", grad=False))
    for op in ("sign", "floor", "ceil", "round", "trunc"):
        for x in (R(3, 4), R(), D(7), T(5), N(4, low=-3), R(3, 4, layout="strided")):
            yield case(op, x)
    for op in ("isnan", "isinf", "isfinite"):
        for x in (R(3, 4), N(3), B(2)):
            yield case(op, x)
        yield case(op, T(40), call=lambda m, x, op=op: getattr(m, op)(1 / x), _label="with-inf")
        yield case(op, T(40), call=lambda m, x, op=op: getattr(m, op)(x / x), _label="with-nan")
    for x in (B(3), N(4), T(5)):
        yield case("logical_not", x)
    for x in (B(3), N(4), N(4, dtype="uint8")):
        yield case("bitwise_not", x)
    for x in (R(2, 3), R(2, 3, layout="F"), N(3)):
        yield case("clone", x)
    # far out: no overflow
    for op in ("sigmoid", "tanh", "erf"):
        yield case(op, R(9), call=lambda m, x, op=op: getattr(m, op)(x * 300), _label="large")


def choice() -> Iterator[Case]:
    for c, a, b in [
        (B(2, 3), R(2, 3), R(2, 3)), (B(3), R(2, 3), R(2, 1)), (B(2, 1), R(), R(3)), (B(4), R(4), 0), (B(4), 1.5, R(4)),
        (B(4), R(4), N(4)), (B(4), N(4), 2.5), (B(4), N(4), 7), (B(4), R(dtype="float64"), R(4)), (B(), R(3), R(3)),
        (B(0), R(0), R(0)), (B(4), 1.0, 2.0), (B(4), 1, 2),
    ]:  # fmt: skip
        yield case("where", c, a, b)
    for x in (R(3, 4), T(20), R(), N(5)):
        yield case("clamp", x, -1, 1)
        yield case("clip", x, -1, 1)
        yield case("clamp", x, min=-1)
        yield case("clamp", x, max=1)
        yield case("clamp", x, -0.5, 0.5)
    yield case("clamp", R(3, 4), min=R(4), max=P(3, 1))
    yield case("clamp", T(20), min=T(20))
    yield case("clamp", T(20), max=T(20))
    yield case("clamp", R(3, 4), R(4), _label="min-positional")


DIMS: list[dict[str, Any]] = [
    {}, {"dim": 0}, {"dim": -1}, {"dim": 1, "keepdim": True}, {"dim": (0, 2)}, {"dim": (-1, 0), "keepdim": True},
]  # fmt: skip
DIM = [{"dim": 0}, {"dim": -1}, {"dim": 1, "keepdim": True}]


def reductions() -> Iterator[Case]:
    for kwargs in DIMS:
        for op in ("sum", "mean", "var", "std"):
            yield case(op, R(2, 3, 4), **kwargs)
            yield case(op, R(2, 3, 4, layout="strided"), **kwargs)
        yield case("sum", N(2, 3, 4), **kwargs)
        yield case("any", B(2, 3, 4), **kwargs)
        yield case("all", N(2, 3, 4, high=9), **kwargs)
        for op in ("amax", "amin"):
            yield case(op, R(2, 3, 4), **kwargs)
            yield case(op, T(2, 3, 4), **kwargs)
            yield case(op, N(2, 3, 4), **kwargs)
        if kwargs:
            yield case("logsumexp", R(2, 3, 4), **kwargs)
            yield case("norm", R(2, 3, 4), **kwargs)
    for op in ("sum", "mean", "prod", "any", "all", "amax", "amin", "max", "min", "argmax", "argmin", "logsumexp"):
        args = (0,) if op == "logsumexp" else ()
        yield case(op, R(), *args)
        yield case(op, R(5), *args)
        if op not in ("any", "all"):
            yield case(op, R(), dim=-1)
    for op in ("sum", "mean", "prod", "any", "all", "logsumexp", "std", "var"):
        second = op not in ("logsumexp", "var")  # of a NaN or an infinity
        if op != "logsumexp":
            yield case(op, R(0, 3), _second=second)
        yield case(op, R(0, 3), dim=0, _second=second)
        yield case(op, R(0, 3), dim=1, _second=second)
    for op in ("sum", "mean", "prod"):
        yield case(op, R(3, 4), dtype=None)
        yield case(op, N(3, 4), call=lambda m, x, op=op: getattr(m, op)(x, dtype=m.float64), _label="dtype")
        yield case(
            op, R(3, 4), 1, call=lambda m, x, d, op=op: getattr(m, op)(x, d, dtype=m.float64), _label="dtype-dim"
        )
    yield case("sum", B(3, 4))
    yield case("sum", N(3, 4, dtype="int32"), dim=1)
    yield case("sum", R(2, 3), 1, True)
    yield case("sum", R(2, 3), (0, 1))
    yield case("sum", R(2, 3), [0])
    for op in ("var", "std"):
        yield case(op, R(3, 4), dim=1, correction=0)
        yield case(op, R(3, 4), dim=0, unbiased=False)
        yield case(op, R(3, 4), 0, False, _label="dim-unbiased-positional")
        yield case(op, R(3, 4), False, _label="unbiased-positional")
        yield case(op, R(3, 4), correction=2, dim=(0, 1), keepdim=True)
        yield case(op, R(1, 3), dim=0, _first=False)
    yield case("std", Z(3, 4), dim=1, _second=False)
    for kwargs in [{}, *DIM]:
        for op in ("max", "min"):
            yield case(op, D(3, 4), **kwargs)
            yield case(op, T(3, 4), **kwargs)
            yield case(op, N(3, 4, high=99), **kwargs)
        yield case("argmax", D(3, 4), **kwargs)
        yield case("argmin", D(3, 4, layout="strided"), **kwargs)
        yield case("prod", R(3, 4), **kwargs)
        yield case("prod", T(3, 4), **kwargs)  # zeros among the factors
    yield case("max", D(3, 4), D(4))
    yield case("min", D(3, 4), D(3, 1))
    yield case("prod", N(3, 4), dim=1)
    yield case("prod", Z(3))
    yield case("prod", R(1, 3), 0)
    for d in (0, -1, 2):
        yield case("cumsum", R(2, 3, 4), d)
        yield case("cumsum", N(2, 3, 4), dim=d)
    yield case("cumsum", R(), 0)
    yield case("cumsum", R(0, 3), 0)
    yield case("cumsum", B(5), 0)
    for d in (0, -1):
        yield case("cumprod", R(2, 3, 4), d)
        yield case("cumprod", T(3, 4), d)  # zeros among the factors
        yield case("cumprod", N(2, 3), dim=d)
    yield case("cumprod", R(), 0)
    yield case("cumprod", R(0, 3), 0)
    for kwargs in ({}, {"dim": 0}, {"dim": -1, "keepdim": True}):
        yield case("median", D(3, 4), **kwargs)
        yield case("median", D(3, 5, layout="F"), **kwargs)
        yield case("median", D(3, 5), call=_median_beside_nan, _first=False, **kwargs)
    yield case("median", R())
    yield case("median", R(), 0)
    for kwargs in ({}, {"dim": 1}, {"dim": (0, 1), "keepdim": True}, {"dim": 0, "correction": 0}):
        yield case("var_mean", R(3, 4), **kwargs)
    yield case("var_mean", R(3, 4), False)
    for x, y in ((N(3), N(3)), (N(3, high=1), N(3, high=1)), (R(2, 3), R(3)), (R(0), R(0))):
        yield case("equal", x, y)
    yield case("equal", R(3), call=lambda m, x: (m.equal(x, x), x.equal(x * 2)), _label="itself")
    for scale in (1.0, 1 + 1e-7, 1 + 1e-3, float("inf"), float("nan")):
        for options in ({}, {"equal_nan": True}, {"rtol": 1e-2}):
            call = {"call": lambda m, x, s=scale, **o: m.allclose(x * s, (x * s) * min(s, 1 + 1e-3), **o)}
            yield case("allclose", P(4), _label=f"{scale} {options}", _first=False, **call, **options)
    for p in (1, 2, 3, 2.5, float("inf"), float("-inf"), "fro"):
        yield case("norm", R(3, 4), p)
        if p != "fro":
            yield case("norm", R(3, 4), p, dim=1)
            yield case("norm", R(3, 4, layout="strided"), p, dim=0, keepdim=True)
    yield case("norm", T(3, 4), 0, _first=False)
    yield case("norm", Z(3, 4), 2, dim=1, _second=False)
    yield case("norm", R(3))
    yield case("logsumexp", R(3, 4), (0, 1), _label="both")
    yield case("logsumexp", N(3, 4), 1)
    yield case("logsumexp", T(4, 3), 1, call=lambda m, x, d: m.logsumexp(x * 1000, d), _label="large")


def _median_beside_nan(m: Any, x: Any, **options: Any) -> Any:
    return m.median(m.where(x == x[1, 2], float("nan"), x), **options)


CASES: list[Case] = [*two_operands(), *one_operand(), *choice(), *reductions()]
