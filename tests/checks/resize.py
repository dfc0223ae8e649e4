"""Checks of resizing: plain loops, the adjoint identity, unmutated inputs."""

from __future__ import annotations

import itertools
from math import floor

import numpy as np

from minidl.kernels.spec.resize import Resize, resize, resize_grad

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
    """(shape, arguments) for each case, nearest and linear, corners aligned or not."""
    for shape, how in CASES:
        yield shape, {**how, "mode": "nearest"}
        for align in (False, True):
            yield shape, {**how, "mode": MODES[len(shape) - 2], "align_corners": align}


def weights(size: int, p: int, out: int, factor: float | None, mode: str, align: bool) -> list[float]:
    """What output position p takes of each of ``size`` input positions: a tent of half width 1, or one position."""
    scale = size / out if factor is None else 1 / factor
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
            w = weights(x.shape[2 + a], p[a], out[a], factors[a], how["mode"], how.get("align_corners", False))
            full = full[..., None] * np.array(w)
        y[(..., *p)] = (x * full).sum(tuple(range(2, x.ndim)))
    return y


def check_resize(dtype: str = "float64") -> None:
    """Against the oracle; <resize(x), g> = <x, resize_grad(g)>; dtype kept, inputs kept, storage its own."""
    eps = 40 * np.finfo(dtype).eps
    for shape, how in problems():
        problem, rng = Resize.from_shape(shape, **how), np.random.default_rng(sum(shape))
        x = rng.standard_normal(shape).astype(dtype)
        for stored in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1), x.repeat(2, -1)[..., ::2]):
            before = stored.tobytes()
            y = resize(stored, problem)
            assert y.dtype == dtype, f"resize made {y.dtype} of {dtype}"
            assert stored.tobytes() == before and not np.shares_memory(y, stored), "resize touched its input"
            want = oracle(x.astype(float), how)
            assert y.shape == want.shape, f"resize gave {y.shape}, expected {want.shape}: {shape}, {how}"
            worst = np.abs(y - want).max(initial=0)
            assert worst <= eps * (1 + np.abs(x).max(initial=0)), f"resize is off by {worst}: {shape}, {how}"
        g = rng.standard_normal(y.shape).astype(dtype)
        before = g.tobytes()
        dx = resize_grad(g, problem)
        assert dx.shape == shape and dx.dtype == dtype and g.tobytes() == before
        left, right = float((y * g).sum()), float((x * dx).sum())
        allowed = eps * (1 + float(np.abs(y * g).sum()))
        assert abs(left - right) <= allowed, f"<resize(x), g> = {left}, <x, resize_grad(g)> = {right}: {shape}, {how}"
