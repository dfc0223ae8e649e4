"""Operations that move elements without changing them; most of the results are views."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ..kernels import joining as kernel
from ..kernels.remembered import remembered
from ._common import as_operand, broadcast_to, normalise_dim, normalise_dims

_reshape: Primitive = Primitive(
    "reshape",
    lambda x, *, shape: x.reshape(shape),
    vjp(lambda g, y, x, *, shape: g.reshape(x.shape)),
    view=True,
)
_permute: Primitive = Primitive(
    "permute",
    lambda x, *, dims: x.transpose(dims),
    vjp(lambda g, y, x, *, dims: permute(g, tuple(int(i) for i in np.argsort(dims)))),
    view=True,
)
_flip: Primitive = Primitive(
    "flip",
    lambda x, *, dims: array_module(x).flip(x, dims).copy(),
    vjp(lambda g, y, x, *, dims: _flip(g, dims=dims)),
)
_roll: Primitive = Primitive(
    "roll",
    lambda x, *, shifts, dims: array_module(x).roll(x, shifts, dims),
    vjp(lambda g, y, x, *, shifts, dims: _roll(g, shifts=tuple(-s for s in shifts), dims=dims)),
)
_cat: Primitive = Primitive(
    "cat",
    lambda *xs, dim: kernel.concatenate(xs, dim),
    joint=vjp(lambda g, y, *xs, needs, dim: _split(g, lengths=tuple(x.shape[dim] for x in xs), dim=dim)),
)


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    if len(args) == 1 and isinstance(args[0], Iterable) and not isinstance(args[0], str):
        args = tuple(args[0])
    try:
        return tuple(map(operator.index, args))
    except TypeError:
        wrong = next(a for a in args if not hasattr(a, "__index__"))
        raise TypeError(f"lengths, axes and counts are whole numbers, not {wrong!r}") from None


def lengths(op: str, args: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape that somebody asks for: ``op(2, 3)`` or ``op((2, 3))``."""
    sizes = _sizes(args)
    if any(n < 0 for n in sizes):
        raise ValueError(f"{op}: a shape has no negative length, as in {sizes}")
    return sizes


