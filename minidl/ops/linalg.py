"""Products of matrices and the linear algebra that layers need."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.tape import Primitive, Spec, lies_by_columns, vjp
from ..backend import array_module, singular_raises
from ..kernels.matmul import matmul as product_of
from ._common import as_operand, normalise_dim, same_dtype, sum_to
from .shape import permute, transpose


def _product(a: Any, b: Any, *, by_columns: bool = False) -> Any:
    """a @ b; with ``by_columns`` the result's columns lie side by side: what the gradient of ``w.mT`` needs, so that
    that of w lies as w does."""
    if by_columns:
        return _product(b.swapaxes(-1, -2), a.swapaxes(-1, -2)).swapaxes(-1, -2)
    return product_of(a, b) if array_module(a) is np else array_module(a).matmul(a, b)


def _by_columns(b: Any) -> bool:
    """Whether the matrix b, a tensor or what is known of one, lies by columns."""
    return b.by_columns if isinstance(b, Spec) else lies_by_columns(b._array)


def _right_rule(g: Any, y: Any, a: Any, b: Any, *, by_columns: bool = False) -> Any:
    return sum_to(_matmul(transpose(a, -1, -2), g, **({"by_columns": True} if _by_columns(b) else {})), b)


_matmul: Primitive = Primitive(
    "matmul",
    _product,
    vjp(lambda g, y, a, b, *, by_columns=False: sum_to(_matmul(g, transpose(b, -1, -2)), a), uses="b"),
    vjp(_right_rule, uses="a"),
)


def matmul(input: Any, other: Any) -> Any:
    """Matrix product: vectors, matrices and batches of matrices (leading axes broadcast).

    >>> import minidl
    >>> (minidl.ones(2, 3) @ minidl.ones(3)).shape
    (2,)
    """
    a, b = as_operand(input), as_operand(other)
    same_dtype("matmul", a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul needs at least one dimension on both sides; for numbers use *")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul: {a.shape} @ {b.shape}: the last axis of the left ({a.shape[-1]}) must equal the "
            f"{'second-last' if b.ndim > 1 else 'only'} axis of the right ({b.shape[-2 if b.ndim > 1 else 0]})"
        )
    # a vector on the left is a row, on the right a column; its axis goes again afterwards
    left, right = a.ndim == 1, b.ndim == 1
    if left:
        a = a.unsqueeze(0)
    if right:
        b = b.unsqueeze(1)
    y = _matmul(a, b)
    if right:
        y = y.squeeze(-1)
    return y.squeeze(-1 if right else -2) if left else y


def mm(input: Any, mat2: Any) -> Any:
    """Product of two matrices.

    (n, m) and (m, p) -> (n, p); ValueError where the inner lengths differ.

    >>> import minidl
    >>> minidl.mm(minidl.tensor([[1.0, 2.0]]), minidl.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    if input.ndim != 2 or mat2.ndim != 2:
        raise ValueError(f"mm needs two matrices, got shapes {input.shape} and {mat2.shape}: use matmul")
    return matmul(input, mat2)


def bmm(input: Any, mat2: Any) -> Any:
    """Products of two batches (B, n, m) and (B, m, p).

    >>> import minidl
    >>> minidl.bmm(minidl.ones(2, 3, 4), minidl.ones(2, 4, 5)).shape
    (2, 3, 5)
    """
    if input.ndim != 3 or mat2.ndim != 3 or input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm needs (B, n, m) and (B, m, p), got {input.shape} and {mat2.shape}")
    return matmul(input, mat2)


def dot(input: Any, other: Any) -> Any:
    """Inner product of two vectors.

    (n,) and (n,) -> ().

    >>> import minidl
    >>> minidl.dot(minidl.tensor([1.0, 2.0]), minidl.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if input.ndim != 1 or other.ndim != 1:
        raise ValueError(f"dot needs two vectors, got shapes {input.shape} and {other.shape}")
    return matmul(input, other)


def mv(input: Any, vec: Any) -> Any:
    """Matrix times vector.

    (n, m) and (m,) -> (n,).

    >>> import minidl
    >>> minidl.mv(minidl.tensor([[1.0, 2.0], [0.0, 1.0]]), minidl.tensor([3.0, 4.0]))
    tensor([11.,  4.])
    """
    return matmul(input, vec)


def outer(input: Any, vec2: Any) -> Any:
    """Outer product of two vectors, (n, m).

    >>> import minidl
    >>> minidl.outer(minidl.tensor([1, 2]), minidl.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    return input.unsqueeze(1) * vec2.unsqueeze(0)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)``.

    >>> import minidl
    >>> minidl.addmm(minidl.ones(1), minidl.tensor([[1.0, 2.0]]), minidl.tensor([[3.0], [4.0]]), beta=0.5)
    tensor([[11.5]])
    """
    product = mm(mat1, mat2)
    return (input if beta == 1 else input * beta) + (product if alpha == 1 else product * alpha)


def trace(input: Any) -> Any:
    """Sum of the diagonal of a matrix.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).trace()
    tensor(5)
    """
    return diagonal(input).sum()


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of axes ``dim1`` and ``dim2`` as a new last axis.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).diagonal(), minidl.zeros(5, 3, 3).diagonal(dim1=1, dim2=2).shape
    (tensor([1, 4]), (5, 3))
    """
    dim1, dim2 = normalise_dim(dim1, input.ndim), normalise_dim(dim2, input.ndim)
    if dim1 == dim2:
        raise ValueError(f"diagonal needs two different axes, got {dim1} twice")
    x = permute(input, [i for i in range(input.ndim) if i not in (dim1, dim2)] + [dim1, dim2])
    rows = max(0, min(x.shape[-2] + min(offset, 0), x.shape[-1] - max(offset, 0)))
    i = np.arange(rows)
    return x[..., i - min(offset, 0), i + max(offset, 0)]


