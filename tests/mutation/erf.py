"""The error function's bugs: a term lost, a sign lost, a seam in the wrong place, fewer digits than the dtype has."""

from __future__ import annotations

from functools import partial

from tests.checks import erf

from .framework import Mutant

_ERF = "minidl.ops._erf:"
FLOAT32 = (partial(erf.last_places, "float32", 0.51),)

MUTANTS = (
    Mutant("erf_constant_term_lost", _ERF + "_polynomial", erf.CHECKS, "Horner's rule ends one step too early",
           "coefficients[2:]", "coefficients[2:-1]"),
    Mutant("erf_even", _ERF + "erf", erf.CHECKS, "erf of the absolute value",
           "xp.copysign(xp.where(a <= SMALL, inner, outer), wide)", "xp.where(a <= SMALL, inner, outer)"),
    Mutant("erf_negative_zero_lost", _ERF + "erf", erf.CHECKS, "the sign as -1, 0 or 1 instead of its bit",
           "xp.copysign(xp.where(a <= SMALL, inner, outer), wide)",
           "xp.where(a <= SMALL, inner, outer) * xp.where(wide < 0, -1, 1)"),
    Mutant("erf_series_too_far", _ERF + "erf", erf.CHECKS, "the formula of small numbers up to 1.5",
           "a <= SMALL", "a <= 1.5"),
    Mutant("erf_infinity_is_nan", _ERF + "erf", erf.CHECKS, "no bound on what is squared",
           "xp.minimum(xp.abs(wide), LARGE)", "xp.abs(wide)"),
    Mutant("erf_nan_is_one", _ERF + "erf", erf.CHECKS, "fmin takes the number where the other is NaN",
           "xp.minimum(xp.abs(wide), LARGE)", "xp.fmin(xp.abs(wide), LARGE)"),
    Mutant("erf_in_single_precision", _ERF + "erf", FLOAT32, "computes in the dtype that it is given",
           'x.astype("float64")', "x"),
)  # fmt: skip
