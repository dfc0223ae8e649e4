"""Parity cases of ``minidl.ops`` (all of them also names of ``minidl`` itself) and of the methods of a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.parity import cases_math
from tests.parity.cases import B, Case, D, N, P, R, S, T, Z, case


def shapes() -> Iterator[Case]:
    for x in (R(2, 3, 4), R(2, 3, 4, layout="strided"), R(2, 3, 4, layout="F"), N(2, 3, 4)):
        for shape in ((6, 4), (-1,), (4, -1), (2, 3, 4), (1, 24, 1), [24]):
            yield case("reshape", x, shape)
        for dims in ((2, 0, 1), (-1, 0, -2), (0, 1, 2)):
            yield case("permute", x, dims)
        yield case("transpose", x, 0, 2)
        yield case("transpose", x, -1, -2)
        yield case("flatten", x)
        yield case("flatten", x, 1)
        yield case("flatten", x, start_dim=0, end_dim=1)
        yield case("flip", x, (0, 2))
        yield case("flip", x, [1])
        yield case("roll", x, 1)
        yield case("roll", x, 2, 1)
        yield case("roll", x, (1, -2), (0, 2))
        yield case("movedim", x, 0, 2)
        yield case("movedim", x, (0, 2), (1, 0))
        yield case("unbind", x, 1)
        yield case("unbind", x)
        yield case("narrow", x, 2, 1, 2)
        yield case("select", x, 1, -1)
        yield case("tile", x, (2,))
        yield case("tile", x, (2, 1, 1, 2))
        yield case("split", x, 2, 2)
        yield case("split", x, 3, dim=-1)
        yield case("split", x, [1, 2], dim=1)
        yield case("chunk", x, 2, 1)
        yield case("chunk", x, 5)
        yield case("unsqueeze", x, 0)
        yield case("unsqueeze", x, -1)
        yield case("repeat", x, 2, 1, 1, 3, call=lambda m, t, *n: t.repeat(*n))
        yield case("repeat", x, call=lambda m, t: t.repeat((1, 2, 3)), _label=f"tuple-{x.kind}{x.layout}")
    yield case("reshape", R(0, 3), (3, 0))
    yield case("reshape", R(), (1, 1))
    yield case("reshape", R(1), ())
    yield case("permute", R(), ())
    yield case("transpose", R(), 0, -1)
    yield case("flatten", R())
    yield case("unflatten", R(2, 12), 1, (3, 4))
    yield case("unflatten", R(12, 2), 0, (3, -1))
    yield case("unflatten", R(2, 12), -1, (2, 2, 3))
    yield case("flip", R(), ())
    yield case("t", R(2, 3))
    yield case("t", R(3))
    yield case("t", R())
    for kwargs in ({}, {"dim": 0}, {"dim": 1}, {"dim": -2}, {"dim": (0, 2)}):
        yield case("squeeze", R(1, 3, 1, 2), **kwargs)
    yield case("squeeze", R())
    yield case("unsqueeze", R(), 0)
    for sizes in ((2, 3, 4), (5, 2, 3, 4), (-1, 3, 4), (2, -1, 4)):
        yield case("expand", R(2, 1, 4), sizes, call=lambda m, x, s: x.expand(s))
    yield case("expand", R(3, 1), call=lambda m, x: x.expand(-1, 5), _label="arguments")
    yield case("expand", R(), call=lambda m, x: x.expand(2, 2), _label="0d")
    yield case("broadcast_tensors", R(2, 1), R(3))
    for op in ("cat", "concat", "concatenate"):
        yield case(op, [R(2, 3), R(1, 3)])
        yield case(op, (R(2, 3), R(2, 0), R(2, 1)), dim=1)
        yield case(op, [R(2, 3), R(2, 1)], -1)
    yield case("cat", [N(2), R(3)])
    yield case("cat", [R(2, dtype="float32"), R(3, dtype="float64")])
    yield case("cat", [N(2, dtype="int32"), N(3), B(1)])
    yield case("cat", [B(2), B(1)])
    yield case("cat", [R(3, layout="strided")])
    for name, parts in zip(
        ("first", "last", "only", "of integers", "of float64"),
        (
            [R(0), R(2, 3), R(1, 3)],
            [R(2, 3), R(0)],
            [R(0), R(0)],
            [N(0), R(2, 2)],
            [R(0, dtype="float64"), N(2)],
        ),
    ):
        yield case("cat", parts, _label=f"an empty piece of one axis, {name}")
    yield case("cat", [R(2, 3), R(0), R(2, 1)], dim=-1, _label="an empty piece of one axis, dim -1")
    for dim in (0, 1, -1, -3):
        yield case("stack", [R(2, 3), R(2, 3)], dim)
    yield case("stack", (R(), R(), R()))
    yield case("stack", [N(2), R(2)])
    for options in ({}, {"indexing": "xy"}):
        for vectors in ((R(2), R(3)), (R(2), R(), R(4)), (N(3),), ([R(2), R(3)],)):
            yield case("meshgrid", *vectors, **{"indexing": "ij", **options})
    for op in ("tril", "triu"):
        for d in (0, 1, -1, 5):
            yield case(op, R(2, 3, 4), d)
        yield case(op, R(4, 3), diagonal=-2)
        yield case(op, N(3, 3))
        yield case(op, B(3, 3))


def indexing() -> Iterator[Case]:
    for kwargs in ({}, {"dim": 0}, {"dim": -1, "descending": True}):
        yield case("sort", D(3, 4), **kwargs)
        yield case("sort", T(3, 4), stable=True, **kwargs)
        yield case("argsort", D(3, 4), **kwargs)
        yield case("sort", N(3, 4), stable=True, **kwargs)
    yield case("argsort", T(3, 4), stable=True)
    yield case("sort", R())
    yield case("sort", R(0))
    for kwargs in ({}, {"dim": 0}, {"largest": False}, {"dim": 1, "largest": False}):
        yield case("topk", D(3, 4), 2, **kwargs)
    yield case("topk", D(3, 4), 0)
    yield case("topk", D(5), k=5)
    for index, dim in [(N(2, 3, high=4), 0), (N(4, 5, high=3), 1), (N(4, 2, high=3), -1), (N(1, 1, high=3), 1)]:
        yield case("gather", R(4, 3), dim, index)
        yield case("scatter_add", R(4, 3), dim, index, R(*index.shape))
        yield case("scatter_add", R(4, 3), dim, index, R(4, 6, grad=False))  # more source than index
    yield case("gather", R(4, 3, layout="strided"), 1, N(4, 5, high=3))
    yield case("gather", R(4, 3), dim=1, index=N(0, 5, high=3))
    yield case("gather", R(), 0, N(high=1))
    yield case("gather", N(4, 3), 1, N(4, 5, high=3))
    yield case("take_along_dim", R(4, 3), N(4, 5, high=3), 1)
    yield case("take_along_dim", R(4, 3), N(1, 3, high=4), dim=0)
    yield case("take_along_dim", R(4, 1), N(4, 5, high=1), 1)
    distinct = {"call": lambda m, x, dim, index, src: m.scatter(x, dim, m.argsort(index, dim), src)}
    yield case("scatter", R(4, 3), 0, D(4, 3), R(4, 3), **distinct)
    yield case("scatter", R(4, 3), 1, D(2, 3), R(2, 3), **distinct)
    yield case("scatter", R(4, 3), 1, D(2, 3), R(4, 3, grad=False), _label="longer source", **distinct)
    yield case("scatter", R(4, 3), -1, D(4, 3), 2.5, **distinct)
    yield case("scatter", R(4, 3), 0, N(2, 3, high=4), 2.5)
    for index in (N(5, high=3), N(0, high=3)):
        yield case("index_select", R(2, 3), 1, index)
    yield case("index_select", R(3, 2, 2), -3, N(4, high=3))
    yield case("index_select", R(3), 0, N(high=3))
    yield case("index_add", R(2, 3), 1, N(5, high=3), R(2, 5))
    yield case("index_add", R(3, 2), 0, N(4, high=3), R(4, 2), alpha=-2)
    yield case("index_add", R(3, 2), dim=-1, index=N(4, high=2), source=R(3, 4))
    yield case("index_put", R(4, 3), (N(5, high=4),), R(5, 3), accumulate=True)
    yield case("index_put", R(4, 3), (N(5, high=4), N(5, high=3)), R(5), accumulate=True)
    yield case("index_put", R(4, 3), (B(4, 3),), R())
    yield case("index_put", R(4, 3), (B(4),), R(3))
    yield case("masked_fill", R(2, 3), B(2, 3), 1.5)
    yield case("masked_fill", R(2, 3), B(3), -1)
    yield case("masked_fill", R(2, 3), B(2, 1), R())
    yield case("masked_fill", N(2, 3), B(2, 3), 7)
    yield case("masked_select", R(2, 3), B(2, 3))
    yield case("masked_select", R(2, 3), B(3))
    yield case("masked_select", R(3), B(2, 3))
    for x in (T(3, 4), B(5), N(2, 2, 2, high=2), Z(3)):
        yield case("nonzero", x)
        yield case("nonzero", x, as_tuple=True)
    yield from reading()


def reading() -> Iterator[Case]:
    """x[index] and x[index] = value, written as PyTorch users write them."""
    s = slice
    basic: list[Any] = [
        0, -1, s(1, 3), s(None, None, 2), s(3, 1), (0, 1), (s(None), 1), (s(None), -1, s(1, None)), (Ellipsis, 0), None,
        (None, 0), (s(None), None, s(1, 2)), (0, Ellipsis, None), (1, 2, 3), (), Ellipsis, (s(None), s(0, 0)),
    ]  # fmt: skip
    advanced: list[Any] = [
        [0, 2], (s(None), [2, 0, 0]), ([0, 3], [1, 2]), ([0, 3], s(None), [1, 2]), (0, s(None), [1, 1]),
        ([[0], [3]], [[1, 2]]), (Ellipsis, [3, 0]), (None, [0, 1]), (s(1, 3), [1], None), [True, False, True, True],
    ]  # fmt: skip
    for index in [*basic, *advanced]:
        call = {"call": lambda m, x, index=index: x[index], "_label": f"read {index}".replace("slice", "s")}
        yield case("Tensor.__getitem__", R(4, 3, 5), **call)
    for index in [*basic, *advanced]:

        def write(m: Any, x: Any, v: Any, index: Any = index) -> Any:
            y = x * 1
            y[index] = v
            return y

        if index not in ((s(None), [2, 0, 0]), (0, s(None), [1, 1])):  # a repeated entry has no one value
            yield case(
                "Tensor.__setitem__", R(4, 3, 5), R(1), call=write, _label=f"write {index}".replace("slice", "s")
            )
    yield case("Tensor.__getitem__", R(4, 3), N(2, 2, high=4), call=lambda m, x, i: x[i], _label="tensor")
    yield case("Tensor.__getitem__", R(4, 3), N(high=4), call=lambda m, x, i: x[i], _label="0-d tensor")
    yield case("Tensor.__getitem__", R(4, 3), B(4), call=lambda m, x, i: x[i], _label="mask of rows")
    yield case("Tensor.__getitem__", R(4, 3), B(4, 3), call=lambda m, x, i: x[i], _label="mask of elements")
    yield case("Tensor.__getitem__", R(4, 3), N(2, high=4), N(2, high=3), call=lambda m, x, i, j: x[i, j], _label="two")
    yield case("Tensor.__getitem__", R(4, 3), N(2, low=-4, high=0), call=lambda m, x, i: x[i], _label="negative")
    yield case("Tensor.__getitem__", R(4, 3), call=lambda m, x: [*x], _label="iteration")

    def set_value(m: Any, x: Any, v: Any, *index: Any) -> Any:
        y = x * 2
        y[index] = v
        return y

    yield case("Tensor.__setitem__", R(4, 3), R(2, 3), slice(1, 3), call=set_value, _label="slice")
    yield case("Tensor.__setitem__", R(4, 3), R(1, 3), 1, call=set_value, _label="leading one")
    yield case("Tensor.__setitem__", R(4, 3), 2.5, 1, call=set_value, _label="number")
    yield case("Tensor.__setitem__", R(4, 3), R(), B(4, 3), call=set_value, _label="mask")
    yield case("Tensor.__setitem__", R(4, 3), N(3), 2, call=set_value, _label="integers into floats")
    yield case("Tensor.__setitem__", R(4, 3), R(3), (0,), call=set_value, _label="nested tuple", _first=False)


def linear_algebra() -> Iterator[Case]:
    for a, b in [
        (R(2, 3), R(3, 4)), (R(3), R(3)), (R(2, 3), R(3)), (R(3), R(3, 2)), (R(2, 3, 4), R(4, 2)),
        (R(5, 2, 3), R(5, 3, 2)), (R(5, 1, 2, 3), R(4, 3, 2)),
        (R(2, 3), R(5, 3, 2)), (R(3), R(5, 3, 2)), (R(5, 2, 3), R(3)), (R(0, 3), R(3, 2)),
        (R(2, 0), R(0, 3)), (R(2, 3, layout="strided"), R(3, 4, layout="F")), (N(2, 3), N(3, 2)),
    ]:  # fmt: skip
        yield case("matmul", a, b)
    yield case("mm", R(2, 3), R(3, 4))
    yield case("bmm", R(5, 2, 3), R(5, 3, 4))
    yield case("dot", R(4), R(4))
    yield case("mv", R(2, 3), R(3))
    yield case("outer", R(2), R(3))
    yield case("addmm", R(4), R(2, 3), R(3, 4))
    yield case("addmm", R(2, 4), R(2, 3), R(3, 4), beta=0.5, alpha=-2)
    yield case("trace", R(3, 4))
    for kwargs in (
        {},
        {"offset": 1},
        {"offset": -2},
        {"dim1": 1, "dim2": 2},
        {"dim1": -1, "dim2": -2},
        {"dim1": 2, "dim2": 0},
    ):
        yield case("diagonal", R(3, 4, 5), **kwargs)
    yield case("diagonal", R(2, 2), offset=5)
    for d in (0, 1, -2):
        yield case("diag", R(3), d)
        yield case("diag", R(3, 4), d)
    for equation, operands in [
        ("ij,jk->ik", (R(2, 3), R(3, 4))), ("ij,jk", (R(2, 3), R(3, 4))), ("i,j->ij", (R(2), R(3))),
        ("ij->ji", (R(2, 3),)), ("ij->", (R(2, 3),)), ("ij->i", (R(2, 3),)), ("bij,bjk->bik", (R(2, 3, 4), R(2, 4, 2))),
        ("i,i->", (R(3), R(3))),
        ("...ij,...jk->...ik", (R(5, 2, 3), R(3, 4))), ("...i->...", (R(2, 3, 4),)),
        ("i...,j...->ij...", (R(2, 4), R(3, 4))),
        ("nchw,kc->nkhw", (R(2, 3, 4, 5), R(6, 3))), ("ij,jk,kl->il", (R(2, 3), R(3, 4), R(4, 2))), ("ba", (R(2, 3),)),
        ("i,ij,j->", (R(2), R(2, 3), R(3))), ("ii->i", (R(3, 3),)), ("ii", (R(3, 3),)), ("bii->bi", (R(2, 3, 3),)),
        ("iji,jj->j", (R(3, 2, 3), R(2, 2))), ("iii->i", (R(2, 2, 2),)), ("ij,ij->ij", (R(2, 1), R(2, 3))),
        ("...i,...i->...", (R(1, 3), R(4, 3))), ("ij,kj->ik", (R(2, 1), R(4, 3))), ("ij,jk->ik", (R(2, 1), R(3, 1))),
        ("ij,k->i", (R(2, 3), R(4))), (" i j , j k -> k i ", (R(2, 3), R(3, 4))),
    ]:  # fmt: skip
        yield case("einsum", equation, *operands)
    yield case("einsum", "ij,jk->ik", [R(2, 3), R(3, 4)], _label="list of operands")
    yield case("tensordot", R(2, 3, 4), R(3, 4, 5))
    yield case("tensordot", R(2, 3), R(3, 4), 1)
    yield case("tensordot", R(2, 3), R(4), dims=0)
    yield case("tensordot", R(2, 3, 4), R(4, 2, 5), dims=([2, 0], [0, 1]))
    yield case("tensordot", R(2, 3, 4), R(5, 4), dims=([-1], [1]))
    for op in ("inverse", "det", "cholesky", "slogdet"):
        yield case(op, S(3, 3), _factor=100)
        yield case(op, S(2, 3, 3), _factor=100)
    yield case("inv", R(3, 3), call=lambda m, x: _linalg(m).inv(x), _factor=1000)
    for b in (R(3, 2), R(3), R(2, 3, 2)):
        yield case(
            "solve",
            S(3, 3),
            b,
            call=lambda m, a, b: _linalg(m).solve(a, b),
            _factor=100,
        )
    yield case("inverse", R(3, 3), _factor=1000)
    yield case("det", R(3, 3), _factor=1000)


def _linalg(module: Any) -> Any:
    """What PyTorch keeps in torch.linalg minidl has at its top."""
    return getattr(module, "linalg", module)


def made() -> Iterator[Case]:
    for op in ("zeros", "ones"):
        yield case(op, 2, 3)
        yield case(op, (2, 3))
        yield case(op, ())
        yield case(op, 0, 3)
        yield case(op, 2, call=lambda m, n, op=op: getattr(m, op)(n, dtype=m.int64), _label="dtype")
        yield case(op, 2, call=lambda m, n, op=op: getattr(m, op)(n, dtype=m.bool), _label="bool")
        yield case(f"{op}_like", R(2, 3))
        yield case(f"{op}_like", N(2))
        yield case(
            f"{op}_like", N(2), call=lambda m, x, op=op: getattr(m, op + "_like")(x, dtype=m.float64), _label="dtype"
        )
    yield case("full", (2, 3), 1.5)
    yield case("full", (2,), 7)
    yield case("full", (2,), True)
    yield case("full", [3], fill_value=2.0)
    yield case("full_like", R(2, 3), 2)
    yield case("full_like", N(2), 2)
    for args in ((5,), (2, 7), (1, 10, 3), (0.5, 3), (5.0,), (0, 1, 0.25), (5, 0, -2)):
        yield case("arange", *args)
    yield case("arange", 0, end=4)
    yield case("linspace", 0, 1, 5)
    yield case("linspace", -2.5, 3, steps=4)
    yield case("eye", 3)
    yield case("eye", 2, 4)


def networks() -> Iterator[Case]:
    """Activations that are names of torch itself too; the rest is in cases_functional."""
    for dim in (0, -1):
        for op in ("softmax", "log_softmax"):
            yield case(op, R(3, 4), dim)
            yield case(op, R(3, 4, layout="strided"), dim=dim)
    yield case("softmax", R(), 0)
    yield case("log_softmax", R(3, 4), 1, call=lambda m, x, d: m.log_softmax(x * 1000, d), _label="large", _first=False)
    yield case("softmax", N(3, 4), 1, call=lambda m, x, d: m.softmax(x, d, dtype=m.float64), _label="dtype")
    for x in (D(3, 4), Z(3), D(3, 4, layout="strided"), R(0, 2), N(4, low=-3)):
        yield case("relu", x)


def methods() -> Iterator[Case]:
    """What exists as a method or operator only, and methods whose arguments differ from the function's."""
    table: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("T", lambda m, x: x.T, (R(2, 3),)),
        ("mT", lambda m, x: x.mT, (R(2, 3, 4),)),
        ("view", lambda m, x: x.view(3, -1), (R(2, 3),)),
        ("reshape varargs", lambda m, x: x.reshape(3, 2), (R(2, 3),)),
        ("permute varargs", lambda m, x: x.permute(2, 0, 1), (R(2, 3, 4),)),
        ("flip varargs", lambda m, x: x.flip(0, 1), (R(2, 3),)),
        ("expand_as", lambda m, x, y: x.expand_as(y), (R(3), R(2, 3))),
        ("where", lambda m, x, c, y: x.where(c, y), (R(3), B(3), R(3))),
        ("rsub", lambda m, x: 2 - x, (R(3),)),
        ("rdiv", lambda m, x: 2 / x, (P(3),)),
        ("rpow", lambda m, x: 2.5**x, (R(3),)),
        ("rmod", lambda m, x: 7.5 % x, (P(3, grad=False),)),
        ("mod", lambda m, x: x % 0.7, (R(5),)),
        ("neg", lambda m, x: -x, (R(3),)),
        ("abs", lambda m, x: abs(x), (D(3),)),
        ("invert", lambda m, x: ~x, (B(3),)),
        ("and", lambda m, x, y: (x & y, x | y, x ^ y), (B(5), B(5))),
        ("matmul", lambda m, x, y: x @ y, (R(2, 3), R(3))),
        ("radd of a list of numbers", lambda m, x: 1 + x + True, (R(3),)),
        ("float", lambda m, x: x.float(), (R(3),)),
        ("double", lambda m, x: x.double(), (R(3),)),
        ("half", lambda m, x: x.half().double(), (R(3),)),
        ("long", lambda m, x: x.long(), (R(5),)),
        ("int", lambda m, x: x.int(), (R(5),)),
        ("bool", lambda m, x: x.bool(), (T(5),)),
        ("type_as", lambda m, x, y: x.type_as(y), (R(3), R(2, dtype="float64"))),
        ("to dtype", lambda m, x: x.to(m.float64), (R(3),)),
        ("to other", lambda m, x, y: x.to(y), (R(3), R(2, dtype="float64"))),
        ("to int", lambda m, x: x.to(m.int64), (R(3),)),
        ("contiguous", lambda m, x: x.t().contiguous(), (R(2, 3),)),
        ("numel and dims", lambda m, x: [x.numel(), x.dim(), x.ndim, tuple(x.shape), x.size(-1), len(x)], (R(2, 3),)),
        ("item", lambda m, x: [x.item(), float(x), x.tolist()], (N(1),)),
        ("properties", lambda m, x: [x.is_floating_point(), x.is_contiguous(), x.is_leaf], (R(2, 3, grad=False),)),
        ("add_", lambda m, x, y: (x * 1).add_(y, alpha=2), (R(2, 3), R(3))),
        ("sub_", lambda m, x, y: (x * 1).sub_(y), (R(2, 3), R(3))),
        ("mul_", lambda m, x, y: (x * 1).mul_(y), (R(2, 3), R(3))),
        ("div_", lambda m, x, y: (x * 1).div_(y), (R(2, 3), P(3))),
        ("clamp_", lambda m, x: (x * 1).clamp_(-0.5, 0.5), (D(9),)),
        ("copy_", lambda m, x, y: (x * 1).copy_(y), (R(2, 3), R(3))),
        ("fill_", lambda m, x: (x * 1).fill_(2.0), (R(2, 3, grad=False),)),
        ("zero_", lambda m, x: (x * 1).zero_(), (R(2, 3, grad=False),)),
        ("in place operators", _in_place_operators, (R(3), R(3))),
        ("in place on a view", _in_place_on_view, (R(3, 4), R(4))),
        ("in place on a base", _in_place_on_base, (R(3, 4), R(4))),
        ("in place on one of two views", _in_place_on_overlap, (R(6), R(3))),
        ("in place without a gradient", _in_place_plain, (R(3, 4, grad=False), R(4))),
        ("detach", lambda m, x: x * x.detach(), (R(3),)),
        ("argmax method", lambda m, x: (x.argmax(), x.argmin(1), x.max(1), x.min()), (D(3, 4),)),
        ("masked", lambda m, x: x.masked_fill(x > 0, 0.0).sum(0), (D(3, 4),)),
        ("norm method", lambda m, x: (x.norm(), x.norm(1), x.norm(dim=1), x.norm(p=2, dim=0)), (R(3, 4),)),
    ]
    for label, call, args in table:
        yield Case("Tensor", args, {}, call, label)


