"""What must be true of every convolution kernel: one function per promise, for one algorithm and dtype.

The kernels are reached only through ``minidl.kernels.conv`` and the catalogue.  Two witnesses: `brute_force`
below, plain arithmetic on plain numbers that shares nothing with the package; and ``kernels/spec``, which
`spec_is_the_definition` holds against it and which `agreement` holds the algorithms against.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

import numpy as np

from minidl.kernels import catalogue, jit, threads
from minidl.kernels import conv as kernels
from minidl.kernels.cpu import col2im_tiles, direct_tiles, fft_tiles, im2col, parts, winograd_tiles
from minidl.kernels.geometry import Conv
from minidl.kernels.spec import error_bounds

from .shapes import ALL, EMPTY, FEW, Case, case

OPERANDS = {"forward": ("x", "w"), "input_grad": ("w", "g"), "weight_grad": ("x", "g")}
PAIRING = {"forward": "conv(x, w), g", "input_grad": "x, input_grad(w, g)", "weight_grad": "w, weight_grad(x, g)"}
PASSES = tuple(OPERANDS)

THREADS_MATTER: dict[tuple[str, str], str] = {}
"""(pass, algorithm) -> why its bits depend on the number of threads: the exceptions that we publish."""


# what is run ----------------------------------------------------


def problem(c: Case) -> Conv:
    return Conv.from_shapes(c.x_shape, c.w_shape, c.stride, c.padding, c.dilation, c.groups)


def refusal(algorithm: str, pass_: str, conv: Conv, dtype: str) -> str | None:
    """Why this algorithm does not do this pass of this problem, None where it does."""
    for kernel in catalogue.kernels("conv", pass_, "cpu"):
        if kernel.algorithm == algorithm:
            return kernel.obstacle(conv, np.dtype(dtype))
    return f"{algorithm} has no {pass_}"


def supported(
    algorithm: str, dtype: str, passes: tuple[str, ...], cases: tuple[Case, ...]
) -> Iterator[tuple[Case, Conv, str]]:
    """(case, conv, pass) that the algorithm does.  None at all would be an empty check: a failure."""
    for pass_ in passes:
        able = [(c, conv, pass_) for c in cases if not refusal(algorithm, pass_, conv := problem(c), dtype)]
        assert able, f"{algorithm} does the {pass_} in {dtype} of none of {len(cases)} problems"
        yield from able


def call(pass_: str, algorithm: str, conv: Conv, *arrays: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    result = getattr(kernels, pass_)(*arrays, conv, algorithm=algorithm, out=out)
    assert isinstance(result, np.ndarray), f"{algorithm} {pass_} returned {type(result).__name__}"
    return result


def operands(c: Case, pass_: str, dtype: str) -> tuple[np.ndarray, ...]:
    x, w, g = c.arrays(dtype)
    named = {"x": x, "w": w, "g": g}
    return tuple(named[n] for n in OPERANDS[pass_])


def result_shape(c: Case, pass_: str) -> tuple[int, ...]:
    return {"forward": c.y_shape, "input_grad": c.x_shape, "weight_grad": c.w_shape}[pass_]


# the oracle ----------------------------------------------------


def brute_force(c: Case, pass_: str, *arrays: np.ndarray) -> np.ndarray:
    """One pass by walking over every (window, tap) pair; plain numbers only, any dtype."""
    result = np.zeros(result_shape(c, pass_), np.result_type(*arrays))
    per_in, per_out = c.in_channels // c.groups, c.out_channels // c.groups
    for window in itertools.product(*map(range, c.out)):
        for tap in itertools.product(*map(range, c.kernel)):
            at = tuple(
                p * s + t * d - low
                for p, s, t, d, (low, _) in zip(window, c.stride, tap, c.dilation, c.padding, strict=True)
            )
            if any(i < 0 or i >= n for i, n in zip(at, c.size, strict=True)):
                continue  # padding
            for group in range(c.groups):
                ci = slice(group * per_in, (group + 1) * per_in)
                ko = slice(group * per_out, (group + 1) * per_out)
                y, x, w = (slice(None), ko, *window), (slice(None), ci, *at), (ko, slice(None), *tap)
                first, second = arrays
                if pass_ == "forward":
                    result[y] += first[x] @ second[w].T  # (N, C/G) (C/G, K/G)
                elif pass_ == "input_grad":
                    result[x] += second[y] @ first[w]  # (N, K/G) (K/G, C/G)
                else:
                    result[w] += second[y].T @ first[x]  # (K/G, N) (N, C/G)
    return result


@cache
def truth(c: Case, pass_: str, dtype: str) -> np.ndarray:
    """The brute-force result in float64 of the operands as `dtype` has them."""
    return brute_force(c, pass_, *(a.astype("float64") for a in operands(c, pass_, dtype)))


@cache
def magnitude(c: Case, pass_: str, dtype: str) -> np.ndarray:
    """The same sums over absolute values: what rounding errors are proportional to."""
    return brute_force(c, pass_, *(np.abs(a).astype("float64") for a in operands(c, pass_, dtype)))


# error bounds ----------------------------------------------------


def terms(c: Case, pass_: str) -> int:
    """The most products that one element of the result can be the sum of."""
    taps = math.prod(c.kernel)
    if pass_ == "forward":
        return c.in_channels // c.groups * taps
    if pass_ == "input_grad":
        return c.out_channels // c.groups * taps
    return c.batch * math.prod(c.out)


def gamma(n: int, dtype: str) -> float:
    """n u / (1 - n u), u the unit roundoff (Higham 2002, "Accuracy and Stability", section 3.1)."""
    nu = n * float(np.finfo(dtype).eps) / 2
    return nu / (1 - nu)


@cache
def error_bound(c: Case, pass_: str, algorithm: str, dtype: str) -> np.ndarray:
    """How far from the float64 spec a right result may be, per element.

    A sum of n products in any order errs by at most gamma_n sum|x||w| (Higham 2002, equation 3.5); the
    float64 spec errs by the same with its own roundoff.  The bounds of transforms are derived in
    ``kernels/spec/error_bounds.py``; that of FFT is on a 2-norm, which no element exceeds.
    """
    n, conv = terms(c, pass_), problem(c)
    reference = gamma(n, "float64") * magnitude(c, pass_, dtype)
    if algorithm == "winograd":
        options = winograd_tiles.options(pass_, conv)
    elif algorithm == "fft":
        options = fft_tiles.options(pass_, conv, np.dtype(dtype).itemsize) if jit.HAVE_NUMBA else {}
    else:
        return gamma(n, dtype) * magnitude(c, pass_, dtype) + reference
    a, b = operands(c, pass_, dtype)
    return np.asarray(error_bounds.error_bound(algorithm, pass_, a, b, conv, dtype, **options), float) + reference


# comparing ----------------------------------------------------


def assert_within(got: np.ndarray, want: np.ndarray, bound: np.ndarray | float, what: object) -> float:
    """|got - want| <= bound everywhere, else AssertionError with the worst element.  Returns error/bound."""
    assert got.shape == want.shape, f"{what}: shape {got.shape}, should be {want.shape}"
    if not got.size:
        return 0.0
    bound = np.broadcast_to(bound, got.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(got - want)
        ratio = np.where(error == 0, 0.0, error / bound)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(ratio), ratio.shape))
    if ratio[worst] > 1:
        raise AssertionError(
            f"{what}: element {worst} is {got[worst]}, should be {want[worst]}; "
            f"off by {error[worst]:.3g}, {ratio[worst]:.3g} times its bound; "
            f"{int((ratio > 1).sum())} of {ratio.size} elements are wrong"
        )
    return float(ratio[worst])


def assert_same_bits(got: np.ndarray, want: np.ndarray, what: object) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype, (
        f"{what}: {got.dtype} {got.shape} and {want.dtype} {want.shape}"
    )
    differ = np.argwhere(~((got == want) | (np.isnan(got) & np.isnan(want))))
    if len(differ):
        at = tuple(int(i) for i in differ[0])
        raise AssertionError(
            f"{what}: {len(differ)} of {got.size} elements differ, first {at}: {got[at]} and {want[at]}"
        )


# (a) agreement with the spec ----------------------------------------------------


@cache
def specified(c: Case, pass_: str, dtype: str) -> np.ndarray:
    """What the float64 spec says.  Kept, so that during a mutation run it is what the true spec said."""
    return call(pass_, "spec", problem(c), *(a.astype("float64") for a in operands(c, pass_, dtype)))


def agreement(algorithm: str, dtype: str, passes: tuple[str, ...] = PASSES, cases: tuple[Case, ...] = ALL) -> float:
    """Each pass is the float64 spec to within its derived bound.  Returns the worst measured/bound."""
    worst = 0.0
    for c, conv, pass_ in supported(algorithm, dtype, passes, cases):
        arrays = operands(c, pass_, dtype)
        got = call(pass_, algorithm, conv, *arrays)
        assert got.dtype == dtype, f"{algorithm} {pass_} of {dtype} operands is {got.dtype}"
        want = specified(c, pass_, dtype)
        bound = error_bound(c, pass_, algorithm, dtype)
        worst = max(worst, assert_within(got, want, bound, f"{algorithm} {pass_} {dtype}, {c}"))
    return worst


# (b) the trilinear identity ----------------------------------------------------


def trilinear(algorithm: str, dtype: str) -> None:
    """<conv(x, w), g> = <x, input_grad(w, g)> = <w, weight_grad(x, g)> with a random g: three kernels, one number.

    The spec stands in for a pass that the algorithm does not have.
    """
    compared = 0
    for c in ALL:
        conv = problem(c)
        by = {p: "spec" if refusal(algorithm, p, conv, dtype) else algorithm for p in PASSES}
        if set(by.values()) == {"spec"} != {algorithm}:
            continue
        compared += 1
        x, w, g = c.arrays(dtype)
        third = {"forward": g, "input_grad": x, "weight_grad": w}
        scalars, slack = {}, {}
        total = float(magnitude(c, "weight_grad", dtype).ravel() @ np.abs(w).astype("float64").ravel())
        for p in PASSES:
            other = third[p].astype("float64")
            result = call(p, by[p], conv, *operands(c, p, dtype)).astype("float64")
            scalars[p] = float(result.ravel() @ other.ravel())
            slack[p] = float(error_bound(c, p, by[p], dtype).ravel() @ np.abs(other).ravel())
            slack[p] += gamma(other.size, "float64") * total
        for p, q in itertools.pairwise(PASSES):
            gap, allowed = abs(scalars[p] - scalars[q]), slack[p] + slack[q]
            assert gap <= allowed, (
                f"{algorithm} {dtype}, {c}: <{PAIRING[p]}> = {scalars[p]!r} but "
                f"<{PAIRING[q]}> = {scalars[q]!r}; they differ by {gap:.3g}, allowed {allowed:.3g}"
            )
    assert compared, f"{algorithm} does none of {len(ALL)} problems"


def _limits() -> tuple[list[tuple[ModuleType, str, object]], list[Callable[..., object]]]:
    """Limits of how much a kernel does at once with values that cut even small problems into many pieces, and the
    caches that hold what follows from them."""
    small: list[tuple[ModuleType, str, object]] = [
        (im2col, "CHUNK_BYTES", 1 << 11),
        (fft_tiles, "WORKSPACE", 5 << 17),
        (col2im_tiles, "CHUNK_PIXELS", 5),
        (col2im_tiles, "PIECES", 7),
        (col2im_tiles, "HALOS", 1),
        (direct_tiles, "TILE", 24),
        (direct_tiles, "FILTERS", 3),
        (direct_tiles, "ITEMS", 2),
        (parts, "PIXELS", 11),
        (parts, "SHORT", 44),
        (parts, "CHANNEL_PIXELS", 11),
        (parts, "CHANNEL_PARTS", 3),
        (winograd_tiles, "BLOCK_TILES", (1, 3)),
        (winograd_tiles, "BAND", 16),
        (winograd_tiles, "PIECES", 3),
        (winograd_tiles, "ALONE", 0),
        (winograd_tiles, "WIDE", 40),
        (winograd_tiles, "PART_TILES", 20),
    ]
    caches: list[Callable[..., object]] = [fft_tiles.tiling, direct_tiles.tiling, winograd_tiles.tiling]
    caches += [catalogue._choose, col2im_tiles.tiling, col2im_tiles.pays]
    if jit.HAVE_NUMBA:
        from minidl.kernels.cpu import (
            depthwise,
            depthwise_long,
            direct,
            fft,
            fft_products,
            gemm,
            nhwc,
            products,
            sums,
            winograd,
            winograd_weight_grad,
        )

        small += [(products, "DEPTH_BYTES", 512), (products, "CHUNK_PIXELS", 12), (products, "PIECES", 2)]
        small += [(sums, "CHUNK_PIXELS", (3, 5)), (sums, "PIECES", 7)]
        small += [(sums, "COPY_COLUMNS", 1), (sums, "ALIASED", 1), (sums, "BAND", 32), (sums, "BLOCK", 1)]
        small += [(sums, "SPAN", 24)]
        small += [(depthwise, "PART_ROWS", 1), (depthwise, "RUN_PIXELS", 3)]
        small += [(depthwise, "STREAM_BYTES", 0), (depthwise, "LONG_BYTES", 1), (depthwise, "CLASSES", 1)]
        small += [(depthwise, "PIECES", 3), (depthwise, "WEIGHT_BYTES", 0), (depthwise_long, "ROWS_BYTES", 0)]
        caches += [products.cutting, sums.cutting, direct.forward, direct.input_grad, direct.weight_grad]
        caches += [nhwc.forward, nhwc.input_grad, nhwc.weight_grad]
        small += [(winograd_weight_grad, "NEAR_SUMS", 0)]
        caches += [winograd._correlate_group, winograd.weight_grad, gemm._product, fft._correlate_tiles, fft._sum_tiles]
        small += [(fft_products, "CHUNK_TILES", 3)]
    return small, caches


@contextmanager
def small_workspaces() -> Iterator[None]:
    small, caches = _limits()
    kept = [getattr(module, name) for module, name, _ in small]
    try:
        for module, name, value in small:
            setattr(module, name, value)
        for cached in caches:
            cached.cache_clear()  # type: ignore[attr-defined]
        yield
    finally:
        for (module, name, _), value in zip(small, kept, strict=True):
            setattr(module, name, value)
        for cached in caches:
            cached.cache_clear()  # type: ignore[attr-defined]


def in_pieces(algorithm: str, dtype: str, passes: tuple[str, ...] = PASSES, cases: tuple[Case, ...] = FEW) -> None:
    """Agreement where images, rows, tiles and channels do not fit the workspace at once."""
    with small_workspaces():
        for c, conv, pass_ in supported(algorithm, dtype, passes, cases):
            got = call(pass_, algorithm, conv, *operands(c, pass_, dtype))
            bound = error_bound.__wrapped__(c, pass_, algorithm, dtype)  # this cut has its own
            assert_within(got, truth(c, pass_, dtype), bound, f"{algorithm} {pass_} {dtype} in pieces, {c}")


# storage orders ----------------------------------------------------


def channels_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def every_other(array: np.ndarray) -> np.ndarray:
    """A view of every second element of a larger buffer on each axis; NaN lies between."""
    big = np.full([2 * n for n in array.shape], np.nan, array.dtype)
    view = big[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def part_of_images(array: np.ndarray) -> np.ndarray:
    """Channels-last, without the ends of larger images' rows, and of their columns; NaN lies there."""
    big = channels_last(np.pad(array, ((0, 0), (0, 0), *((1, 2),) * (array.ndim - 2)), constant_values=np.nan))
    return big[(..., *(slice(1, -2),) * (array.ndim - 2))]


