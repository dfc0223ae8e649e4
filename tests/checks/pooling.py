"""Checks of pooling, for pytest and for the mutation run: each raises AssertionError at the first disagreement.

The oracle is written out in plain Python loops and asks nothing of ``minidl``, not even sizes, so that it stays
right while a bug sits in the geometry, the definitions or the kernels.  ``impl`` is "numba", "spec" or "arrays".
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from minidl.kernels import pooling
from minidl.kernels.pooling import Pool

NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Case:
    """One pooling problem in plain numbers; ``adaptive`` holds the output size of an adaptive one."""

    x: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] | None = None
    padding: tuple = 0  # type: ignore[assignment]
    dilation: tuple[int, ...] | int = 1
    ceil: bool = False
    adaptive: tuple[int | None, ...] = ()

    @property
    def pool(self) -> Pool:
        if self.adaptive:
            return Pool.adaptive(self.x, self.adaptive)
        return Pool.from_shape(self.x, self.kernel, self.stride, self.padding, self.dilation, self.ceil)

    def axes(self) -> list[list[list[int]]]:
        """For each axis and each window: the positions it covers, those in the low and high padding too."""
        return [self._axis(a) for a in range(len(self.x) - 2)]

    def _axis(self, a: int) -> list[list[int]]:
        size = self.x[2 + a]
        if self.adaptive:
            out = size if self.adaptive[a] is None else self.adaptive[a]
            assert out is not None
            # a position belongs to window p when its cell [i, i+1) meets [p*size/out, (p+1)*size/out)
            return [
                [i for i in range(size) if i * out < (p + 1) * size and (i + 1) * out > p * size] for p in range(out)
            ]
        low, high = self.pads()[a]
        kernel, stride = self.kernel[a], (self.stride or self.kernel)[a]
        dilation = self.dilation if isinstance(self.dilation, int) else self.dilation[a]
        room = low + size + high - (kernel - 1) * dilation - 1
        found = []
        for start in itertools.count(0, stride):
            fits = start <= room or (self.ceil and start - stride < room and start < low + size)
            if not fits:
                return found
            found.append([start - low + t * dilation for t in range(kernel)])
        raise AssertionError("unreachable")

    def pads(self) -> tuple[tuple[int, int], ...]:
        each = (self.padding,) * (len(self.x) - 2) if isinstance(self.padding, int) else self.padding
        return tuple((p, p) if isinstance(p, int) else p for p in each)

    def windows(self) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
        """(output position, the input positions it reads in row-major order)."""
        axes = self.axes()
        size = self.x[2:]
        for p in itertools.product(*(range(len(a)) for a in axes)):
            taps = ([i for i in axes[a][q] if 0 <= i < size[a]] for a, q in enumerate(p))
            yield p, list(itertools.product(*taps))

    def divisor(self, p: tuple[int, ...], count_include_pad: bool) -> int:
        """Positions of window p inside the padded input, or inside the input."""
        count = 1
        for a, q in enumerate(p):
            size = self.x[2 + a]
            low, high = (0, 0) if self.adaptive or not count_include_pad else self.pads()[a]
            count *= sum(-low <= i < size + high for i in self.axes()[a][q])
        return count

    @property
    def y(self) -> tuple[int, ...]:
        return (*self.x[:2], *(len(a) for a in self.axes()))

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(repr(self).encode()))

    def flat(self, i: tuple[int, ...]) -> int:
        at = 0
        for size, k in zip(self.x[2:], i, strict=True):
            at = at * size + k
        return at


CASES = (
    Case((2, 3, 4, 6), (2, 2)),
    Case((2, 3, 7, 5), (3, 2), (2, 1)),
    Case((2, 2, 6, 7), (2, 3), (1, 3), (1, 1)),
    Case((1, 5, 5, 8), (3, 3), (1, 1), (1, 1)),
    Case((2, 3, 7, 6), (3, 4), (2, 3), (1, 2), ceil=True),
    Case((2, 2, 8, 7), (2, 3), (3, 2), (1, 0), ceil=True),
    Case((2, 2, 5, 5), (2, 2), (2, 2), ceil=True),
    Case((2, 3, 6, 5), (3, 3), (2, 2), ((1, 0), (0, 1))),
    Case((2, 2, 5, 6), (3, 4), (2, 3), ((0, 1), (2, 1)), ceil=True),
    Case((2, 3, 8, 9), (3, 2), (1, 2), (1, 0), (2, 3)),
    Case((2, 2, 9, 7), (2, 3), (2, 1), (0, 1), (3, 2), ceil=True),
    Case((2, 3, 4, 5), (1, 1), (2, 3)),
    Case((2, 3, 4, 5), (4, 5)),
    Case((2, 2, 9, 8), (2, 2), (4, 3)),
    Case((2, 1, 2, 3), (3, 4), (3, 4), ceil=True),
    Case((1, 2, 3, 29), (2, 3), (1, 1), (1, 1)),
    Case((2, 2, 3, 31), (3, 3), (2, 2), (1, 1)),
    Case((1, 2, 4, 40), (2, 4), (1, 3), (0, 2), ceil=True),
    Case((1, 2, 3, 30), (2, 3), (2, 1), (1, 1), (1, 4)),
    Case((1, 2, 3, 27), (2, 2), (2, 2), (0, (0, 1)), (1, 2), ceil=True),
    Case((1, 67, 3, 4), (2, 3), (1, 1), (1, 1)),
    Case((3, 4, 9), (3,), (2,), (1,)),
    Case((2, 3, 33), (4,), (2,), (1,), ceil=True),
    Case((2, 2, 4, 5, 6), (2, 3, 2), (1, 2, 2), (1, 0, 1)),
    Case((1, 2, 5, 4, 27), (3, 2, 3), (2, 2, 2), (1, 1, 0), (1, 2, 1), True),
    Case((2, 3, 7, 5), adaptive=(3, 4)),
    Case((2, 3, 5, 8), adaptive=(1, 1)),
    Case((2, 2, 3, 4), adaptive=(5, None)),
    Case((2, 3, 11), adaptive=(4,)),
    Case((1, 2, 5, 3, 7), adaptive=(2, 3, 5)),
    Case((0, 3, 6, 5), (3, 2), (2, 1), (1, 1)),
    Case((0, 2, 5), adaptive=(3,)),
    Case((2, 3, 4, 5), adaptive=(0, 2)),
)


def layouts(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The same values stored as they may arrive: contiguous, channels last, read backwards out of a larger array."""
    yield "contiguous", np.array(x, order="C")  # a copy: the caller may write into it before the next one
    yield "channels last", np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 77, x.dtype)[:, ::-1]
    wide[..., ::2] = x
    yield "strided", wide[..., ::2]


