"""Reading and writing by index, all differentiable: basic and advanced indexing, gather, scatter, masks.

Reading is a gather, its gradient a scatter-add, and the other way round: each pair below is a map and its
transpose, so second derivatives need no rules of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.tape import Primitive, vjp
from ..backend import CPU, DeviceError, array_module, device_of, to_device
from ..dtypes import int64
from ..kernels.errors import ShapeError
from ._common import as_operand, broadcast_to, is_tensor, normalise_dim, sum_to
from ._index_errors import explained
from .elementwise import where


def _plain(index: Any) -> Any:
    """An index without tensors, lists as integer arrays, checked for dtype."""
    if isinstance(index, tuple):
        return tuple(_plain(i) for i in index)
    if is_tensor(index):
        if index.dtype.kind not in "iub":
            raise IndexError(f"an index must be integers or booleans, not {index.dtype}")
        # uint8 is an integer index here; PyTorch's old habit of reading it as a mask is a trap
        if not index.ndim and index.dtype.kind != "b":
            return index.item()
        return index._array.copy()  # a gradient rule reads it later, whatever happens to the tensor
    if isinstance(index, np.ndarray) or array_module(index) is not np:
        return _plain(as_operand(index))
    if isinstance(index, list):
        try:
            array = np.asarray(index)
        except ValueError:
            raise IndexError(f"lists in an index must have one length at each depth, not {index!r}") from None
        if array.size == 0:
            array = array.astype(int64)
        if array.dtype.kind not in "iub":
            raise IndexError(f"an index must be integers or booleans, not a list of {array.dtype}")
        return array
    return index


def _beside(index: Any, x: Any) -> Any:
    """A plain index with its arrays where the tensor ``x`` lies; those of another device are refused."""
    if isinstance(index, tuple):
        return tuple(_beside(i, x) for i in index)
    if not hasattr(index, "dtype") or not index.ndim or device_of(index) == x.device:
        return index
    if x.device == CPU:
        raise DeviceError(
            f"an index on {device_of(index)} cannot read a tensor on cpu: bring it there with index.cpu(), or the "
            f"tensor with .to({str(device_of(index))!r})"
        )
    return to_device(index, x.device)


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None or p is Ellipsis or (isinstance(p, (slice, int, np.integer)) and not isinstance(p, bool))
        for p in parts
    )


_getitem: Primitive = Primitive(
    "getitem",
    lambda x, *, index: _read(x, index),
    vjp(lambda g, y, x, *, index: _put_add(g, index=index, shape=x.shape)),
    view=True,
)
_put_add: Primitive = Primitive(
    "put_add",
    lambda g, *, index, shape: _scatter_zeros(g, index, shape),
    vjp(lambda u, y, g, *, index, shape: _getitem(u, index=index)),
)


def _phases(index: Any, ndim: int) -> tuple[Any, Any]:
    """``x[index]`` as ``x[basic][advanced]`` (advanced may be None), where ``x[basic]`` is always a view.

    A whole number takes its axis away before the arrays are looked at, as in PyTorch: ``x[0, :, [1, 1]]`` has the axes
    of ``x[0][:, [1, 1]]``, where NumPy would count the number among the arrays and move their axis to the front.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if _is_basic(index):  # with an Ellipsis a single element comes as a view too, not as a scalar of its own
        return (parts if any(p is Ellipsis for p in parts) else (*parts, Ellipsis)), None
    if not any(_is_number(p) for p in parts):
        return (Ellipsis,), index
    used = sum(p.ndim if isinstance(p, np.ndarray) and p.dtype == bool else 1 for p in parts if not _takes_none(p))
    basic: list[Any] = []
    advanced: list[Any] = []
    for p in parts:
        if p is Ellipsis:
            fill = [slice(None)] * (ndim - used)
            basic, advanced = basic + fill, advanced + fill
        elif _is_number(p):
            basic.append(p)
        elif isinstance(p, slice) or p is None:
            basic.append(p)
            advanced.append(slice(None))
        else:
            basic += [slice(None)] * (p.ndim if p.dtype == bool else 1)
            advanced.append(p)
    return (*basic, Ellipsis), tuple(advanced)


