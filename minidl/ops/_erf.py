"""The error function of whole arrays, by rational approximations.

With a = |x|

    a <= 0.84375    |erf(x)| = a + a A(x^2) / B(x^2)
    beyond          |erf(x)| = 1 - exp(-x^2) C(a) / D(a)

Sources: A and B from Sun Microsystems 1993, fdlibm (s_erf.c); C and D from Cody 1969, "Rational Chebyshev
approximations for the error function", Mathematics of Computation 23, 631-637, made for 0.46875 <= a <= 4.  Above 4,
where 1 - erf is below 1.6e-8, they are still good to far more than the digits that are left of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import array_module

SMALL, LARGE = 0.84375, 6.0  # from LARGE on, erf is 1 to the last bit of a float64

# highest power first
_A = (
    -2.37630166566501626084e-5, -5.77027029648944159157e-3, -2.84817495755985104766e-2, -3.25042107247001499370e-1,
    1.28379167095512558561e-1,
)  # fmt: skip
_B = (
    -3.96022827877536812320e-6, 1.32494738004321644526e-4, 5.08130628187576562776e-3, 6.50222499887672944485e-2,
    3.97917223959155352819e-1, 1.0,
)  # fmt: skip
_C = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
    8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
)  # fmt: skip
_D = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip


def erf(x: Any) -> Any:
    """erf of each element, in the dtype of ``x``; computed in float64, to 2 units in the last place of it.

    >>> import numpy as np
    >>> erf(np.array([0.0, 0.5, -np.inf]))
    array([ 0.        ,  0.52049988, -1.        ])
    """
    if x.dtype.kind == "c":  # a gradient check that tries the complex step learns it here
        raise TypeError(f"erf is made for real numbers, got {x.dtype}")
    xp = array_module(x)
    wide = x.astype("float64")
    a = xp.minimum(xp.abs(wide), LARGE)
    square = a * a
    inner = a + a * (_polynomial(_A, square) / _polynomial(_B, square))
    outer = 1 - xp.exp(-square) * (_polynomial(_C, a) / _polynomial(_D, a))
    return xp.copysign(xp.where(a <= SMALL, inner, outer), wide).astype(x.dtype)


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """Horner's rule, highest power first."""
    total = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        total *= x
        total += c
    return total