def crossed(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]]:
    """Pairs of ``layouts``, the two arrays never stored alike."""
    first, *rest = layouts(b)
    return zip(layouts(a), [*rest, first], strict=True)


def equal(got: np.ndarray, want: np.ndarray, what: str) -> None:
    """Same shape, dtype and values; NaN equals NaN."""
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    wrong = ~((got == want) | ((got != got) & (want != want)))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{what}: {wrong.sum()} differ, first at {at}: {got[at]!r}, expected {want[at]!r}")


def close(got: np.ndarray, want: np.ndarray, bound: np.ndarray, what: str) -> None:
    """|got - want| <= bound, with the worst element in the message."""
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    excess = np.abs(got.astype(np.float64) - want) - bound
    wrong = ~(excess <= 0)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[np.nan_to_num(excess[wrong], nan=INF).argmax()])
        raise AssertionError(f"{what}: worst at {at}: {got[at]!r}, expected {want[at]!r}")


def poisoned(y: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Buffers for ``out`` full of rubbish, in every storage."""
    rubbish = np.full(y.shape, NAN if y.dtype.kind == "f" else -999, y.dtype)
    for name, buffer in layouts(rubbish):
        yield f"out {name}", buffer


def pure(function, *arrays: np.ndarray, **kwargs):  # type: ignore[no-untyped-def]
    """Calls the function and holds it to leaving its inputs alone and returning storage of its own."""
    before = [a.tobytes() for a in arrays]
    result = function(*arrays, **kwargs)
    for a, bytes_ in zip(arrays, before, strict=True):
        assert a.tobytes() == bytes_, f"{function} changed its input"
        for r in result if isinstance(result, tuple) else (result,):
            assert not np.shares_memory(r, a), f"{function} returned storage of its input"
    return result


def written_whole(call, want, what: str) -> None:  # type: ignore[no-untyped-def]
    """``call(out=buffer)`` gives the bits of ``call()`` and returns the buffer, whatever stood in it."""
    for name, buffer in poisoned(want):
        got = call(out=buffer)
        assert got is buffer, f"{what}, {name}: out was not returned"
        equal(got, want, f"{what}, {name}")


# ---- oracles ---------------------------------------------------------------------------------------------------


def oracle_max(case: Case, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, indices = np.empty(case.y, x.dtype), np.empty(case.y, np.int64)
    for n, c in itertools.product(range(case.x[0]), range(case.x[1])):
        for p, taps in case.windows():
            best = None
            for i in taps:
                v = x[(n, c, *i)]
                if best is None or v > x[(n, c, *best)] or v != v:
                    best = i
            values[(n, c, *p)], indices[(n, c, *p)] = x[(n, c, *best)], case.flat(best)  # type: ignore[misc, arg-type]
    return values, indices


def oracle_avg(case: Case, x: np.ndarray, include: bool, override: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The average in float64 and its bound: a sum of m terms and one division err by (m + 1) half ulps of sum |x|."""
    y, bound = np.empty(case.y), np.empty(case.y)
    u = np.finfo(x.dtype).eps
    for p, taps in case.windows():
        at = (slice(None), slice(None), *zip(*taps)) if len(taps) > 0 else ()
        divisor = case.divisor(p, include) if override is None else override
        window = x[at].astype(np.float64)  # type: ignore[index]
        y[(slice(None), slice(None), *p)] = window.sum(-1) / divisor
        bound[(slice(None), slice(None), *p)] = (len(taps) + 2) * u * np.abs(window).sum(-1) / abs(divisor)
    return y, bound


def oracle_avg_grad(case: Case, g: np.ndarray, include: bool, override: int | None) -> tuple[np.ndarray, np.ndarray]:
    dx, bound, hits = np.zeros(case.x), np.zeros(case.x), 1 + 3 ** len(case.x[2:])
    for p, taps in case.windows():
        divisor = case.divisor(p, include) if override is None else override
        share = g[(slice(None), slice(None), *p)].astype(np.float64) / divisor
        for i in taps:
            dx[(slice(None), slice(None), *i)] += share
            bound[(slice(None), slice(None), *i)] += np.abs(share)
    return dx, (hits + 30) * np.finfo(g.dtype).eps * bound


def oracle_scatter(g: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], add: bool) -> np.ndarray:
    y = np.zeros((*shape[:2], prod(shape[2:])), g.dtype)
    for n, c in itertools.product(range(shape[0]), range(shape[1])):
        for i, v in zip(indices[n, c].ravel(), g[n, c].ravel(), strict=True):
            y[n, c, i] = y[n, c, i] + v if add else v
    return y.reshape(shape)


