"""Derived bounds on the rounding error of each convolution algorithm, against exact arithmetic on the same inputs.

u is the unit roundoff (2^-24 in float32, 2^-53 in float64) and gamma_n = n u / (1 - n u): a product of n factors
(1 + d_i)^+-1, |d_i| <= u, differs from 1 by at most gamma_n (Higham 2002, Accuracy and Stability of Numerical
Algorithms, lemma 3.1).  Bounds are computed in float64 (longdouble when float64 is bounded).

**Direct, im2col.**  Each element is a sum of n products, and in any order of summation, with or without fused
multiply-add, each product meets at most n roundings (Higham, section 3.1, (3.5)):

    |y^ - y| <= gamma_n (|x| * |w|)      elementwise; * is the convolution

n is C/G times the taps in the forward pass, K/G times the taps in the input gradient and N times the windows in
the weight gradient.

**Winograd.**  Each output is a sum of products A G g B d along paths through the three transforms.  A transform by
a matrix whose rows have at most z nonzero entries costs a path z roundings, and one more if entries are rounded;
the sum over c channels (or tiles) costs c.  With k the total over axes and steps,

    |y^ - y| <= gamma_k |A^T| ( sum_c |G| |g_c| |B^T| |d_c| )      elementwise

which is the algorithm itself run on absolute values.  This is the componentwise form of Barabasz et al. 2020,
Error Analysis and Improving the Accuracy of Winograd Convolution, theorem 4.1, for any number of axes.  How much
the right side exceeds |x| * |w| is what the choice of points decides.

**FFT.**  A stage of a mixed-radix transform is a p-point butterfly after a multiplication by twiddle factors.  Each
of its 2 p real components is a sum of magnitude <= sum |x_k| <= sqrt(p) ||x|| over paths with at most p + 2
roundings, against a true norm sqrt(p) ||x||; the twiddle factor costs 3 roundings, and a factor sqrt(2) for
taking the components apart.  So, normwise and per prime factor p of the length F (a radix-4 or 8 butterfly rounds
less than the radix-2 butterflies that it replaces),

    1 + e(F) = prod_p (1 + sqrt(2 p) gamma_{p+2} + sqrt(2) gamma_3)

in the manner of Higham, theorem 24.2, and Gentleman, Sande 1966.  Where the transform is a product with the Fourier
matrix there is one stage of 2 F terms, e(F) = sqrt(2 F) gamma_{2F+5}; entries and their scale are within 3 sqrt(2) u.
Axes multiply.  For one output channel and tile, with F the number of points, e the error of a forward and e' of
an inverse transform, X^ = X + dX, ||dX||_2 <= e ||X||_2, and ||X||_2 = sqrt(F) ||x||_2,

    dY     <= sum_c |dX_c W_c| + |X_c dW_c| + |dX_c dW_c| + sqrt(2) gamma_{2C} |X^_c| |W^_c|
    ||.||  <= max|W_c| e ||x_c|| + max|X_c| e ||w_c|| + e^2 sqrt(F) ||x_c|| ||w_c|| + ...      (over sqrt(F))
    error  <= (1 + e') ||dY|| / sqrt(F) + e' sum_c max|W_c| ||x_c||

a bound on the 2-norm of the error over the spatial axes.  Tiles add in squares; in the weight gradient, where
they are summed before the inverse transform, they are terms like channels.
"""

from __future__ import annotations

from itertools import product
from math import ceil, prod, sqrt
from typing import Any

import numpy as np

from ..geometry import Conv, Ints
from ..tiling import read
from . import conv as spec
from . import fft, winograd


def unit_roundoff(dtype: Any) -> float:
    """u, half the distance from 1 to the next number.

    >>> unit_roundoff("float32") == 2.0**-24
    True
    """
    return float(np.finfo(dtype).eps) / 2


def gamma(n: int, dtype: Any) -> float:
    """n u / (1 - n u); infinite where n u >= 1, which says that no digit is certain."""
    nu = n * unit_roundoff(dtype)
    return nu / (1 - nu) if nu < 1 else float("inf")