def _in_place_operators(m: Any, x: Any, y: Any) -> Any:
    z = x * 2
    z += y
    z *= y
    z -= 1
    z /= 2
    return z


def _in_place_on_view(m: Any, x: Any, y: Any) -> Any:
    base = x * 2
    row = base[1]
    row += y
    base[0] *= 3
    base[:, 2] -= 1.0
    return base, row


def _in_place_on_base(m: Any, x: Any, y: Any) -> Any:
    base = x * 2
    view = base.reshape(-1)
    column = base[:, 1]
    base *= y
    return base, view, column


def _in_place_on_overlap(m: Any, x: Any, y: Any) -> Any:
    base = x * 2
    left, right = base[:4], base[2:]
    left[1:4] *= y
    return left, right, base


def _in_place_plain(m: Any, x: Any, y: Any) -> Any:
    base = x + 0
    row = base[1]
    row += y  # makes the base depend on y
    return base, row


CASES: list[Case] = [
    *cases_math.CASES, *shapes(), *indexing(), *linear_algebra(), *made(), *networks(), *methods(),
]  # fmt: skip

# public names of minidl.ops without a case, each with the reason
EXEMPT: dict[str, str] = {
    "empty": "its values are whatever the memory held; shape and dtype are tested in tests/test_tensor.py",
    "empty_like": "as empty",
}
