"""Checks of the error function against the C library's, which Python's ``math`` calls."""

from __future__ import annotations

import math

import numpy as np

import minidl
from minidl.ops import _erf

SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.2e-308, 1e-300, 1e300, -1e300, 6.0, 5.95)


def points() -> np.ndarray:
    """Dense where the formula changes, all magnitudes from the smallest number to where the result is 1."""
    rng = np.random.default_rng(0)
    tiny = 10.0 ** rng.uniform(-320, 0.9, 20_000)
    around = np.arange(-2000, 2000)
    seams = np.concatenate([s + around * np.spacing(s) for s in (_erf.SMALL, _erf.LARGE, 0.5, 1.0, 4.0)])
    positive = np.concatenate([tiny, seams, np.linspace(0, 6.5, 60_000)])
    return np.concatenate([positive, -positive])


def last_places(dtype: str = "float64", most: float = 2) -> None:
    """At most ``most`` units in the last place off, never above 1, never of the other sign."""
    x = points().astype(dtype)
    got = minidl.erf(minidl.tensor(x)).numpy()
    want = np.array([math.erf(v) for v in x.tolist()])
    assert got.dtype == dtype, f"erf makes {got.dtype} of {dtype}"
    units = np.abs(got.astype(float) - want) / np.spacing(np.abs(want.astype(dtype))).astype(float)
    worst = int(np.argmax(np.where(np.isnan(units), np.inf, units)))
    assert units[worst] <= most, f"erf({x[worst]!r}) is {got[worst]!r}, {units[worst]:.3g} units in the last place off"
    assert (np.abs(got) <= 1).all() and (np.sign(got) == np.sign(x)).all()


def special_values(dtype: str = "float64") -> None:
    """Infinities, NaN, signed zeros, the smallest numbers: exactly the C library's."""
    with np.errstate(over="ignore", under="ignore"):
        x = np.array(SPECIAL).astype(dtype)
    with np.errstate(all="raise", under="ignore"):
        got = minidl.erf(minidl.tensor(x)).numpy()
    want = np.array([math.erf(float(v)) for v in x]).astype(dtype)
    assert ((got == want) | (np.isnan(got) & np.isnan(want))).all(), f"erf of {x} is {got}, should be {want}"
    assert (np.signbit(got) == np.signbit(want)).all(), "erf loses a sign"


CHECKS = (last_places, special_values)
