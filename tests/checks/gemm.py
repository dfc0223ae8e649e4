"""What must be true of our own matrix product: any shape, any storage, added to or not.  Needs Numba."""

from __future__ import annotations

import numpy as np

from minidl.kernels.cpu import gemm

from .conv import assert_within, gamma, small_workspaces

SHAPES = (
    (1, 1, 1), (1, 7, 5), (5, 1, 3), (6, 9, 1), (14, 8, 32), (15, 33, 33), (28, 5, 16), (29, 40, 48), (61, 70, 83),
    (3, 1024, 17), (40, 2050, 40), (290, 6, 70),
)  # fmt: skip
"""(M, K, N): one register tile, a row or a column more, several blocks of depth, rows a page apart; a last piece of
rows that is shorter than the others, whatever the tile (290 = 20 * 14 + 10 = 48 * 6 + 2 = 72 * 4 + 2)."""

STORES = ("rows", "columns", "backwards", "gaps")


def operands(m: int, k: int, n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([m, k, n])
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def stored(a: np.ndarray, how: str) -> np.ndarray:
    """A copy of ``a`` whose memory is ordered in one of the STORES."""
    if how == "rows":
        return a.copy()
    if how == "columns":
        return a.T.copy().T
    if how == "backwards":
        return a[::-1, ::-1].copy()[::-1, ::-1]
    big = np.full([2 * n for n in a.shape], np.nan, a.dtype)  # every other element
    big[::2, ::2] = a
    return big[::2, ::2]


def close(got: np.ndarray, a: np.ndarray, b: np.ndarray, what: str, start: np.ndarray | float = 0.0) -> None:
    """|got - (start + ab)| <= gamma_(K+1) (|start| + |a||b|), Higham 2002, equation 3.5."""
    dtype, terms = got.dtype.name, len(b) + 1
    a, b, start = a.astype("float64"), b.astype("float64"), np.asarray(start, "float64")
    bound = (gamma(terms, dtype) + gamma(terms, "float64")) * (np.abs(start) + np.abs(a) @ np.abs(b))
    assert_within(got, start + a @ b, bound, what)


def any_shape(dtype: str = "float64") -> None:
    for shape in SHAPES:
        a, b = operands(*shape, dtype)
        close(gemm.matmul(a, b), a, b, f"{dtype} product of (M, K, N) = {shape}")


def any_shape_in_pieces(dtype: str = "float64") -> None:
    with small_workspaces():
        any_shape(dtype)


def any_storage(dtype: str = "float64") -> None:
    """Operands and results in any order, overwritten and added to; the operands stay as they are."""
    a, b = operands(29, 37, 45, dtype)
    row = np.float32(1.5) * np.arange(45, dtype=dtype)
    for how_a in STORES:
        for how_b in STORES:
            left, right = stored(a, how_a), stored(b, how_b)
            for how in STORES:
                what = f"{dtype} product of {how_a} and {how_b} into {how}"
                out = stored(np.full((29, 45), np.nan, dtype), how)
                assert gemm.matmul(left, right, out) is out, f"{what}: out= was given, something else came back"
                close(out, a, b, what)
                out[...] = row
                gemm.matmul(left, right, out, accumulate=True)
                close(out, a, b, f"{what}, accumulated", row)
            assert (left == a).all() and (right == b).all(), f"product of {how_a} and {how_b} changes an operand"


def nothing_to_multiply() -> None:
    """An empty sum is zero: added to what is there, or written over it."""
    for m, k, n in ((0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)):
        out = np.full((m, n), 7.0)
        gemm.matmul(np.ones((m, k)), np.ones((k, n)), out, accumulate=True)
        assert (out == 7).all(), f"accumulating a product of (M, K, N) = {(m, k, n)} changes what is there"
        assert not gemm.matmul(np.ones((m, k)), np.ones((k, n)), out).any(), f"{(m, k, n)}: not overwritten by 0"


CHECKS = (any_shape, any_shape_in_pieces, any_storage, nothing_to_multiply)