# ---- checks ----------------------------------------------------------------------------------------------------


def as_int64(indices: np.ndarray) -> np.ndarray:
    """Indices may be narrower where planes are small."""
    assert indices.dtype.kind == "i", f"indices of {indices.dtype}"
    return indices.astype(np.int64)


def check_max_pool(impl: str = "numba", dtype: str = "float32") -> None:
    """Values and indices of every case against the oracle: random, tied, all negative, with NaN and infinities."""
    x = np.array([[[[-1.0, -5, -1], [-4, -7, -2], [-1, -3, -9]]]], dtype)
    values, indices = pooling.max_pool(x, Pool.from_shape(x.shape, 2, 1, (0, 1)), algorithm=impl)
    assert values.tolist() == [[[[-1, -1, -1, -1], [-1, -1, -2, -2]]]], f"max by hand: {values.tolist()}"
    assert indices.tolist() == [[[[0, 0, 2, 2], [6, 6, 5, 5]]]], f"indices by hand: {indices.tolist()}"
    for case in CASES:
        rng = case.rng()
        normal = rng.standard_normal(case.x)
        tied = rng.integers(-2, 1, case.x).astype(float)
        odd = np.where(rng.random(case.x) < 0.25, NAN, np.where(rng.random(case.x) < 0.6, -INF, normal))
        for kind, z in (("normal", normal), ("negative", -1 - np.abs(normal)), ("tied", tied), ("NaN, -inf", odd)):
            x = z.astype(dtype)
            want = oracle_max(case, x)
            for layout, stored in layouts(x):
                got = pure(lambda a: pooling.max_pool(a, case.pool, algorithm=impl), stored)  # noqa: B023
                equal(got[0], want[0], f"max_pool values, {kind}, {layout}, {case}")
                equal(as_int64(got[1]), want[1], f"max_pool indices, {kind}, {layout}, {case}")
        for (name, v), (_, i) in zip(poisoned(want[0]), poisoned(want[1])):
            out = pooling.max_pool(x, case.pool, out=(v, i), algorithm=impl)
            assert out[0] is v and out[1] is i, f"max_pool: {name} was not returned"
            equal(v, want[0], f"max_pool values, {name}, {case}")
            equal(i, want[1], f"max_pool indices, {name}, {case}")


