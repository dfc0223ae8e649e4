"""Checks of resizing: plain loops, the adjoint identity, unmutated inputs."""

from __future__ import annotations

import itertools
from math import floor

import numpy as np

from minidl.kernels.resize import Resize, resize, resize_grad

CASES: tuple[tuple[tuple[int, ...], dict], ...] = (
    ((2, 3, 5), {"size": 8}),
    ((2, 3, 9), {"size": 4}),
    ((2, 3, 5, 4), {"size": (7, 9)}),
    ((2, 3, 6, 7), {"size": (4, 3)}),
    ((2, 3, 3, 5), {"scale_factor": 2}),
    ((2, 3, 5, 7), {"scale_factor": (1.7, 0.6)}),
    ((1, 2, 7, 3), {"scale_factor": 7 / 3}),
    ((2, 2, 4, 5), {"size": (1, 5)}),
    ((2, 2, 1, 3), {"size": (4, 1)}),
    ((0, 2, 4, 5), {"size": (3, 6)}),
    ((2, 1, 2, 3, 4), {"size": (3, 2, 6)}),
    ((1, 2, 3, 4, 2), {"scale_factor": (2, 0.5, 1.5)}),
)
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def problems():  # type: ignore[no-untyped-def]
    """(shape, arguments) for each case in every mode, corners aligned or not, with and without antialiasing."""
    for shape, how in CASES:
        yield shape, {**how, "mode": "nearest"}
        yield shape, {**how, "mode": "area"}
        for align in (False, True):
            yield shape, {**how, "mode": MODES[len(shape) - 2], "align_corners": align}
            if len(shape) == 4:
                yield shape, {**how, "mode": "bicubic", "align_corners": align}
                for mode in ("bilinear", "bicubic"):
                    yield shape, {**how, "mode": mode, "align_corners": align, "antialias": True}


def keys(x: float, a: float) -> float:
    """The piecewise cubic of Keys 1981, equation 4, written out."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def weights(
    size: int, p: int, out: int, factor: float | None, mode: str, align: bool, antialias: bool = False
) -> list[float]:
    """What output position p takes of each of ``size`` input positions."""
    scale = size / out if factor is None else 1 / factor
    if mode == "area":
        inside = [size * p < (i + 1) * out and i * out < (p + 1) * size for i in range(size)]
        return [i / sum(inside) for i in inside]
    if antialias:  # the kernel is stretched where the image shrinks, and what lies outside counts for nothing
        if align:
            scale = (size - 1) / (out - 1) if out > 1 else 0.0
        wide = max(scale, 1.0)
        away = [(i + 0.5 - scale * (p + 0.5)) / wide for i in range(size)]
        drawn = [max(0.0, 1 - abs(x)) if mode == "bilinear" else keys(x, -0.5) for x in away]
        return [w / sum(drawn) for w in drawn]
    if mode == "bicubic":
        where = (p * (size - 1) / (out - 1) if out > 1 else 0.0) if align else (p + 0.5) * scale - 0.5
        result = [0.0] * size
        for j in range(-3, size + 3):  # positions outside are those of the border
            result[min(max(j, 0), size - 1)] += keys(where - j, -0.75)
        return result
    if mode == "nearest":
        return [float(i == min(size - 1, floor(p * scale + 1e-9))) for i in range(size)]
    where = (p * (size - 1) / max(out - 1, 1)) if align else (p + 0.5) * scale - 0.5
    where = min(max(where, 0), size - 1)
    return [max(0.0, 1 - abs(where - i)) for i in range(size)]


def oracle(x: np.ndarray, how: dict) -> np.ndarray:
    """Every output element as the weighted sum over the whole input."""
    ndim = x.ndim - 2
    each = lambda v: v if isinstance(v, tuple) else (v,) * ndim  # noqa: E731
    factors = each(how.get("scale_factor"))
    out = each(how["size"]) if "size" in how else tuple(floor(s * f) for s, f in zip(x.shape[2:], factors))
    y = np.zeros((*x.shape[:2], *out))
    for p in itertools.product(*map(range, out)):
        full = np.ones(())
        for a in range(ndim):
            options = how.get("align_corners", False), how.get("antialias", False)
            w = weights(x.shape[2 + a], p[a], out[a], factors[a], how["mode"], *options)
            full = full[..., None] * np.array(w)
        y[(..., *p)] = (x * full).sum(tuple(range(2, x.ndim)))
    return y


def check_resize(dtype: str = "float64", impl: str = "spec") -> None:
    """Against the oracle; <resize(x), g> = <x, resize_grad(g)>; dtype kept, inputs kept, storage its own."""
    eps = 40 * np.finfo(dtype).eps
    for shape, how in problems():
        problem, rng = Resize.from_shape(shape, **how), np.random.default_rng(sum(shape))
        x = rng.standard_normal(shape).astype(dtype)
        for stored in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1), x.repeat(2, -1)[..., ::2]):
            before = stored.tobytes()
            y = resize(stored, problem, algorithm=impl)
            assert y.dtype == dtype, f"resize made {y.dtype} of {dtype}"
            assert stored.tobytes() == before and not np.shares_memory(y, stored), "resize touched its input"
            want = oracle(x.astype(float), how)
            assert y.shape == want.shape, f"resize gave {y.shape}, expected {want.shape}: {shape}, {how}"
            worst = np.abs(y - want).max(initial=0)
            assert worst <= eps * (1 + np.abs(x).max(initial=0)), f"resize is off by {worst}: {shape}, {how}"
        g = rng.standard_normal(y.shape).astype(dtype)
        before = g.tobytes()
        dx = resize_grad(g, problem, algorithm=impl)
        assert dx.shape == shape and dx.dtype == dtype and g.tobytes() == before
        left, right = float((y * g).sum()), float((x * dx).sum())
        allowed = eps * (1 + float(np.abs(y * g).sum()))
        assert abs(left - right) <= allowed, f"<resize(x), g> = {left}, <x, resize_grad(g)> = {right}: {shape}, {how}"


def check_recomputed() -> None:
    """``recompute_scale_factor`` is the same as asking for the size that comes out."""
    x = np.random.default_rng(4).standard_normal((1, 2, 5, 7))
    factors = Resize.from_shape(x.shape, None, (1.7, 0.6), "bilinear", recompute_scale_factor=True)
    sizes = Resize.from_shape(x.shape, factors.y_shape[2:], None, "bilinear")
    assert factors == sizes and (resize(x, factors) == resize(x, sizes)).all()
    assert factors != Resize.from_shape(x.shape, None, (1.7, 0.6), "bilinear")