def reshape(input: Any, *shape: Any) -> Any:
    """The same elements in C order under another shape; one length may be -1.

    >>> import minidl
    >>> minidl.arange(6).reshape(2, -1).shape
    (2, 3)
    """
    x = as_operand(input)
    sizes = _sizes(shape)
    known = math.prod(n for n in sizes if n != -1)
    holes = sizes.count(-1)
    total = math.prod(x.shape)
    if holes > 1 or (holes == 0 and known != total) or (holes and (total % known if known else True)):
        raise ValueError(
            f"cannot reshape {x.shape} ({total} elements) to {sizes}"
            + (f" ({known} elements)" if not holes else ": at most one length may be -1, and it must come out whole")
        )
    sizes = tuple(total // known if n == -1 else n for n in sizes)
    return x if sizes == x.shape else _reshape(x, shape=sizes)


def view(input: Any, *size: Any) -> Any:
    """As :func:`reshape`, and always of the same memory: what is written to either tensor appears in both.

    A tensor that lies in another order, such as the channels-last result of a convolution, is first brought into C
    order itself; where others see its memory too (after ``t()``, a slice, ``numpy()``) that cannot be: an error.
    """
    x = as_operand(input)
    if len(size) == 1 and isinstance(size[0], (str, type, np.dtype)):
        raise TypeError(
            f"view reads the same elements under another shape, not as another dtype ({size[0]!r}): use "
            "minidl.from_numpy(x.detach().numpy().view(dtype)) to reinterpret bits, x.to(dtype) to convert values"
        )
    y = reshape(x, *size)
    if x.is_contiguous() or y is x or array_module(x._array).may_share_memory(y._array, x._array):
        return y
    others = [t for t in x._storage.views() if t is not x and t is not y]
    if others or x._storage.escaped or (x.is_leaf and x.requires_grad):
        raise ValueError(
            f"view: {x.shape} with strides {x.stride()} cannot be seen as {y.shape} without moving elements, and other "
            "tensors or arrays see the same memory: use reshape(), which copies here"
        )
    x._array = y._array.reshape(x.shape)
    return reshape(x, *size)


def permute(input: Any, *dims: Any) -> Any:
    """Axes in another order, a view: ``x.permute(0, 2, 3, 1)`` reads NCHW as NHWC.

    >>> import minidl
    >>> minidl.zeros(2, 3, 4, 5).permute(0, 2, 3, 1).shape
    (2, 4, 5, 3)
    """
    x = as_operand(input)
    order = tuple(normalise_dim(d, x.ndim) for d in _sizes(dims))
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute{_sizes(dims)} does not name each of the {x.ndim} axes once")
    return _permute(x, dims=order)


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two axes exchanged, a view.

    >>> import minidl
    >>> minidl.zeros(2, 3, 4).transpose(1, 2).shape
    (2, 4, 3)
    """
    x = as_operand(input)
    order = list(range(x.ndim))
    a, b = normalise_dim(dim0, x.ndim), normalise_dim(dim1, x.ndim)
    if x.ndim:
        order[a], order[b] = order[b], order[a]
    return _permute(x, dims=tuple(order))


def t(input: Any) -> Any:
    """Transpose of a matrix (a vector stays).

    >>> import minidl
    >>> minidl.tensor([[1, 2, 3]]).t().shape
    (3, 1)
    """
    if input.ndim > 2:
        raise ValueError(f"t() is for matrices, this tensor has {input.ndim} dimensions: use transpose or permute")
    return transpose(input, 0, -1) if input.ndim == 2 else input


def movedim(input: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """One axis or several moved to other places, the others keep their order.

    >>> import minidl
    >>> minidl.zeros(2, 3, 4).movedim(0, -1).shape
    (3, 4, 2)
    """
    sources, destinations = normalise_dims(source, input.ndim), normalise_dims(destination, input.ndim)
    if len(sources) != len(destinations):
        raise ValueError(f"movedim: {len(sources)} axes for {len(destinations)} places")
    order = [i for i in range(input.ndim) if i not in sources]
    for place, axis in sorted(zip(destinations, sources)):
        order.insert(place, axis)
    return permute(input, order)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Axes ``start_dim`` to ``end_dim`` made one.

    A 0-d tensor becomes (1,).

    >>> import minidl
    >>> minidl.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    if input.ndim == 0:
        return reshape(input, 1)
    a, b = normalise_dim(start_dim, input.ndim), normalise_dim(end_dim, input.ndim)
    if a > b:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    s = input.shape
    return reshape(input, *s[:a], math.prod(s[a : b + 1]), *s[b + 1 :])


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """One axis split into several: the inverse of :func:`flatten`.

    One of ``sizes`` may be -1.

    >>> import minidl
    >>> minidl.zeros(2, 12).unflatten(1, (3, -1)).shape
    (2, 3, 4)
    """
    dim = normalise_dim(dim, input.ndim)
    n = input.shape[dim]
    known = math.prod(s for s in sizes if s != -1)
    whole = tuple(n // known if s == -1 and known else s for s in sizes)
    if math.prod(whole) != n:
        raise ValueError(f"unflatten: axis {dim} of length {n} does not split into {tuple(sizes)}")
    return reshape(input, *input.shape[:dim], *whole, *input.shape[dim + 1 :])


def squeeze(input: Any, dim: Any = None) -> Any:
    """Axes of length 1 removed: all of them, or those in ``dim`` that have length 1.

    >>> import minidl
    >>> x = minidl.zeros(1, 2, 1)
    >>> x.squeeze().shape, x.squeeze(0).shape
    ((2,), (2, 1))
    """
    axes = normalise_dims(dim, input.ndim)
    return reshape(input, [n for i, n in enumerate(input.shape) if not (i in axes and n == 1)])


def unsqueeze(input: Any, dim: int) -> Any:
    """A new axis of length 1 at ``dim``.

    >>> import minidl
    >>> x = minidl.zeros(2, 3)
    >>> x.unsqueeze(0).shape, x.unsqueeze(-1).shape
    ((1, 2, 3), (2, 3, 1))
    """
    dim = normalise_dim(dim, input.ndim + 1)
    return reshape(input, *input.shape[:dim], 1, *input.shape[dim:])


def expand(input: Any, *size: Any) -> Any:
    """Axes of length 1 stretched without a copy; -1 keeps a length; new axes may come in front.

    >>> import minidl
    >>> minidl.tensor([[1], [2]]).expand(-1, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    x = as_operand(input)
    target = _sizes(size)
    lead = len(target) - x.ndim
    if lead < 0:
        raise ValueError(f"expand: {target} has fewer axes than the tensor's shape {x.shape}")
    if min(target[:lead], default=0) < 0:
        raise ValueError(f"expand: {target} has -1 for a new axis; it keeps a length that {x.shape} has")
    whole = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(target))
    for i, n in enumerate(x.shape):
        if n != 1 and n != whole[lead + i]:
            raise ValueError(
                f"expand: {x.shape} does not stretch to {target}: axis {i} has length {n}, only 1 can grow"
            )
    return broadcast_to(x, whole)


def expand_as(input: Any, other: Any) -> Any:
    """``input`` stretched to the shape of ``other``.

    >>> import minidl
    >>> minidl.tensor([1, 2]).expand_as(minidl.zeros(3, 2)).shape
    (3, 2)
    """
    return expand(input, other.shape)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All tensors stretched to their common shape.

    >>> import minidl
    >>> a, b = minidl.broadcast_tensors(minidl.zeros(2, 1), minidl.zeros(3))
    >>> a.shape, b.shape
    ((2, 3), (2, 3))
    """
    shape = np.broadcast_shapes(*(t.shape for t in tensors))
    return tuple(broadcast_to(t, shape) for t in tensors)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """The coordinates of a grid: of vectors of lengths a, b, ... tensors (a, b, ...), views.

    ``indexing="xy"`` exchanges the first two axes of each.

    >>> import minidl
    >>> rows, columns = minidl.meshgrid(minidl.arange(2), minidl.arange(3))
    >>> (rows * 10 + columns).tolist()
    [[0, 1, 2], [10, 11, 12]]
    """
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is 'ij' or 'xy', not {indexing!r}")
    axes = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = [x.numel() for x in axes]
    grid = [x.reshape([-1 if i == j else 1 for j in range(len(axes))]).expand(shape) for i, x in enumerate(axes)]
    return tuple(transpose(x, 0, 1) if indexing == "xy" and len(axes) > 1 else x for x in grid)


def repeat(input: Any, *repeats: Any) -> Any:
    """The tensor laid side by side ``repeats`` times along each axis (NumPy's ``tile``).

    >>> import minidl
    >>> minidl.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    times = _sizes(repeats)
    if len(times) < input.ndim:
        raise ValueError(f"repeat: {times} has fewer entries than the tensor has axes ({input.ndim})")
    if any(n < 0 for n in times):
        raise ValueError(f"repeat: {times} has a negative number of times")
    shape = (1,) * (len(times) - input.ndim) + tuple(input.shape)
    # (1, n0, 1, n1, ...) stretched to (t0, n0, t1, n1, ...), then pairs of axes merged
    x = reshape(input, [v for n in shape for v in (1, n)])
    x = broadcast_to(x, tuple(v for t_, n in zip(times, shape) for v in (t_, n)))
    return reshape(x, [t_ * n for t_, n in zip(times, shape)])


def tile(input: Any, *dims: Any) -> Any:
    """As :func:`repeat`, missing leading entries counting as 1.

    >>> import minidl
    >>> minidl.tensor([[1, 2]]).tile(2)
    tensor([[1, 2, 1, 2]])
    """
    times = _sizes(dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def flip(input: Any, *dims: Any) -> Any:
    """Order reversed along ``dims``.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).flip(1)
    tensor([[2, 1],
            [4, 3]])
    """
    return _flip(as_operand(input), dims=normalise_dims(_sizes(dims), input.ndim))


def roll(input: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Any:
    """Elements moved by ``shifts`` along ``dims``, those that fall off come in at the other end.

    Without ``dims`` the tensor is rolled as a vector.

    >>> import minidl
    >>> minidl.tensor([1, 2, 3, 4]).roll(1)
    tensor([4, 1, 2, 3])
    """
    if dims is None:
        return reshape(roll(reshape(input, -1), shifts, 0), input.shape)
    shifts, axes = _sizes((shifts,)), _sizes((dims,))
    if len(shifts) != len(axes):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} dims")
    return _roll(input, shifts=shifts, dims=tuple(normalise_dim(d, input.ndim) for d in axes))


def _pieces(x: Any, lengths: tuple[int, ...], dim: int) -> tuple[Any, ...]:
    ends = list(itertools.accumulate(lengths))
    return tuple(x[(slice(None),) * dim + (slice(end - n, end),)] for n, end in zip(lengths, ends))


def _joined(gradients: Sequence[Any], pieces: Sequence[Any], dim: int) -> Any:
    """The gradients of all pieces in a row; a piece that nothing used has none and counts as zeros."""
    like = next(g for g in gradients if g is not None)
    zeros = functools.partial(like._xp.zeros, dtype=like.dtype)
    return cat([as_operand(zeros(p.shape)) if g is None else g for g, p in zip(gradients, pieces)], dim)


# one node for all pieces, so that a hundred of them cost one pass over the tensor in the backward pass, not a hundred
_split: Primitive = Primitive(
    "split",
    lambda x, *, lengths, dim: _pieces(x, lengths, dim),
    joint=vjp(lambda g, y, x, *, needs, lengths, dim: [_joined(g, y, dim)]),
    view=True,
)


def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """``length`` entries from ``start`` along ``dim``, a view.

    >>> import minidl
    >>> minidl.arange(6).narrow(0, 2, 3)
    tensor([2, 3, 4])
    """
    dim = normalise_dim(dim, input.ndim)
    if not 0 <= start <= input.shape[dim] or length < 0 or start + length > input.shape[dim]:
        raise IndexError(f"narrow: entries {start} to {start + length} of an axis of length {input.shape[dim]}")
    return input[(slice(None),) * dim + (slice(start, start + length),)]


def select(input: Any, dim: int, index: int) -> Any:
    """Entry ``index`` along ``dim``, which disappears; a view.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).select(1, 0)
    tensor([1, 3])
    """
    return input[(slice(None),) * normalise_dim(dim, input.ndim) + (index,)]


class _Joinable(NamedTuple):
    dim: int
    nothing: tuple[int, ...] | None  # what pieces of shape (0,) count as, where there are some


@remembered
def _joinable(shapes: Sequence[tuple[int, ...]], dim: int) -> _Joinable:
    """Along which axis tensors of these shapes are joined."""
    first = next((s for s in shapes if s != (0,)), shapes[0])
    dim = normalise_dim(dim, len(first))
    others = first[:dim] + first[dim + 1 :]
    nothing = None
    if len(first) > 1 and (0,) in shapes:
        nothing = (*first[:dim], 0, *first[dim + 1 :])
        shapes = [nothing if s == (0,) else s for s in shapes]
    for i, s in enumerate(shapes):
        if not s or s[:dim] + s[dim + 1 :] != others:
            listed = ", ".join(map(str, shapes))
            raise ValueError(
                f"cat along dim {dim}: all other lengths must agree, but tensor {i} does not fit: {listed}"
            )
    return _Joinable(dim, nothing)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors joined along an axis they have; all other lengths must agree.

    A piece of shape (0,) fits everywhere, as in PyTorch: a list that a loop fills may begin with an empty tensor.

    >>> import minidl
    >>> minidl.cat([minidl.ones(1, 2), minidl.zeros(1, 2)])
    tensor([[1., 1.],
            [0., 0.]])
    """
    parts = [as_operand(x) for x in tensors]
    if not parts:
        raise ValueError("cat needs at least one tensor")
    shapes = _joinable([p.shape for p in parts], dim)
    if shapes.nothing:
        parts = [p.reshape(shapes.nothing) if p.shape == (0,) else p for p in parts]
    if len({p.dtype for p in parts}) > 1:
        dtype = functools.reduce(np.promote_types, (p.dtype for p in parts))
        if dtype.kind == "f":  # integers and float32 stay float32
            dtype = functools.reduce(np.promote_types, (p.dtype for p in parts if p.dtype.kind == "f"))
        parts = [p.to(dtype) for p in parts]
    return _cat(*parts, dim=shapes.dim)


concat = concatenate = cat


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of one shape joined along a new axis.

    >>> import minidl
    >>> minidl.stack([minidl.tensor([1, 2]), minidl.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    parts = [as_operand(x) for x in tensors]
    shapes = {p.shape for p in parts}
    if len(shapes) != 1:
        raise ValueError(f"stack needs tensors of one shape, got {', '.join(str(p.shape) for p in parts) or 'none'}")
    return cat([unsqueeze(p, dim) for p in parts], normalise_dim(dim, parts[0].ndim + 1))


def split(input: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Pieces along ``dim``: of one size (the last may be smaller) or of the sizes given; views.

    >>> import minidl
    >>> minidl.arange(5).split(2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    >>> [part.shape for part in minidl.zeros(5, 2).split([1, 4])]
    [(1, 2), (4, 2)]
    """
    dim = normalise_dim(dim, input.ndim)
    n = input.shape[dim]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size <= 0:
            raise ValueError(f"split: the size must be positive, got {size}")
        lengths = [min(size, n - i) for i in range(0, n, size)] or [0]
    else:
        lengths = list(split_size_or_sections)
        if sum(lengths) != n or min(lengths, default=0) < 0:
            raise ValueError(f"split: the sizes {lengths} add up to {sum(lengths)}, the axis has {n}")
    return _split(input, lengths=tuple(lengths), dim=dim)


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most ``chunks`` pieces of equal size (the last may be smaller).

    >>> import minidl
    >>> minidl.arange(5).chunk(2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    n = input.shape[normalise_dim(dim, input.ndim)]
    if chunks < 1:
        raise ValueError(f"chunk: there must be a piece at least, not {chunks}")
    return split(input, max(1, -(-n // chunks)), dim)


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """All entries along ``dim`` as separate tensors.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).unbind()
    (tensor([1, 2]), tensor([3, 4]))
    """
    dim = normalise_dim(dim, input.ndim)
    return tuple(squeeze(piece, dim) for piece in split(input, 1, dim)) if input.shape[dim] else ()


def tril(input: Any, diagonal: int = 0) -> Any:
    """Lower triangle of (batches of) matrices, zero above ``diagonal``.

    >>> import minidl
    >>> minidl.ones(2, 3).tril()
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    from .elementwise import where

    return where(_below("tril", input, diagonal), input, 0).to(input.dtype)


def _below(op: str, x: Any, diagonal: int) -> Any:
    """True on and below the diagonal (rows, columns) of matrices x (..., rows, columns)."""
    if x.ndim < 2:
        raise ValueError(f"{op}: a tensor of shape {x.shape} holds no matrix, which takes two axes")
    return as_operand(x._xp.tri(*x.shape[-2:], diagonal, dtype=bool))


def triu(input: Any, diagonal: int = 0) -> Any:
    """Upper triangle of (batches of) matrices, zero below ``diagonal``.

    >>> import minidl
    >>> minidl.ones(2, 3).triu(1)
    tensor([[0., 1., 1.],
            [0., 0., 1.]])
    """
    from .elementwise import where

    return where(~_below("triu", input, diagonal - 1), input, 0).to(input.dtype)