def check_max_values(impl: str = "numba", dtype: str = "float32") -> None:
    """The values of max_pool alone, to the sign of a zero, and again on other arrays of these sizes."""
    for case in CASES:
        rng = case.rng()
        normal = rng.standard_normal(case.x)
        odd = np.where(rng.random(case.x) < 0.25, NAN, np.where(rng.random(case.x) < 0.6, -INF, normal))
        zeros = np.where(rng.random(case.x) < 0.5, -0.0, 0.0)
        for kind, z in (("normal", normal), ("negative", -1 - np.abs(normal)), ("NaN, -inf", odd), ("zeros", zeros)):
            x = z.astype(dtype)
            want = oracle_max(case, x)[0]
            for layout, stored in layouts(x):
                got = pure(partial(pooling.max_values, pool=case.pool, algorithm=impl), stored)
                equal(got, want, f"max_values, {kind}, {layout}, {case}")
                assert np.array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0])), f"{layout}, {case}"


def check_rare_nan(impl: str = "numba", dtype: str = "float32") -> None:
    """One NaN, or infinities of both signs, in one channel of many: no other number shows that it is there."""
    case = Case((1, 67, 5, 4), (3, 2), (1, 1), (1, 1))
    rng = case.rng()
    for channel in range(case.x[1]):
        x = rng.standard_normal(case.x).astype(dtype)
        plane = x[0, channel].reshape(-1)
        at = rng.permutation(len(plane))
        plane[at[0]] = NAN
        plane[at[1:3]] = INF, -INF
        want = pooling.max_pool(x, case.pool, algorithm="spec")[0]
        for layout, stored in layouts(x):
            got = pooling.max_values(stored, case.pool, algorithm=impl)
            equal(got, want, f"max_values, {layout}, NaN at {at[0]} of channel {channel}")


def sizes_seen_before(impl: str = "numba") -> None:
    """Calls of sizes that were seen before, in another storage, dtype, with another rule, on other numbers."""
    for case, turn in itertools.product(CASES, range(2)):
        drawn = np.random.default_rng(turn).standard_normal(case.x)
        for x in (drawn.astype("float32"), drawn):
            values = pooling.max_pool(x, case.pool, algorithm=impl)[0]
            means = [
                pooling.avg_pool(x, case.pool, *r, out=np.empty(case.y, x.dtype), algorithm=impl) for r in AVERAGES
            ]
            for layout, stored in layouts(x):
                equal(pooling.max_values(stored, case.pool, algorithm=impl), values, f"again, {layout}, {case}")
                for rule, mean in zip(AVERAGES, means):
                    got = pooling.avg_pool(stored, case.pool, *rule, algorithm=impl)
                    assert got.dtype == x.dtype
                    bound = 100 * np.finfo(x.dtype).eps * (np.abs(mean) + 9)
                    close(got, mean, bound, f"again, avg_pool {rule}, {layout}, {case}")


def places_are_kept() -> None:
    """Of max-pooling where somebody asks for them, a gradient or a listener; the values are the same without."""
    import minidl
    from minidl.autograd import Tape
    from minidl.nn import functional as F

    drawn = minidl.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 8, 6)).astype("float32"))
    for pool in (lambda x, **o: F.max_pool2d(x, 2, **o), lambda x, **o: F.adaptive_max_pool2d(x, 2, **o)):
        with Tape() as tape:
            seen = pool(drawn)
        assert [call.primitive.name for call in tape.calls] == ["max_pool"], tape.calls
        x = drawn.detach().clone().requires_grad_()
        recorded, (values, indices) = pool(x), pool(drawn, return_indices=True)
        g = np.random.default_rng(5).standard_normal(recorded.shape).astype(drawn.dtype)
        recorded.backward(minidl.tensor(g))
        at = np.zeros((2, 3, 48), g.dtype)
        np.put_along_axis(at, indices.numpy().reshape(2, 3, -1), g.reshape(2, 3, -1), axis=2)
        np.testing.assert_array_equal(x.grad.numpy(), at.reshape(x.shape))
        with minidl.no_grad():
            quick = pool(x)
        assert not quick.requires_grad and recorded.requires_grad
        for other in (seen, values, recorded.detach(), pool(drawn), pool(drawn[0]).unsqueeze(0)):
            np.testing.assert_array_equal(other.numpy(), quick.numpy()[: len(other)])