def terms(pass_: str, conv: Conv) -> int:
    """How many products make one element of the result."""
    if pass_ == "weight_grad":
        return conv.batch * prod(conv.out)
    return (conv.in_channels if pass_ == "forward" else conv.out_channels) // conv.groups * prod(conv.kernel)


def error_bound(
    algorithm: str, pass_: str, a: np.ndarray, b: np.ndarray, conv: Conv, dtype: Any, **options: Any
) -> np.ndarray:
    """The bound of an algorithm of the catalogue; ``options`` go to its function below.

    (a, b) is (x, w), (w, g) or (x, g).  Elementwise, or on the 2-norm of the error over the spatial axes, which
    then have length 1 (fft).  KeyError for an algorithm without a derived bound.

    >>> conv = Conv.from_shapes((1, 1, 3), (1, 1, 2))
    >>> x, w = np.array([[[1.0, -2.0, 4.0]]]), np.array([[[1.0, 3.0]]])
    >>> error_bound("direct", "forward", x, w, conv, "float32") / 2**-24  # about 2 (|x| * |w|)
    array([[[14.00000167, 28.00000334]]])
    """
    if algorithm in ("winograd", "winograd_fused"):
        return winograd_bound(pass_, a, b, conv, dtype, **options)
    if algorithm == "fft":
        return fft_bound(pass_, a, b, conv, dtype, **options)
    if algorithm in ("spec", "direct", "im2col", "depthwise", "implicit_gemm"):
        return direct_bound(pass_, a, b, conv, dtype)
    if algorithm in TENSOR_CORES:
        return tensor_core_bound(pass_, a, b, conv, dtype, *TENSOR_CORES[algorithm])
    raise KeyError(f"no error bound is derived for the algorithm {algorithm!r}")


def direct_bound(pass_: str, a: np.ndarray, b: np.ndarray, conv: Conv, dtype: Any) -> np.ndarray:
    """Elementwise bound for any order of summation: direct and im2col.  (a, b) is (x, w), (w, g) or (x, g).

    Sums of float16 are float32, and rounded once more in the end.
    """
    half = np.dtype(dtype) == np.float16
    sizes = getattr(spec, pass_)(_size(a, dtype), _size(b, dtype), conv)
    bound = gamma(terms(pass_, conv), np.float32 if half else dtype) * sizes
    return _rounded_to_half(bound, pass_, a, b, conv) if half else bound


TENSOR_CORES = {"tf32": (1, 2.0**-11), "tf32x3": (2, 2.0**-11), "bf16": (1, 2.0**-8), "fp16": (1, 0.0)}
TENSOR_CORES |= {f"{name}_wgmma": TENSOR_CORES[name] for name in ("bf16", "fp16")}
"""Of `tensor_core_bound`: parts of an operand, and the unit roundoff of each (float16 operands are what they are)."""


def tensor_core_bound(
    pass_: str, a: np.ndarray, b: np.ndarray, conv: Conv, dtype: Any, parts: int, v: float
) -> np.ndarray:
    """Elementwise bound where tensor cores multiply operands cut into ``parts`` numbers with unit roundoff v.

    A part errs by at most v of what it rounds.  One part: (1 + v)^2 - 1.  Two, a = h + l + e with |l| <= v |a|
    (1 + v) and |e| <= v^2 |a|: the products h h', h l' and l h' leave out l l' + e b + a e' - e e', which is below
    v^2 (3 + 4 v) |a| |b|.  Sums are float32, and tensor cores cut them off instead of rounding them: two units for each
    product of parts.

    >>> one = np.ones((1, 1, 1))
    >>> bound = tensor_core_bound("forward", one, one, Conv.from_shapes((1, 1, 1), (1, 1, 1)), "float32", 1, 2.0**-11)
    >>> round(bound.item() / 2**-11, 3)
    2.001
    """
    lost = v * (2 + v) if parts == 1 else v * v * (3 + 4 * v)
    rounded = gamma(2 * (2 * parts - 1) * terms(pass_, conv), np.float32)
    bound = (lost + rounded) * getattr(spec, pass_)(_size(a, dtype), _size(b, dtype), conv)
    return _rounded_to_half(bound, pass_, a, b, conv) if np.dtype(dtype) == np.float16 else bound