def _is_number(part: Any) -> bool:
    return isinstance(part, (int, np.integer)) and not isinstance(part, bool)


def _takes_none(part: Any) -> bool:
    """Whether an entry of an index uses up no axis."""
    return part is None or part is Ellipsis or isinstance(part, bool)


def _read(x: Any, index: Any) -> Any:
    try:
        basic, advanced = _phases(index, x.ndim)
        return x[basic] if advanced is None else x[basic][advanced]
    except (IndexError, TypeError, ValueError, AttributeError) as error:
        raise explained(error, x.shape, index) from None


def _scatter_zeros(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with ``g`` added at ``index``; an entry named twice receives both."""
    return _add_at(array_module(g).zeros(shape, g.dtype), g, index)


def _add_at(out: Any, g: Any, index: Any) -> Any:
    basic, advanced = _phases(index, out.ndim)
    view = out[basic]
    if advanced is None:
        view += g  # no entry can be named twice
    else:
        array_module(out).add.at(view, advanced, g)
    return out


def getitem(input: Any, index: Any) -> Any:
    """``input[index]`` with NumPy's rules; slices give views."""
    return _getitem(input, index=_beside(_plain(index), input))


def _same_place(a: Any, b: Any) -> bool:
    """Whether two arrays are the same elements in memory."""
    if array_module(a) is not np or a.shape != b.shape or a.strides != b.strides or a.dtype != b.dtype:
        return False
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0]


_index_put: Primitive = Primitive(
    "index_put",
    lambda x, value, *, index: _put(x, value, index),
    vjp(lambda g, y, x, value, *, index: _index_put(g, 0.0, index=index)),
    vjp(lambda g, y, x, value, *, index: sum_to(_getitem(g, index=index), value)),
)


def _put(x: Any, value: Any, index: Any) -> Any:
    return _write(x.copy(), value, index)


def _write(out: Any, value: Any, index: Any) -> Any:
    try:
        basic, advanced = _phases(index, out.ndim)
        if advanced is None:
            out[basic] = value
        else:
            out[basic][advanced] = value
    except (IndexError, TypeError, ValueError, AttributeError) as error:
        raise explained(error, out.shape, index) from None
    return out