def check_max_pool_grad(impl: str = "numba", dtype: str = "float64") -> None:
    """Adds where windows share a winner; adjoint of gather; random upstream gradients."""
    hand = pooling.max_pool_grad(
        np.array([[[1.0, 10, 100]]], dtype), np.array([[[2, 0, 2]]]), (1, 1, 4), algorithm=impl
    )
    equal(hand, np.array([[[10, 0, 101, 0]]], dtype), "max_pool_grad by hand")
    for case in CASES:
        rng = case.rng()
        x, u = (rng.standard_normal(case.x).astype(dtype) for _ in range(2))
        indices = oracle_max(case, x)[1]
        g = rng.integers(-9, 10, case.y).astype(dtype)  # integers: sums are exact in any order
        want = oracle_scatter(g, indices, case.x, add=True)
        for (layout, stored), (_, at) in crossed(g, indices):
            got = pure(lambda a, i: pooling.max_pool_grad(a, i, case.x, algorithm=impl), stored, at)  # noqa: B023
            equal(got, want, f"max_pool_grad, {layout}, {case}")
        for (layout, stored), (_, at) in zip(layouts(g), layouts(indices.astype(np.int32))):
            got = pure(
                lambda a, i: pooling.max_pool_grad(a, i, case.x, algorithm=impl, pool=case.pool),  # noqa: B023
                stored, at,
            )  # fmt: skip
            equal(got, want, f"max_pool_grad by windows, {layout}, {case}")
        call = lambda out: pooling.max_pool_grad(g, indices, case.x, out=out, algorithm=impl)  # noqa: B023, E731
        written_whole(call, want, f"max_pool_grad, {case}")
        read = pooling.gather(u, indices, algorithm=impl)
        left, right = float((want * u.astype(float)).sum()), float((g * read.astype(float)).sum())
        assert abs(left - right) <= 1e-4 * (1 + np.abs(g).sum()), f"<grad(g), u> = {left}, <g, gather(u)> = {right}"


def check_gather(impl: str = "numba", dtype: str = "float32") -> None:
    """Reads what the index names; with the winners of max_pool it is max_pool."""
    for case in CASES:
        x = case.rng().standard_normal(case.x).astype(dtype)
        values, indices = oracle_max(case, x)
        for (layout, stored), (_, at) in crossed(x, indices):
            got = pure(lambda a, i: pooling.gather(a, i, algorithm=impl), stored, at)
            equal(got, values, f"gather, {layout}, {case}")
        written_whole(lambda out: pooling.gather(x, indices, out=out, algorithm=impl), values, "gather")  # noqa: B023


def check_max_unpool(impl: str = "numba", dtype: str = "float32") -> None:
    """Assigns, the last of equal indices stays, and refuses indices outside the plane."""
    hand = pooling.max_unpool(np.array([[[1.0, 10, 100]]], dtype), np.array([[[2, 0, 2]]]), (4,), algorithm=impl)
    equal(hand, np.array([[[10, 0, 100, 0]]], dtype), "max_unpool by hand")
    for case in CASES:
        x = case.rng().standard_normal(case.x).astype(dtype)
        values, indices = oracle_max(case, x)
        for shape in (case.x, (*case.x[:-1], case.x[-1] + 3)):
            values = case.rng().standard_normal(values.shape).astype(dtype)
            want = oracle_scatter(values, indices, shape, add=False)
            for (layout, stored), (_, at) in crossed(values, indices):
                got = pure(lambda a, i: pooling.max_unpool(a, i, shape[2:], algorithm=impl), stored, at)  # noqa: B023
                equal(got, want, f"max_unpool to {shape}, {layout}, {case}")
            call = lambda out: pooling.max_unpool(values, indices, shape[2:], out=out, algorithm=impl)  # noqa: B023, E731
            written_whole(call, want, f"max_unpool, {case}")
    for wrong in (-1, 6):
        for call in (
            lambda i: pooling.max_unpool(np.ones(i.shape, dtype), i, (2, 3), algorithm=impl),
            lambda i: pooling.max_pool_grad(np.ones(i.shape, dtype), i, (1, 1, 2, 3), algorithm=impl),
            lambda i: pooling.gather(np.ones((1, 1, 2, 3), dtype), i, algorithm=impl),
        ):
            try:
                call(np.array([[[[0, wrong]]]]))
            except ValueError as error:
                assert f"indices[0, 0, 0, 1] = {wrong}" in str(error), f"the message does not name it: {error}"
            else:
                raise AssertionError(f"index {wrong} of a plane of 2 * 3 was accepted")