def backwards(array: np.ndarray) -> np.ndarray:
    flip = (slice(None, None, -1),) * array.ndim
    return array[flip].copy()[flip]


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "channels last": channels_last,
    "part of images, channels last": part_of_images,
    "every other element": every_other,
    "negative strides": backwards,
    "Fortran order": np.asfortranarray,
    "read-only": read_only,
}

OUT_LAYOUTS = {name: LAYOUTS[name] for name in ("channels last", "every other element", "Fortran order")}


# (c) memory manners ----------------------------------------------------

GUARD = 64
"""Elements kept on both sides of an array to notice who reads or writes beyond it."""


def fenced(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A contiguous copy between NaNs, and the whole buffer: a read beyond the array poisons the result."""
    buffer = np.full(array.size + 2 * GUARD, np.nan, array.dtype)
    inside = buffer[GUARD : GUARD + array.size].reshape(array.shape)
    inside[...] = array
    return inside, buffer


def manners(algorithm: str, dtype: str, passes: tuple[str, ...] = PASSES, cases: tuple[Case, ...] = FEW) -> None:
    """Operands stay as they were, results lie elsewhere, a NaN-poisoned `out` is written whole, nothing beyond."""
    for c, conv, pass_ in supported(algorithm, dtype, passes, cases):
        what = f"{algorithm} {pass_} {dtype}, {c}"
        given = operands(c, pass_, dtype)
        inputs, buffers = zip(*(fenced(a) for a in given), strict=True)
        fresh = call(pass_, algorithm, conv, *inputs)
        poisoned, around = fenced(np.full(result_shape(c, pass_), np.nan, dtype))
        returned = call(pass_, algorithm, conv, *inputs, out=poisoned)

        for name, array, before in zip(OPERANDS[pass_], inputs, given, strict=True):
            assert_same_bits(array, before, f"{what} changes its operand {name}: now and before")
        for name, buffer in zip(OPERANDS[pass_], buffers, strict=True):
            assert not np.shares_memory(fresh, buffer), f"{what}: the result is a view of {name}"
        assert returned is poisoned, f"{what}: out= was given, something else came back"
        bound = error_bound(c, pass_, algorithm, dtype)
        assert_within(fresh, truth(c, pass_, dtype), bound, f"{what}, operands between NaNs")
        assert_within(poisoned, truth(c, pass_, dtype), bound, f"{what}, into a NaN-filled out=")
        for name, stored in OUT_LAYOUTS.items():
            into = stored(np.full(result_shape(c, pass_), np.nan, dtype))
            call(pass_, algorithm, conv, *inputs, out=into)
            assert_within(into, truth(c, pass_, dtype), bound, f"{what}, into an out= in {name}")
        beyond = np.concatenate([around[:GUARD], around[-GUARD:]])
        assert np.isnan(beyond).all(), f"{what} writes beyond its out="
        for name, buffer in zip(OPERANDS[pass_], buffers, strict=True):
            edges = np.concatenate([buffer[:GUARD], buffer[-GUARD:]])
            assert np.isnan(edges).all(), f"{what} writes beyond its operand {name}"


# (d) storage orders ----------------------------------------------------


def layouts(algorithm: str, dtype: str, passes: tuple[str, ...] = PASSES, cases: tuple[Case, ...] = FEW) -> None:
    """Operands stored in any order, both or only one of them, give what contiguous ones give."""
    for c, conv, pass_ in supported(algorithm, dtype, passes, cases):
        given = operands(c, pass_, dtype)
        bound = error_bound(c, pass_, algorithm, dtype)
        for name, stored in LAYOUTS.items():
            # to a compiler read-only is another type: one combination shows whether a kernel takes it
            for odd in ((0, 1),) if stored is read_only else ((0, 1), (0,), (1,)):
                arrays = [stored(a) if i in odd else a for i, a in enumerate(given)]
                which = " and ".join(OPERANDS[pass_][i] for i in odd)
                what = f"{algorithm} {pass_} {dtype}, {which} in {name}, {c}"
                assert_within(call(pass_, algorithm, conv, *arrays), truth(c, pass_, dtype), bound, what)


# (e) same bits ----------------------------------------------------


def same_bits(algorithm: str, dtype: str, passes: tuple[str, ...] = PASSES, cases: tuple[Case, ...] = FEW) -> None:
    """Twice the same call, and with 1 and 2 threads: the same bits.  THREADS_MATTER holds the exceptions."""
    before = threads.get_num_threads()
    try:
        counts = {1, min(2, threads.available_cpus()), before}
        for c, conv, pass_ in supported(algorithm, dtype, passes, cases):
            arrays = operands(c, pass_, dtype)
            first = call(pass_, algorithm, conv, *arrays)
            what = f"{algorithm} {pass_} {dtype}, {c}"
            assert_same_bits(call(pass_, algorithm, conv, *arrays), first, f"{what}: second run and first")
            if (pass_, algorithm) in THREADS_MATTER:
                continue
            for n in sorted(counts):
                threads.set_num_threads(n)
                again = call(pass_, algorithm, conv, *arrays)
                assert_same_bits(again, first, f"{what}: {n} threads and {before}")
            threads.set_num_threads(before)
    finally:
        threads.set_num_threads(before)


# (f) nothing to do ----------------------------------------------------


def empty(algorithm: str, dtype: str, passes: tuple[str, ...] = PASSES) -> None:
    """Empty batch, no output channels: right shapes and dtype, and zeros in what is left, `out` included."""
    for c, conv, pass_ in supported(algorithm, dtype, passes, EMPTY):
        shape = result_shape(c, pass_)
        for out in (None, np.full(shape, np.nan, dtype)):
            got = call(pass_, algorithm, conv, *operands(c, pass_, dtype), out=out)
            assert got.dtype == dtype, f"{algorithm} {pass_} of {dtype} operands is {got.dtype}, {c}"
            assert_within(got, np.zeros(shape), 0.0, f"{algorithm} {pass_} {dtype}, {c}")


# (g) the spec itself ----------------------------------------------------


def spec_is_the_definition(dtype: str = "float64", cases: tuple[Case, ...] = ALL) -> None:
    """The spec against the brute-force walk over windows and taps, to the roundings of both."""
    for c, conv, pass_ in supported("spec", dtype, PASSES, cases):
        got = call(pass_, "spec", conv, *operands(c, pass_, dtype))
        bound = error_bound(c, pass_, "spec", dtype)
        assert_within(got, truth(c, pass_, dtype), bound, f"spec {pass_} {dtype}, {c}")


def im2col_twin(dtype: str = "float64", cases: tuple[Case, ...] = ALL) -> None:
    """The readable im2col: its results are the spec's, and its columns hold what the windows read."""
    from minidl.kernels.spec import im2col as twin

    for c in cases:
        conv = problem(c)
        x, w, g = c.arrays(dtype)
        forward = twin.forward_steps(x, w, conv)
        results = {
            "forward": forward.y,
            "input_grad": twin.input_grad_steps(w, g, conv).dx,
            "weight_grad": twin.weight_grad_steps(x, g, conv).dw,
        }
        for pass_, got in results.items():
            bound = error_bound(c, pass_, "im2col", dtype)
            assert_within(got, truth(c, pass_, dtype), bound, f"readable im2col, {pass_} {dtype}, {c}")
        matrix = np.moveaxis(forward.columns, -1, 2)  # (N, G, P*Q, C/G*R*S)
        again = np.einsum("ngpm,gkm->ngkp", matrix, w.reshape(c.groups, c.out_channels // c.groups, -1))
        bound = error_bound(c, "forward", "im2col", dtype)
        assert_within(again.reshape(c.y_shape), truth(c, "forward", dtype), bound, f"columns, {dtype}, {c}")


def fft_twin(dtype: str = "float64", cases: tuple[Case, ...] = FEW) -> None:
    """The readable FFT: its results are the spec's, within the bound of one transform over the whole image."""
    from minidl.kernels.spec import fft as twin

    for c in cases:
        conv = problem(c)
        for pass_ in PASSES:
            a, b = operands(c, pass_, dtype)
            got = getattr(twin, pass_)(a, b, conv).result
            bound = error_bounds.fft_bound(pass_, a, b, conv, dtype).astype(float)
            bound = bound + gamma(terms(c, pass_), "float64") * magnitude(c, pass_, dtype)
            assert_within(got, truth(c, pass_, dtype), bound, f"readable FFT, {pass_} {dtype}, {c}")


def winograd_twin(dtype: str = "float64", cases: tuple[Case, ...] = FEW) -> None:
    """The readable Winograd, for kernels of any size up to 5, within the bound of the points that it takes."""
    from minidl.kernels.spec import winograd as twin

    cases = *cases, case((1, 2, 7, 10), (3, 2, 3, 2), 1, ((2, 1), (1, 0)), (2, 3), story="phases along both axes")
    able = [c for c in cases if not twin.unsupported(problem(c)) and max(c.kernel) <= 5]
    for c, pass_, m in itertools.product(able, PASSES, (2, 4)):
        conv, (a, b) = problem(c), operands(c, pass_, dtype)
        bound = error_bounds.winograd_bound(pass_, a, b, conv, dtype, m).astype(float)
        bound = bound + gamma(terms(c, pass_), "float64") * magnitude(c, pass_, dtype)
        got = getattr(twin, pass_)(a, b, conv, m).Y
        assert_within(got, truth(c, pass_, dtype), bound, f"readable Winograd, m = {m}, {pass_} {dtype}, {c}")


def _rows(text: str) -> np.ndarray:
    return np.array([[float(v) for v in row.split()] for row in text.strip().splitlines()])


EXACT_IN_INTEGERS = {"fft": 1e-3, "winograd": 1e-3}
"""All others add and multiply small integers, which no floating-point number gets wrong."""

BY_HAND = (case((1, 1, 3, 4), (1, 1, 3, 3), 1, ((0, 1), (0, 1))), case((1, 1, 6), (1, 1, 2), 3, ((1, 0),), 2))


def worked_by_hand(algorithm: str = "spec", dtype: str = "float64") -> None:
    """Numbers small enough to be worked out on paper, every one an exact integer."""
    x = _rows("""
        1 2 3 4
        5 6 7 8
        9 1 2 3
    """)
    w = _rows("""
        1 0 0
        2 -1 0
        0 0 0
    """)
    # y[p, q] = x[p, q] + 2 x[p+1, q] - x[p+1, q+1]
    y = _rows("""
        5 7 9
        22 6 8
    """)
    g = _rows("""
        1 0 2
        0 -1 0
    """)
    # dx[i, j] = g[i, j] + 2 g[i-1, j] - g[i-1, j-1], g = 0 outside
    dx = _rows("""
        1 0 2 0
        2 -2 4 -2
        0 -2 1 0
    """)
    # dw[r, s] = 1 x[r, s] + 2 x[r, s+2] - 1 x[r+1, s+1], x = 0 outside
    dw = _rows("""
        1 3 -5
        18 20 4
        13 7 2
    """)
    _exactly(algorithm, dtype, BY_HAND[0], x, w, g, y, dx, dw)

    if refusal(algorithm, "forward", problem(BY_HAND[1]), dtype):
        return
    # 1-d, stride 3, padding 1 below only, dilation 2; the windows read (-1, 1), (2, 4) and leave 0, 3, 5
    _exactly(
        algorithm,
        dtype,
        BY_HAND[1],
        np.array([1.0, 2, 3, 4, 5, 6]),
        np.array([10.0, 1]),
        np.array([1.0, 100]),
        np.array([2.0, 35]),
        np.array([0.0, 1, 1000, 0, 100, 0]),
        np.array([300.0, 502]),
    )


def _exactly(
    algorithm: str,
    dtype: str,
    c: Case,
    x: np.ndarray,
    w: np.ndarray,
    g: np.ndarray,
    y: np.ndarray,
    dx: np.ndarray,
    dw: np.ndarray,
) -> None:
    conv = problem(c)
    if refusal(algorithm, "forward", conv, dtype):
        return
    named = {"x": x.reshape(c.x_shape), "w": w.reshape(c.w_shape), "g": g.reshape(c.y_shape)}
    for pass_, want in zip(PASSES, (y, dx, dw), strict=True):
        got = call(pass_, algorithm, conv, *(named[n].astype(dtype) for n in OPERANDS[pass_]))
        what = f"{algorithm} {pass_} {dtype}, worked by hand: {c}"
        assert_within(got, want.reshape(result_shape(c, pass_)), EXACT_IN_INTEGERS.get(algorithm, 0.0), what)


def complex_step(cases: tuple[Case, ...] = FEW) -> None:
    """The spec's gradients are the derivatives of its forward: Im f(x + ih)/h, h = 1e-200, no cancellation.

    Source: Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions".
    """
    h, rng = 1e-200, np.random.default_rng(5)
    for c in cases:
        conv = problem(c)
        x, w, g = c.arrays("float64")
        for pass_, moved, gradient in (
            ("input_grad", x, call("input_grad", "spec", conv, w, g)),
            ("weight_grad", w, call("weight_grad", "spec", conv, x, g)),
        ):
            for _ in range(3):
                direction = rng.standard_normal(moved.shape)
                stepped = moved + 1j * h * direction
                pair = (stepped, w.astype(complex)) if pass_ == "input_grad" else (x.astype(complex), stepped)
                slope = float((call("forward", "spec", conv, *pair).imag / h * g).sum())
                predicted = float((gradient * direction).sum())
                size = float((magnitude(c, pass_, "float64") * np.abs(direction)).sum())
                roundings = terms(c, "forward") + terms(c, pass_) + moved.size + g.size
                allowed = 4 * gamma(roundings, "float64") * size
                assert abs(slope - predicted) <= allowed, (
                    f"spec {pass_}, {c}: along a random direction the forward pass climbs by {slope!r}, "
                    f"the gradient says {predicted!r}"
                )