def put_add(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with ``g`` added at ``index``: the transpose of reading there."""
    return _put_add(g, index=_beside(index, g), shape=tuple(shape))


def put_flat(x: Any, value: Any, places: Any) -> Any:
    """A copy of the vector ``x`` with ``value`` at ``places``."""
    return _index_put(x, value, index=_beside((places,), x))


def setitem(input: Any, index: Any, value: Any) -> None:
    """``input[index] = value``: written in place, or differentiably where the operation is recorded.

    An entry named more than once keeps one of the values (the last in NumPy's order); its gradient is that of all.
    """
    from ..autograd.mode import MODE

    index = _beside(_plain(index), input)
    value = as_operand(value)
    if is_tensor(value):
        value = value.to(input.dtype).to(input.device)
        there = _read(input._array, index)
        if _same_place(there, value._array):
            return  # the end of x[i] += 1, which wrote through the view x[i]
        while value.ndim > there.ndim and value.shape[0] == 1:
            value = value.squeeze(0)
        if value.shape != there.shape:
            _check_fits(value.shape, there.shape)
    if MODE.recording and (input.requires_grad or (is_tensor(value) and value.requires_grad)):
        input._assign(_index_put(input, value, index=index))
    else:
        _write(input._array, value._array if is_tensor(value) else value, index)
        input._storage.version += 1


def _check_fits(value: tuple[int, ...], place: tuple[int, ...]) -> None:
    if len(value) > len(place) or any(m not in (1, n) for m, n in zip(reversed(value), reversed(place))):
        raise ShapeError(
            f"values of shape {tuple(value)} do not fit the place of shape {tuple(place)} that they are written to: "
            "lined up at their last axes, each length must be 1 or the place's"
        )


# ---- one index per output element, along one axis ------------------------------------------------------------


def _axis_index(index: Any, dim: int) -> tuple[Any, ...]:
    """The advanced index that reads ``x`` along ``dim`` at ``index`` and elsewhere at the own position."""
    xp = array_module(index)
    grid = list(xp.meshgrid(*(xp.arange(n) for n in index.shape), indexing="ij", sparse=True)) if index.ndim else []
    if grid:
        grid[dim] = index
    return tuple(grid) if grid else (index,)


def _checked_index(name: str, input: Any, dim: int, index: Any) -> tuple[int, Any]:
    dim = normalise_dim(dim, input.ndim)
    array = _beside(_plain(index), input)
    if array.dtype.kind not in "iu":
        raise IndexError(f"{name}: the index must be integers, not {array.dtype}")
    if array.ndim != input.ndim:
        raise IndexError(f"{name}: the index has {array.ndim} dimensions, the input {input.ndim}: they must agree")
    n = input.shape[dim]
    low, high = extremes(array)
    if low < 0 or high >= n:
        raise IndexError(f"{name}: index values {low} to {high} on an axis of length {n} (0 to {n - 1})")
    for axis, (a, b) in enumerate(zip(array.shape, input.shape)):
        if axis != dim and a > b:
            raise IndexError(f"{name}: the index {array.shape} is longer than the input {input.shape} on axis {axis}")
    return dim, array


def gather(input: Any, dim: int, index: Any) -> Any:
    """``out[i][j][k] = input[index[i][j][k]][j][k]`` for ``dim=0``, and so on for the other axes.

    The result has the shape of ``index`` (integers); IndexError where an entry is no place of the axis.

    >>> import minidl
    >>> x = minidl.tensor([[1, 2], [3, 4]])
    >>> x.gather(1, minidl.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    if not input.ndim:
        return gather(input.reshape(1), dim, as_operand(index).reshape(1)).reshape(())
    dim, array = _checked_index("gather", input, dim, index)
    return getitem(input, _axis_index(array, dim))


def take_along(input: Any, dim: int, index: Any) -> Any:
    """:func:`gather` with an index that is known to be right: nothing is looked at."""
    return getitem(input, _axis_index(index._array, dim))


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """As :func:`gather`, with the other axes of ``indices`` broadcast; without ``dim`` both are taken as vectors.

    >>> import minidl
    >>> x = minidl.tensor([[3, 1], [2, 4]])
    >>> x.take_along_dim(x.argsort(1), 1)
    tensor([[1, 3],
            [2, 4]])
    """
    if dim is None:
        return take_along_dim(input.reshape(-1), as_operand(indices).reshape(-1), 0)
    dim = normalise_dim(dim, input.ndim)
    array = _plain(indices)
    shape = list(np.broadcast_shapes(
        tuple(1 if i == dim else n for i, n in enumerate(input.shape)),
        tuple(1 if i == dim else n for i, n in enumerate(array.shape)),
    ))  # fmt: skip
    shape[dim] = array.shape[dim]
    return gather(input, dim, as_operand(array_module(array).broadcast_to(array, tuple(shape))))


_scatter_add_primitive: Primitive = Primitive(
    "scatter_add",
    lambda x, src, *, index: _added(x, src, index),
    vjp(lambda g, y, x, src, *, index: g),
    vjp(lambda g, y, x, src, *, index: sum_to(_getitem(g, index=index), src)),
)


def _added(x: Any, src: Any, index: Any) -> Any:
    return _add_at(x.copy(), src, index)


def _source(src: Any, index: Any) -> Any:
    """The part of ``src`` that the index covers."""
    if not is_tensor(src):
        return src
    return src[tuple(slice(0, n) for n in index.shape)]


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """``out[index[i][j]][j] += src[i][j]`` for ``dim=0``: the transpose of :func:`gather`.

    >>> import minidl
    >>> minidl.zeros(3).scatter_add(0, minidl.tensor([0, 2, 0]), minidl.tensor([1.0, 2.0, 3.0]))
    tensor([4., 0., 2.])
    """
    dim, array = _checked_index("scatter_add", input, dim, index)
    return _scatter_add_primitive(input, _source(src, array), index=_axis_index(array, dim))


def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Any:
    """``out[index[i][j]][j] = src[i][j]`` for ``dim=0``; a number may come as ``src`` or ``value``.

    Index values should be distinct, unless ``reduce="add"`` adds to what is there.

    >>> import minidl
    >>> minidl.zeros(2, 3).scatter(1, minidl.tensor([[2], [0]]), 1.0)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if (src is None) == (value is None):
        raise TypeError("scatter needs either src or value")
    if reduce not in (None, "add"):
        raise ValueError(f"scatter: reduce is None or 'add', not {reduce!r}")
    src = value if src is None else src
    dim, array = _checked_index("scatter", input, dim, index)
    if reduce == "add":
        src = src if is_tensor(src) else as_operand(input._xp.full(array.shape, src, input.dtype))
        return scatter_add(input, dim, index, src)
    return _index_put(input, _source(src, array), index=_axis_index(array, dim))


def extremes(array: Any) -> tuple[int, int]:
    """The smallest and the largest of integers (0 and -1 of none), read from a device in one go."""
    if not array.size:
        return 0, -1
    low, high = array.min(), array.max()
    xp = array_module(array)
    return (int(low), int(high)) if xp is np else tuple(xp.stack([low, high]).tolist())


def _one_axis(index: Any) -> Any:
    """Whole numbers, or a tensor of them, as an index of one axis."""
    array = _plain(index) if is_tensor(index) else _plain(list(index))
    return array if hasattr(array, "ndim") else np.asarray(array)


def index_select(input: Any, dim: int, index: Any) -> Any:
    """The entries ``index`` (1-d) along ``dim``; entries may repeat.

    The result has ``len(index)`` entries along ``dim``; IndexError where one is no place of the axis.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).index_select(1, minidl.tensor([1, 1, 0]))
    tensor([[2, 2, 1],
            [4, 4, 3]])
    """
    dim = normalise_dim(dim, input.ndim)
    array = _one_axis(index)
    if array.ndim > 1:
        raise IndexError(f"index_select: the index must have one dimension, not shape {array.shape}")
    n = input.shape[dim]
    low, high = extremes(array)
    if low < -n or high >= n:
        raise IndexError(f"index_select: index {high} on an axis of length {n}")
    return getitem(input, (slice(None),) * dim + (array.reshape(-1),))


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """``input`` with the entries of ``source`` added at ``index`` along ``dim``; repeated entries add up.

    >>> import minidl
    >>> minidl.zeros(3).index_add(0, minidl.tensor([0, 0, 2]), minidl.tensor([1.0, 2.0, 3.0]))
    tensor([3., 0., 3.])
    """
    dim = normalise_dim(dim, input.ndim)
    array = _one_axis(index)
    needed = (*input.shape[:dim], array.size, *input.shape[dim + 1 :])
    if source.shape != needed:
        raise ValueError(
            f"index_add: {array.size} indices along dim {dim} of {input.shape} need a source of {needed}, not "
            f"{source.shape}"
        )
    where_to = _beside((slice(None),) * dim + (array.reshape(-1),), input)
    return _scatter_add_primitive(input, source if alpha == 1 else source * alpha, index=where_to)


def index_put(input: Any, indices: tuple[Any, ...], values: Any, accumulate: bool = False) -> Any:
    """A copy of ``input`` with ``values`` at ``indices`` (added there if ``accumulate``).

    >>> import minidl
    >>> minidl.zeros(2, 2).index_put((minidl.tensor([0, 1]), minidl.tensor([1, 0])), minidl.tensor([5.0, 6.0]))
    tensor([[0., 5.],
            [6., 0.]])
    """
    primitive = _scatter_add_primitive if accumulate else _index_put
    return primitive(input, as_operand(values), index=_beside(_plain(tuple(indices)), input))


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """``value`` where ``mask`` is true, ``input`` elsewhere.

    >>> import minidl
    >>> x = minidl.tensor([1, -2, 3])
    >>> x.masked_fill(x < 0, 0)
    tensor([1, 0, 3])
    """
    x = as_operand(input)
    return where(mask, as_operand(value).to(x.dtype) if is_tensor(value) else value, x).to(x.dtype)


def masked_select(input: Any, mask: Any) -> Any:
    """The elements of ``input`` where ``mask`` (broadcast) is true, as a vector in row-major order.

    >>> import minidl
    >>> x = minidl.tensor([[1, -2], [3, -4]])
    >>> x.masked_select(x > 0)
    tensor([1, 3])
    """
    shape = np.broadcast_shapes(input.shape, mask.shape)
    return getitem(broadcast_to(input, shape), broadcast_to(as_operand(mask), shape))


# ---- order ---------------------------------------------------------------------------------------------------


def _order(x: Any, axis: int, descending: bool) -> Any:
    """Stable order, also among equals when descending; NaN counts as the largest."""
    xp = array_module(x)
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    backwards = xp.flip(x, axis)
    order = xp.argsort(backwards, axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis)


_argsort: Primitive = Primitive("argsort", lambda x, *, axis, descending: _order(x, axis, descending))


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Indices that sort along ``dim``; always stable, whatever ``stable`` says.

    >>> import minidl
    >>> minidl.tensor([3, 1, 2]).argsort(), minidl.tensor([3, 1, 2]).argsort(descending=True)
    (tensor([1, 2, 0]), tensor([0, 2, 1]))
    """
    if not input.ndim:
        return as_operand(input._xp.zeros((), int64))
    return _argsort(input, axis=normalise_dim(dim, input.ndim), descending=descending)


def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Values in order along ``dim``, and the indices they had.

    >>> import minidl
    >>> values, indices = minidl.tensor([3, 1, 2]).sort()
    >>> values, indices
    (tensor([1, 2, 3]), tensor([1, 2, 0]))
    """
    from .reduction import ValuesIndices

    if not input.ndim:
        return ValuesIndices(input.clone(), argsort(input, dim))
    indices = argsort(input, dim, descending)
    return ValuesIndices(take_along_dim(input, indices, dim), indices)


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The ``k`` largest (or smallest) along ``dim`` in order, and their indices; of equals the first come first.

    ValueError where the axis has fewer than ``k``.

    >>> import minidl
    >>> values, indices = minidl.tensor([3, 1, 2]).topk(2)
    >>> values, indices
    (tensor([3, 2]), tensor([0, 2]))
    """
    from .reduction import ValuesIndices

    n = input.shape[normalise_dim(dim, input.ndim)]
    if not 0 <= k <= n:
        raise ValueError(f"topk: k = {k} of an axis of length {n}")
    indices = argsort(input, dim, descending=largest).narrow(dim, 0, k)
    return ValuesIndices(take_along_dim(input, indices, dim), indices)


def nonzero(input: Any, as_tuple: bool = False) -> Any:
    """Indices of the elements that are not zero: (count, ndim), or one tensor for each axis.

    >>> import minidl
    >>> minidl.tensor([[0, 5], [7, 0]]).nonzero()
    tensor([[0, 1],
            [1, 0]])
    """
    if not input.ndim:
        raise ValueError("nonzero: a tensor without axes has no indices; give it one with x.reshape(1)")
    found = [as_operand(i) for i in input._xp.nonzero(input._array)]
    if as_tuple:
        return tuple(found)
    from .shape import stack

    return stack(found, 1)


def one_hot(input: Any, num_classes: int = -1) -> Any:
    """Class numbers (any shape) to rows of 0 and 1 of length ``num_classes`` (default: the largest plus one), int64.

    Shape (*) -> (*, num_classes).  TypeError where the numbers are no integers, ValueError where one is no class.

    >>> import minidl
    >>> minidl.nn.functional.one_hot(minidl.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    x = as_operand(input)
    if x.dtype.kind not in "iu":
        raise TypeError(f"one_hot needs integer class numbers, got {x.dtype}")
    low, top = extremes(x._array)
    classes = top + 1 if num_classes < 0 else num_classes
    if low < 0 or top >= classes:
        raise ValueError(f"one_hot: class numbers {low} to {top} do not lie in 0 to {classes - 1}")
    return as_operand((x._array[..., None] == x._xp.arange(classes)).astype(int64))