AVERAGES = ((True, None), (False, None), (True, 3), (False, -5))


def check_avg_pool(impl: str = "numba", dtype: str = "float32") -> None:
    """Every rule for the divisor against the oracle, within the rounding of one sum and one division."""
    x = np.array([[[1.0, 2, 3, 4, 6]]], dtype)
    by_hand = (
        # kernel, stride, padding, count_include_pad; the last window of kernel 4 hangs one position over the padding
        (3, 3, 1, True, [(0 + 1 + 2) / 3, (3 + 4 + 6) / 3]),
        (3, 3, 1, False, [(1 + 2) / 2, (3 + 4 + 6) / 3]),
        (4, 3, ((0, 1),), True, [(1 + 2 + 3 + 4) / 4, (4 + 6 + 0) / 3]),
        (4, 3, ((0, 1),), False, [(1 + 2 + 3 + 4) / 4, (4 + 6) / 2]),
    )
    for kernel, stride, padding, include, want in by_hand:
        pool = Pool.from_shape(x.shape, kernel, stride, padding, ceil_mode=True)
        got = pooling.avg_pool(x, pool, include, algorithm=impl)
        assert np.allclose(got, want, rtol=1e-6), f"avg_pool by hand, kernel {kernel}: {got.tolist()}, {want}"
    for case in CASES:
        x = case.rng().standard_normal(case.x).astype(dtype)
        for rule in AVERAGES:
            want, bound = oracle_avg(case, x, *rule)
            for layout, stored in layouts(x):
                got = pure(lambda a: pooling.avg_pool(a, case.pool, *rule, algorithm=impl), stored)  # noqa: B023
                assert got.dtype == x.dtype, f"avg_pool made {got.dtype} of {x.dtype}"
                close(got, want, bound, f"avg_pool {rule}, {layout}, {case}")
        plain = pooling.avg_pool(x, case.pool, algorithm=impl)
        for name, buffer in poisoned(plain):
            got = pooling.avg_pool(x, case.pool, out=buffer, algorithm=impl)
            assert got is buffer, f"avg_pool: {name} was not returned"
            want, bound = oracle_avg(case, x, True, None)
            close(got, want, bound, f"avg_pool, {name}, {case}")


def check_avg_pool_grad(impl: str = "numba", dtype: str = "float64") -> None:
    """Against the oracle, and <avg(x), g> = <x, avg_grad(g)> for every rule."""
    for case in CASES:
        rng = case.rng()
        x, g = rng.standard_normal(case.x).astype(dtype), rng.standard_normal(case.y).astype(dtype)
        for rule in AVERAGES:
            want, bound = oracle_avg_grad(case, g, *rule)
            for layout, stored in layouts(g):
                got = pure(lambda a: pooling.avg_pool_grad(a, case.pool, *rule, algorithm=impl), stored)  # noqa: B023
                assert got.dtype == g.dtype, f"avg_pool_grad made {got.dtype} of {g.dtype}"
                close(got, want, bound, f"avg_pool_grad {rule}, {layout}, {case}")
            y = pooling.avg_pool(x, case.pool, *rule, algorithm=impl).astype(float)
            left, right = float((y * g).sum()), float((x * got.astype(float)).sum())
            allowed = 100 * np.finfo(dtype).eps * float((np.abs(y * g)).sum() + np.abs(x * got).sum())
            assert abs(left - right) <= allowed, f"<avg(x), g> = {left}, <x, avg_grad(g)> = {right}, {case}"
        for name, buffer in poisoned(want.astype(dtype)):
            got = pooling.avg_pool_grad(g, case.pool, out=buffer, algorithm=impl)
            assert got is buffer, f"avg_pool_grad: {name} was not returned"
            want, bound = oracle_avg_grad(case, g, True, None)
            close(got, want, bound, f"avg_pool_grad, {name}, {case}")