def _rounded_to_half(bound: np.ndarray, pass_: str, a: np.ndarray, b: np.ndarray, conv: Conv) -> np.ndarray:
    """``bound`` of a sum, and what rounding it to float16 adds: 2^-11 of itself, or 2^-25 where it is subnormal."""
    exact = getattr(spec, pass_)(*(_size(array, np.float16, keep_sign=True) for array in (a, b)), conv)
    return bound + unit_roundoff(np.float16) * (np.abs(exact) + bound) + 2.0**-25


def winograd_bound(
    pass_: str, a: np.ndarray, b: np.ndarray, conv: Conv, dtype: Any, m: Ints = 4, points: str = "barabasz"
) -> np.ndarray:
    """Elementwise bound for the nested F(m, r) of each axis (F(r, m) in the weight gradient)."""
    exact = winograd.matrices(pass_, conv, m, points)
    sizes = tuple(winograd.Transforms(*(abs(matrix) for matrix in t)) for t in exact)
    run = winograd.compute(pass_, _size(a, dtype), _size(b, dtype), conv, sizes)
    summed = run.V.shape[-1] if pass_ == "weight_grad" else run.V.shape[-2]
    k = summed + sum(_roundings(matrix, dtype) for t in exact for matrix in t)
    return gamma(k, dtype) * run.Y


def _roundings(matrix: np.ndarray, dtype: Any) -> int:
    """Most roundings that a term meets in a product with this matrix: one per entry of a row, one for the entry."""
    floats = matrix.astype(np.float64).astype(dtype)
    rounded = any(m.as_integer_ratio() != f.as_integer_ratio() for m, f in zip(matrix.flat, floats.flat))
    return int((matrix != 0).sum(axis=1).max()) + rounded


def fft_bound(
    pass_: str,
    a: np.ndarray,
    b: np.ndarray,
    conv: Conv,
    dtype: Any,
    size: tuple[int, ...] | None = None,
    hop: tuple[int, ...] | None = None,
    dense: int = 0,
) -> np.ndarray:
    """Bound on the 2-norm of the error over the spatial axes, which have length 1 in the result.

    ``size`` is the transform's length per axis (default: the whole padded input) and ``hop`` the distance of tiles
    (default: one tile); transforms of up to ``dense`` points are products with the Fourier matrix.
    """
    size = size or fft.transform_size(conv)
    points = prod(size)
    e = prod(1 + _transform_error(f, dense, dtype) for f in size) - 1
    inverse = (1 + e) * (1 + gamma(2, dtype)) - 1  # one more multiplication by 1/F, itself rounded
    a, b = _size(a, dtype, keep_sign=True), _size(b, dtype, keep_sign=True)
    low = tuple(p[0] for p in conv.padding)
    none, ones = (0,) * conv.ndim, (1,) * conv.ndim
    groups, reach = conv.groups, conv.size if pass_ == "input_grad" else tuple(map(prod, zip(conv.out, conv.stride)))
    tiles = list(product(*(range(ceil(n / h)) for n, h in zip(reach, hop)))) if hop else [none]
    hop = hop or none
    total: Any = 0.0
    for tile in tiles:
        start = tuple(i * h for i, h in zip(tile, hop))
        if pass_ == "forward":
            signal = _norms(a, size, tuple(at - p for at, p in zip(start, low)), ones, size)
            kernel = _norms(b, size, none, conv.dilation, size)
        elif pass_ == "input_grad":
            before = tuple(x.extent - 1 - p if any(hop) else 0 for x, p in zip(conv.axes, low))
            signal = _norms(b, size, tuple(at - p for at, p in zip(start, before)), conv.stride, size)
            kernel = _norms(a, size, none, conv.dilation, size)
        else:
            signal = _norms(a, size, tuple(at - p for at, p in zip(start, low)), ones, size)
            kernel = _norms(b, size, start, conv.stride, hop if any(hop) else size)
        if pass_ == "weight_grad":  # (N, G, K/G | C/G): sum over images and tiles
            x, g = _grouped(signal, 1, groups), _grouped(kernel, 1, groups)
            total = total + _terms("ngk,ngc->gkc", g, x, e, points)
            continue
        w = _grouped(kernel, 0, groups)
        rule = "ngc,gkc->ngk" if pass_ == "forward" else "ngk,gkc->ngc"
        s = _grouped(signal, 1, groups)
        total = total + _finish(_terms(rule, s, w, e, points), inverse, s[0].shape[-1], dtype) ** 2
    if pass_ == "weight_grad":
        bound = _finish(total, inverse, conv.batch * len(tiles), dtype)
        return bound.reshape(*conv.w_shape[:2], *ones)
    channels = conv.out_channels if pass_ == "forward" else conv.in_channels
    return np.sqrt(total).reshape(conv.batch, channels, *ones)