def diag(input: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal.

    >>> import minidl
    >>> minidl.diag(minidl.tensor([1, 2])), minidl.diag(minidl.tensor([[1, 2], [3, 4]]))
    (tensor([[1, 0],
            [0, 2]]), tensor([1, 4]))
    """
    from . import linalg
    from .creation import zeros
    from .indexing import index_put

    if input.ndim == 2:
        return linalg.diagonal(input, diagonal)
    if input.ndim != 1:
        raise ValueError(f"diag takes a vector or a matrix, not {input.shape}; diagonal() takes more axes")
    n = input.shape[0]
    i = np.arange(n)
    size = n + abs(diagonal)
    empty = zeros(size, size, dtype=input.dtype, device=input.device)
    return index_put(empty, (i - min(diagonal, 0), i + max(diagonal, 0)), input)


# ---- einsum --------------------------------------------------------------------------------------------------

_einsum: Primitive = Primitive(
    "einsum",
    lambda *xs, inputs, output: _einsum_forward(xs, inputs, output),
    joint=vjp(lambda g, y, *xs, needs, inputs, output: _einsum_rule(g, xs, needs, inputs, output), uses="args"),
)


def _einsum_forward(xs: tuple[Any, ...], inputs: tuple[str, ...], output: str) -> Any:
    y = array_module(xs[0]).einsum(",".join(inputs) + "->" + output, *xs, optimize=len(xs) > 1)
    # of one operand NumPy may return a view, which must not share memory behind the guard's back
    return y.copy() if len(xs) == 1 else y


def _einsum_rule(
    g: Any, xs: tuple[Any, ...], needs: tuple[bool, ...], inputs: tuple[str, ...], output: str
) -> tuple[Any, ...]:
    """Each gradient is an einsum of the cotangent and the other operands, back to the operand's letters."""
    gradients: list[Any] = []
    for i, (x, letters) in enumerate(zip(xs, inputs)):
        if not needs[i]:
            gradients.append(None)
            continue
        others = [(inputs[j], xs[j]) for j in range(len(xs)) if j != i]
        terms = [(output, g), *others]
        present = set("".join(t for t, _ in terms))
        reachable = "".join(c for c in letters if c in present)
        part = _einsum(*(t for _, t in terms), inputs=tuple(n for n, _ in terms), output=reachable)
        # letters summed over in this operand alone: its gradient is constant along them
        shape = tuple(n if c in present else 1 for c, n in zip(letters, x.shape))
        gradients.append(part.reshape(shape).expand(x.shape))
    return tuple(gradients)


def _with_letters_once(equation: str, position: int, x: Any, letters: str) -> tuple[Any, str]:
    """The operand with its diagonal in place of axes of one letter, and its letters."""
    for c in sorted(set(letters), key=letters.index):
        while letters.count(c) > 1:
            first = letters.index(c)
            second = letters.index(c, first + 1)
            if x.shape[first] != x.shape[second]:
                raise ValueError(
                    f"einsum {equation!r}: letter {c!r} is {x.shape[first]} and {x.shape[second]} in operand {position}"
                )
            x = diagonal(x, 0, first, second)
            letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + c
    return x, letters


def einsum(equation: str, *operands: Any) -> Any:
    """Einstein's summation: ``einsum("nchw,kc->nkhw", x, w)``; ``...`` stands for further axes.

    A letter that an operand names twice is its diagonal (``"ii->"`` is the trace); an axis of length 1 stretches.

    Operands whose shapes do not fit the letters are a ValueError that names the operand or the letter.

    >>> import minidl
    >>> minidl.einsum("nchw,kc->nkhw", minidl.ones(2, 3, 4, 5), minidl.ones(7, 3)).shape
    (2, 7, 4, 5)
    >>> minidl.einsum("i,i->", minidl.tensor([1.0, 2.0]), minidl.tensor([3.0, 4.0]))
    tensor(11.)
    """
    xs = [
        as_operand(x)
        for x in (operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands)
    ]
    same_dtype("einsum", *xs)
    equation = equation.replace(" ", "")
    left, arrow, output = equation.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(xs):
        raise ValueError(f"einsum {equation!r} describes {len(inputs)} operands, {len(xs)} were given")
    free = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in equation]
    widest, joined = 0, ""
    for i, (letters, x) in enumerate(zip(inputs, xs)):
        extra = x.ndim - len(letters.replace("...", ""))
        if extra < 0 or (extra and "..." not in letters):
            raise ValueError(f"einsum {equation!r}: operand {i} has shape {x.shape}, which does not fit {letters!r}")
        if "..." in letters:
            widest = max(widest, extra)
            inputs[i] = letters.replace("...", "".join(free[:extra][::-1]))
        joined += inputs[i]
        xs[i], inputs[i] = _with_letters_once(equation, i, x, inputs[i])
    dots = "".join(free[:widest][::-1])
    if arrow:
        output = output.replace("...", dots)
    else:
        output = dots + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots))
    sizes: dict[str, int] = {}
    for letters, x in zip(inputs, xs):
        for c, n in zip(letters, x.shape):
            if sizes.get(c, 1) == 1:
                sizes[c] = n
            elif n not in (1, sizes[c]):
                raise ValueError(f"einsum {equation!r}: letter {c!r} is {sizes[c]} in one operand and {n} in another")
    for i, x in enumerate(xs):  # what stretches along a letter does not depend on it
        stays = [n == sizes[c] for c, n in zip(inputs[i], x.shape)]
        if not all(stays):
            xs[i] = x.squeeze(tuple(a for a, stay in enumerate(stays) if not stay))
            inputs[i] = "".join(c for c, stay in zip(inputs[i], stays) if stay)
    if not set(output) <= set(sizes):
        raise ValueError(f"einsum {equation!r}: the result names letters that no operand has")
    return _einsum(*xs, inputs=tuple(inputs), output=output)


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Sum over pairs of axes: ``dims`` last of ``a`` with ``dims`` first of ``b``, or two lists of axes.

    >>> import minidl
    >>> minidl.tensordot(minidl.ones(2, 3, 4), minidl.ones(3, 4, 5)).shape
    (2, 5)
    >>> minidl.tensordot(minidl.ones(2, 3), minidl.ones(5, 2), ([0], [1])).shape
    (3, 5)
    """
    if isinstance(dims, int):
        axes_a, axes_b = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        axes_a, axes_b = [d % a.ndim for d in dims[0]], [d % b.ndim for d in dims[1]]
    rest_a = [i for i in range(a.ndim) if i not in axes_a]
    rest_b = [i for i in range(b.ndim) if i not in axes_b]
    inner_a, inner_b = [a.shape[i] for i in axes_a], [b.shape[i] for i in axes_b]
    if inner_a != inner_b:
        raise ValueError(f"tensordot: the summed axes have lengths {inner_a} and {inner_b}")
    n = int(np.prod(inner_a, dtype=int))
    shape = [a.shape[i] for i in rest_a] + [b.shape[i] for i in rest_b]
    left = permute(a, rest_a + axes_a).reshape(int(np.prod([a.shape[i] for i in rest_a], dtype=int)), n)
    right = permute(b, axes_b + rest_b).reshape(n, int(np.prod([b.shape[i] for i in rest_b], dtype=int)))
    return matmul(left, right).reshape(shape)


# ---- square matrices -----------------------------------------------------------------------------------------

_inverse: Primitive = Primitive(
    "inverse",
    lambda x: _checked("inv", x),
    vjp(lambda g, y, x: -(_transposed(y) @ g @ _transposed(y)), uses="y"),
)
_solve: Primitive = Primitive(
    "solve",
    lambda a, b: _solved(a, b),
    vjp(lambda g, y, a, b: -sum_to(_solve(_transposed(a), g) @ _transposed(y), a), uses="a y"),
    vjp(lambda g, y, a, b: sum_to(_solve(_transposed(a), g), b), uses="a"),
)
_slogdet: Primitive = Primitive(
    "slogdet",
    lambda x: tuple(array_module(x).linalg.slogdet(x)),
    joint=vjp(
        lambda g, y, x, needs: (None if g[1] is None else g[1].unsqueeze(-1).unsqueeze(-1) * _transposed(_inverse(x)),),
        uses="x",
    ),
)
_cholesky: Primitive = Primitive(
    "cholesky",
    lambda x: _checked("cholesky", x),
    vjp(lambda g, y, x: _cholesky_rule(g, y), uses="y"),
)


def _checked(name: str, *arrays: Any) -> Any:
    """A function of ``linalg`` that raises LinAlgError on every device."""
    try:
        with singular_raises(arrays[0]):
            return getattr(array_module(arrays[0]).linalg, name)(*arrays)
    except np.linalg.LinAlgError:
        raise np.linalg.LinAlgError(_WITHOUT[name].format(arrays[0].shape)) from None


_WITHOUT = {
    "inv": "inv: a matrix of shape {} is singular: its rows are not independent, so it has no inverse",
    "solve": "solve: a matrix of shape {} is singular: its rows are not independent, so no X, or no single one, fits",
    "cholesky": "cholesky: a matrix of shape {} is not positive definite, so it has no factor; is it symmetric?",
}


def _solved(a: Any, b: Any) -> Any:
    """CuPy does not broadcast the leading axes, NumPy does."""
    xp, lead = array_module(a), np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return _checked("solve", xp.broadcast_to(a, lead + a.shape[-2:]), xp.broadcast_to(b, lead + b.shape[-2:]))


def _transposed(x: Any) -> Any:
    return transpose(x, -1, -2)


def _cholesky_rule(g: Any, factor: Any) -> Any:
    """Murray 2016 (arXiv:1602.07527), eq. 10: Phi takes the lower triangle with half of the diagonal."""
    inner = (_transposed(factor) @ g).tril()
    eye = inner._xp.eye(inner.shape[-1], dtype=bool)
    phi = inner * (1 - 0.5 * as_operand(eye).to(inner.dtype))
    inv = _inverse(factor)
    s = _transposed(inv) @ phi @ inv
    return (s + _transposed(s)) * 0.5


def _square(name: str, x: Any) -> Any:
    x = as_operand(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{name} needs square matrices (..., n, n), got shape {x.shape}")
    return x


def inv(input: Any) -> Any:
    """Inverse of (batches of) square matrices; LinAlgError when singular.

    (..., n, n) -> (..., n, n); ValueError where the matrices are not square.

    >>> import minidl
    >>> minidl.inv(minidl.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    return _inverse(_square("inv", input))


inverse = inv


def solve(a: Any, b: Any, *, left: bool = True) -> Any:
    """X of ``a @ X = b`` for matrices b (..., n, k), or a vector b (n,); of ``X @ a = b`` if not ``left``.

    >>> import minidl
    >>> minidl.solve(minidl.tensor([[2.0, 0.0], [0.0, 4.0]]), minidl.tensor([2.0, 2.0]))
    tensor([1. , 0.5])
    """
    a, b = _square("solve", a), as_operand(b)
    if not left:
        return _transposed(_solve(_transposed(a), _transposed(b)))
    return _solve(a, b.unsqueeze(-1)).squeeze(-1) if b.ndim == 1 else _solve(a, b)


def slogdet(input: Any) -> Any:
    """Sign and logarithm of the absolute value of the determinant.

    (..., n, n) -> two tensors (...).

    >>> import minidl
    >>> sign, logarithm = minidl.slogdet(minidl.tensor([[0.0, 1.0], [1.0, 0.0]]))
    >>> sign.item(), logarithm.item()
    (-1.0, 0.0)
    """
    return _slogdet(_square("slogdet", input))


def det(input: Any) -> Any:
    """Determinant of (batches of) regular square matrices.

    (..., n, n) -> (...).

    ValueError where the matrices are not square.

    >>> import minidl
    >>> minidl.det(minidl.tensor([[2.0, 0.0], [1.0, 3.0]])).item()
    6.0
    """
    sign, log = slogdet(input)
    return sign * log.exp()


def cholesky(input: Any, upper: bool = False) -> Any:
    """Lower triangular L with ``L @ L.T = input`` for symmetric positive definite matrices.

    (..., n, n) -> (..., n, n); LinAlgError where a matrix is not positive definite.

    >>> import minidl
    >>> minidl.cholesky(minidl.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    factor = _cholesky(_square("cholesky", input))
    return _transposed(factor) if upper else factor