def check_channel_max(impl: str = "numba", dtype: str = "float32") -> None:
    """Groups of consecutive channels, channel numbers as indices, first of ties, adjoint pair."""
    for shape, k in (
        ((2, 6, 3, 4), 2),
        ((2, 6, 3, 4), 3),
        ((3, 4, 5), 4),
        ((1, 4, 2, 3, 2), 1),
        ((0, 6, 3), 2),
        ((4, 6), 3),
    ):
        rng = np.random.default_rng(k)
        for x in (rng.standard_normal(shape).astype(dtype), rng.integers(0, 2, shape).astype(dtype)):
            want = np.empty((shape[0], shape[1] // k, *shape[2:]), dtype)
            at = np.empty(want.shape, np.int64)
            for i in np.ndindex(want.shape):
                group = [x[(i[0], i[1] * k + t, *i[2:])] for t in range(k)]
                want[i], at[i] = max(group), i[1] * k + group.index(max(group))
            for layout, stored in layouts(x):
                values, indices = pure(lambda a: pooling.channel_max(a, k, algorithm=impl), stored)  # noqa: B023
                equal(values, want, f"channel_max {k} of {shape}, {layout}")
                equal(as_int64(indices), at, f"channel_max indices {k} of {shape}, {layout}")
            g, u = rng.integers(-9, 10, want.shape).astype(dtype), rng.integers(-9, 10, shape).astype(dtype)
            dx = pooling.channel_max_grad(g, at, shape, algorithm=impl)
            read = pooling.channel_gather(u, at, algorithm=impl)
            assert dx.shape == shape and read.shape == g.shape
            assert float((dx * u).sum()) == float((g * read).sum()), "channel_max_grad and channel_gather not adjoint"
            equal(pooling.channel_gather(x, at, algorithm=impl), want, "channel_gather of the winners")


def check_lp_pool(impl: str = "spec", dtype: str = "float64") -> None:
    """The definition on absolute powers, and its gradient by the complex step; only the definition exists."""
    from minidl.kernels.spec import pooling as spec

    for case in (c for c in CASES if not c.adaptive and not c.ceil and not any(map(sum, c.pads()))):
        rng = case.rng()
        x, g = 0.1 + rng.random(case.x), rng.standard_normal(case.y)
        for p in (1, 2, 3.5):
            y = np.empty(case.y)
            for at, taps in case.windows():
                y[(..., *at)] = sum(x[(..., *i)] ** p for i in taps) ** (1 / p)
            got = spec.lp_pool(x.astype(dtype), case.pool, p)
            assert got.dtype == dtype and np.allclose(got, y, rtol=1e-5), f"lp_pool {p}, {case}"
            u = rng.standard_normal(case.x)
            slope = (spec.lp_pool(x + 1e-200j * u, case.pool, p).imag * g).sum() / 1e-200
            dot = (spec.lp_pool_grad(g, x, case.pool, p) * u).sum()
            assert np.isclose(slope, dot, rtol=1e-12, atol=1e-12), f"lp_pool_grad {p}: {dot}, {slope}, {case}"


def check_threads(impl: str = "numba", dtype: str = "float32") -> None:
    """The same bits for one thread and for as many as there are."""
    from minidl.kernels.threads import get_num_threads, set_num_threads

    def everything() -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for case in CASES[:24]:
            for _, x in layouts(case.rng().standard_normal(case.x).astype(dtype)):
                values, indices = pooling.max_pool(x, case.pool, algorithm=impl)
                found += [values, indices, pooling.avg_pool(x, case.pool, algorithm=impl)]
                found += [pooling.max_pool_grad(values, indices, case.x, algorithm=impl)]
                found += [pooling.max_pool_grad(values, indices, case.x, algorithm=impl, pool=case.pool)]
                found += [pooling.avg_pool_grad(values, case.pool, algorithm=impl)]
        return found

    before = get_num_threads()
    many = everything()
    set_num_threads(1)
    try:
        for a, b in zip(many, everything(), strict=True):
            assert a.tobytes() == b.tobytes(), f"the bits of {a.shape} depend on the number of threads"
    finally:
        set_num_threads(before)