def error_ratio(result: np.ndarray, exact: np.ndarray, bound: np.ndarray) -> float:
    """Largest error as a share of its bound: at most 1 if the bound holds, and the number to publish.

    ``bound`` is elementwise (the shape of the result) or on the 2-norm over spatial axes (of length 1 there).

    >>> error_ratio(np.array([1.0, 2.5]), np.array([1.0, 2.0]), np.array([0.1, 1.0]))
    0.5
    """
    error = np.abs(result.astype(exact.dtype) - exact)
    if bound.shape != error.shape:
        error = np.sqrt((error**2).sum(axis=tuple(range(2, error.ndim)), keepdims=True))
    if np.any((bound == 0) & (error > 0)):
        return float("inf")
    return float(np.divide(error, bound, out=np.zeros_like(error), where=bound > 0).max(initial=0.0))


def _size(a: np.ndarray, dtype: Any, keep_sign: bool = False) -> np.ndarray:
    wide = np.longdouble if np.dtype(dtype) == np.float64 else np.float64
    return a.astype(wide) if keep_sign else np.abs(a.astype(wide))


def _transform_error(f: int, dense: int, dtype: Any) -> float:
    """e(F) of the module's head, one axis."""
    if f <= dense:
        return sqrt(2 * f) * gamma(2 * f + 5, dtype)
    error, p = 1.0, 2
    while f > 1:
        if f % p:
            p += 1
            continue
        f //= p
        error *= 1 + sqrt(2 * p) * gamma(p + 2, dtype) + sqrt(2) * gamma(3, dtype)
    return error - 1


def _norms(
    a: np.ndarray, size: tuple[int, ...], start: tuple[int, ...], step: tuple[int, ...], length: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each signal seen through a window: its 2-norm and the largest magnitude of its spectrum."""
    window = read(np.empty((*a.shape[:2], *length), a.dtype), a, start, step)
    axes = tuple(range(2, a.ndim))
    spectrum = np.fft.rfftn(window, s=size, axes=axes)
    return np.sqrt((window**2).sum(axis=axes)), np.abs(spectrum).max(axis=axes)


def _grouped(norms: tuple[np.ndarray, np.ndarray], axis: int, groups: int) -> tuple[np.ndarray, ...]:
    shape = norms[0].shape
    return tuple(n.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]) for n in norms)


def _terms(rule: str, a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...], e: float, points: int) -> np.ndarray:
    """Summed over channels: [norm of sum |A| |B|, error that the transforms bring], both over sqrt(F)."""
    (norm_a, sup_a), (norm_b, sup_b) = a, b
    plain = np.einsum(rule, norm_a, sup_b)
    from_b = np.einsum(rule, sup_a, norm_b)
    both = np.einsum(rule, norm_a, norm_b)
    return np.stack([plain, e * (plain + from_b) + e * e * sqrt(points) * both])


def _finish(summed: np.ndarray, inverse: float, length: int, dtype: Any) -> np.ndarray:
    """Add the rounding of the sum of ``length`` products and of the inverse transform."""
    plain, brought = summed
    error = brought + sqrt(2) * gamma(2 * length, dtype) * (plain + brought)
    return error + inverse * (plain + error)
