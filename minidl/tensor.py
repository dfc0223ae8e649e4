"""The Tensor: one array of NumPy or CuPy, a place in the graph, and PyTorch's names.

The mathematics lives in ``minidl.ops``; the methods here that only forward to it come from
``minidl.ops.methods``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, Literal

import numpy as np

from .autograd import tape
from .autograd.mode import MODE
from .autograd.tape import GraphError, Node, Storage
from .backend import Device, array_module, device, device_of, is_writeable, module_for, to_device
from .dtypes import as_dtype, get_default_dtype
from .ops.methods import TensorMethods
from .ops.views import assign_recorded


class HookHandle:
    """Returned by ``register_hook``; ``remove()`` takes the hook away again."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)
        self._hooks = []  # the same hook may be registered once more, by somebody else


class Tensor(TensorMethods):
    """An n-dimensional array that remembers how it was computed.

    Make one with :func:`minidl.tensor`, :func:`minidl.from_numpy`, :func:`minidl.zeros` and friends.

    Attributes: ``shape``, ``dtype``, ``device``, ``requires_grad``, ``grad`` (a tensor or None), ``is_leaf``.

    >>> import minidl
    >>> x = minidl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([[2., 4.],
            [6., 8.]])
    """

    __slots__ = (
        "__weakref__", "_array", "_hooks", "_index", "_node", "_requires_grad", "_storage", "grad", "name",
    )  # fmt: skip
    __array_priority__ = 1000  # so that ndarray * tensor asks the tensor
    __hash__ = object.__hash__  # by identity, although == compares elements

    _array: Any
    _node: Node | None
    _index: int
    _storage: Storage
    _requires_grad: bool
    _hooks: list[Callable[[Tensor], Tensor | None]] | None  # of a leaf, once it has one
    grad: Tensor | None
    name: str | None

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self._set(_as_array(data, None, None))
        if requires_grad:
            self.requires_grad_()

    def _set(self, array: Any, node: Node | None = None, index: int = 0, storage: Storage | None = None) -> None:
        # a reduction to one element gives a NumPy scalar, which cannot be written to
        self._array = np.asarray(array) if isinstance(array, np.generic) else array
        self._node = node
        self._index = index
        self._storage = Storage() if storage is None else storage
        self._requires_grad = False
        self._hooks = None
        self.grad = None
        self.name = None

    @classmethod
    def _wrap(cls, array: Any, node: Node | None = None, index: int = 0, storage: Storage | None = None) -> Tensor:
        """A tensor around ``array`` itself, no copy and no checks: for our own code."""
        self = object.__new__(Tensor)
        self._set(array, node, index, storage)
        return self

    # ---- what it is ------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def device(self) -> Device:
        return device_of(self._array)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def _xp(self) -> ModuleType:
        return array_module(self._array)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or its entry ``dim``."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of dimensions."""
        return self.ndim

    def numel(self) -> int:
        """Number of elements."""
        return int(self._array.size)

    def element_size(self) -> int:
        """Bytes of one element."""
        return int(self._array.itemsize)

    def is_floating_point(self) -> bool:
        return self._array.dtype.kind == "f"

    def stride(self, dim: int | None = None) -> Any:
        """How many elements apart neighbours along each axis (or along ``dim``) lie in memory."""
        strides = tuple(s // self._array.itemsize for s in self._array.strides)
        return strides if dim is None else strides[dim]

    def is_contiguous(self) -> bool:
        """Whether the elements lie in C order without gaps."""
        return bool(self._array.flags.c_contiguous)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a tensor of a single number has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("cannot iterate over a tensor of a single number")
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(
                f"a tensor of shape {self.shape} is neither true nor false: use .any() or .all(), or compare shapes"
            )
        return bool(self._array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iub" or self.numel() != 1:
            raise TypeError(f"only an integer tensor of one element can be an index, not {self.dtype} {self.shape}")
        return int(self._array.item())

    def __contains__(self, value: Any) -> bool:
        return bool((self._array == (value._array if isinstance(value, Tensor) else value)).any())

    def __repr__(self) -> str:
        array = to_device(self._array, device("cpu"))
        text = np.array2string(array, separator=", ", precision=4, suppress_small=False, prefix="tensor(")
        extra = ""
        usual = (get_default_dtype(), np.dtype("int64"), np.dtype("bool"))
        if self.dtype not in usual or array.size == 0:
            extra += f", dtype={self.dtype}"
        if array.size == 0 and array.shape != (0,):
            extra += f", size={self.shape}"
        if self.is_cuda:
            extra += f", device='{self.device}'"
        if self._node is not None:
            extra += f", grad_fn=<{self._node.name}>"
        elif self._requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({text}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.numel() == 1 else format(repr(self), spec)

    # ---- its place in the graph ------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad or self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask (or stop asking) for the gradient with respect to this leaf; returns self."""
        if self._node is not None:
            if not requires_grad:
                raise GraphError("only a leaf can stop requiring a gradient; use .detach() for a computed tensor")
            return self
        if requires_grad and not self.is_floating_point():
            raise GraphError(f"only floating-point tensors can require a gradient, not {self.dtype}")
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """Made by the user (or detached), not computed from something that requires a gradient."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The node that computed this tensor."""
        return self._node

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf; see :func:`minidl.autograd.backward`."""
        from .autograd.engine import backward

        backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """The same values and memory without the history.

        What is written to either of them appears in both, and is seen by the graph's guard.  Only a recorded write to
        the detached tensor is refused while the other has a history: that would no longer fit its values.
        """
        detached = Tensor._wrap(self._array)
        detached._share(self)
        return detached

    def detach_(self) -> Tensor:
        """Forget this tensor's own history, it becomes a leaf that requires no gradient; returns self.

        Not while other tensors see the same memory: their history would remain.
        """
        if len(self._storage.views()) > 1:
            raise GraphError("detach_() of a tensor whose memory other tensors see: use detach()")
        self._node, self._index, self._requires_grad = None, 0, False
        return self

    def _share(self, other: Tensor) -> None:
        """Take the memory of ``other``, but not its history."""
        self._array, self._storage = other._array, other._storage
        self._storage.lineage(other)
        self._storage.join(self, object())

    @property
    def data(self) -> Tensor:
        """As :meth:`detach`.  Unlike PyTorch's ``.data``, writing through it is noticed by a graph that needs it."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        self._share(value)

    def retain_grad(self) -> None:
        """Keep the gradient of this computed tensor in ``.grad`` too, as its hooks leave it (leaves always do)."""
        if not self.requires_grad:
            raise GraphError("retain_grad() needs a tensor that requires a gradient")
        if self._node is not None:
            self._node.retained[self._index] = weakref.ref(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call ``hook(gradient)`` when this tensor's gradient is known; what it returns (unless None) replaces it."""
        if not self.requires_grad:
            raise GraphError("a hook needs a tensor that requires a gradient")
        if self._node is not None:
            hooks = self._node.hooks.setdefault(self._index, [])
        else:
            hooks = self._hooks = self._hooks or []
        hooks.append(hook)
        return HookHandle(hooks, hook)

    # ---- to and from other worlds ----------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The array itself, without a copy (a CUDA tensor is copied to the host).

        The view is read-only while the tensor requires a gradient or a live graph still needs the values, so
        that nobody can spoil a gradient unnoticed; ``t.numpy().copy()`` is always writable.  ``force`` changes nothing.
        """
        if array_module(self._array) is not np:
            return to_device(self._array, device("cpu"))
        view = self._array.view()
        if self.requires_grad or self._storage.readers:
            view.setflags(write=False)
        else:
            self._storage.escape()
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"a copy is needed to change {array.dtype} to {np.dtype(dtype)}")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """NumPy asks this for the result of its functions: an array, unless that would lose a gradient."""
        if any(isinstance(v, Tensor) and v.requires_grad for v in (self, *(context[1] if context else ()))):
            name = f"np.{context[0].__name__}" if context else "this function of NumPy"
            raise GraphError(
                f"{name} of a tensor that requires a gradient would drop the gradient: use the function of minidl, or "
                "give it t.detach()"
            )
        return array[()] if return_scalar else array

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("a tensor that requires a gradient cannot be exported: use .detach() first")
        self._storage.escape()
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def item(self) -> Any:
        """The single number in this tensor as a Python number."""
        if self.numel() != 1:
            raise ValueError(f"item() needs a tensor of one element, this one has shape {self.shape}")
        return self._array.item()

    def tolist(self) -> Any:
        """Nested Python lists (or a number)."""
        return self._array.tolist()

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def cuda(self, device: Any = 0) -> Tensor:
        return self.to(Device("cuda", device) if isinstance(device, int) else device)

    # ---- writing in place ------------------------------------------------------------------------------

    def _assign(self, new: Tensor) -> Tensor:
        """Make this tensor hold the value of ``new``, which has its shape; the end of every in-place operation.

        Recorded, the assignment is functional: this tensor (and every live view of the same memory) takes a new array
        and history, the old array stays as it is for whoever still needs it.  Not recorded, the memory itself is
        written, and its version counted.
        """
        if new.shape != self.shape:
            raise ValueError(f"an in-place operation cannot change the shape from {self.shape} to {new.shape}")
        if not np.can_cast(new.dtype, self.dtype, "same_kind"):
            raise TypeError(f"an in-place operation cannot turn {self.dtype} into {new.dtype}")
        if MODE.recording and (new.requires_grad or self.requires_grad):
            if new._storage is self._storage:
                new = new.clone()
            new = new.to(self.dtype)
            assign_recorded(self, new)
        elif not is_writeable(self._array):
            raise ValueError(
                f"this tensor of shape {self.shape} cannot be written to in place: it is an expanded view (many "
                "elements in one place) or shares read-only memory; write into a copy, x.clone()"
            )
        else:
            self._xp.copyto(self._array, new._array, casting="same_kind")
            self._storage.version += 1
        return self

    def copy_(self, src: Any, non_blocking: bool = False) -> Tensor:
        """Overwrite with ``src`` (broadcast to this shape); ``non_blocking`` changes nothing."""
        source = src if isinstance(src, Tensor) else Tensor._wrap(self._xp.asarray(src, self.dtype))
        return self._assign(source.to(self.device).expand(self.shape))

    def fill_(self, value: float) -> Tensor:
        """Overwrite every element with ``value``."""
        return self._assign(Tensor._wrap(self._xp.full(self.shape, value, self.dtype)))

    def zero_(self) -> Tensor:
        return self.fill_(0)

    def add_(self, other: Any, *, alpha: float = 1) -> Tensor:
        return self._assign(self + (other if alpha == 1 else other * alpha))

    def sub_(self, other: Any, *, alpha: float = 1) -> Tensor:
        return self._assign(self - (other if alpha == 1 else other * alpha))

    def mul_(self, other: Any) -> Tensor:
        return self._assign(self * other)

    def div_(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        return self._assign(self.div(other, rounding_mode=rounding_mode))

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        return self._assign(self.clamp(min, max))

    def pow_(self, exponent: Any) -> Tensor:
        return self._assign(self**exponent)

    def masked_fill_(self, mask: Any, value: Any) -> Tensor:
        return self._assign(self.masked_fill(mask, value))

    def __iadd__(self, other: Any) -> Tensor:  # type: ignore[misc,override]
        return self._assign(self + other)

    def __isub__(self, other: Any) -> Tensor:  # type: ignore[misc,override]
        return self._assign(self - other)

    def __imul__(self, other: Any) -> Tensor:  # type: ignore[misc,override]
        return self._assign(self * other)

    def __itruediv__(self, other: Any) -> Tensor:  # type: ignore[misc,override]
        return self._assign(self / other)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GraphError("only leaves can be copied deeply; detach() the tensor first")
        new = type(self)._from_leaf(self._array.copy(), self._requires_grad)
        new.grad = None if self.grad is None else self.grad.detach().clone()
        new.name = self.name
        memo[id(self)] = new
        return new

    @classmethod
    def _from_leaf(cls, array: Any, requires_grad: bool) -> Tensor:
        new = object.__new__(cls)
        new._set(array)
        new._requires_grad = requires_grad
        return new

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise GraphError("only leaves can be pickled; detach() the tensor first")
        return type(self)._from_leaf, (to_device(self._array, device("cpu")), self._requires_grad)


def _check_dtype(dtype: np.dtype, source: str) -> None:
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise TypeError(f"a tensor holds real numbers of at most 64 bits, integers or booleans, not {dtype}{source}")


def _as_array(data: Any, dtype: Any, target: Device | None) -> Any:
    """``data`` as an array of its own (never a view of the caller's)."""
    if isinstance(data, Tensor):
        data = data._array
    wanted = None if dtype is None else as_dtype(dtype)
    xp = array_module(data)
    if isinstance(data, (np.ndarray, np.generic)) or xp is not np:
        stays = target is None or device_of(data) == target
        array = xp.array(data, dtype=wanted, copy=True if stays else None)  # going elsewhere is a copy
    else:
        try:
            array = np.array(data, dtype=wanted)
        except OverflowError as error:
            most = np.iinfo(wanted or np.int64)
            raise OverflowError(
                f"tensor: not all of these numbers fit into {most.dtype} ({most.min} to {most.max})"
            ) from error
        except ValueError as error:
            if "inhomogeneous" not in str(error):
                raise
            raise ValueError(f"tensor: the lists that stand beside each other must have one length: {error}") from error
        if wanted is None and array.dtype == np.uint64:
            raise OverflowError(f"tensor: {array.max()} does not fit into int64, which ends at 2**63 - 1")
        if wanted is None and array.dtype == np.float64:
            array = array.astype(get_default_dtype())  # Python floats take the default dtype
    _check_dtype(array.dtype, f" (from {type(data).__name__})")
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return array if target is None else to_device(array, target)


def tensor(data: Any, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """A new leaf tensor with a copy of ``data`` (numbers, nested lists, arrays).

    Python floats become the default dtype (float32), Python integers int64; arrays keep their dtype.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    >>> minidl.tensor([1.5]).dtype
    dtype('float32')
    """
    from .backend import device as parse

    return Tensor._from_leaf(_as_array(data, dtype, None if device is None else parse(device)), False).requires_grad_(
        requires_grad
    )


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares memory with ``array`` (NumPy or CuPy), writes through either are seen by both.

    >>> import minidl
    >>> import numpy as np
    >>> array = np.zeros(2)
    >>> x = minidl.from_numpy(array)
    >>> x[0] = 3
    >>> array
    array([3., 0.])
    """
    if isinstance(array, Tensor):
        raise TypeError("from_numpy takes an array; this is a tensor already")
    _check_dtype(array.dtype, "")
    if not array.dtype.isnative:
        raise TypeError(
            f"from_numpy shares memory, but {array.dtype.str} has the other byte order than this machine: copy it with "
            "minidl.tensor(array)"
        )
    result = Tensor._wrap(array)
    result._storage.escaped = True
    return result


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares memory with any object that speaks DLPack (torch, NumPy, CuPy, JAX); else TypeError.

    >>> shared = np.zeros(2, np.float32)
    >>> from_dlpack(shared)[0] = 7.0
    >>> shared
    array([7., 0.], dtype=float32)
    """
    if not hasattr(source, "__dlpack_device__"):
        raise TypeError(
            f"from_dlpack takes an array of another library that speaks DLPack, not {type(source).__name__}: "
            "minidl.tensor() takes numbers and nested lists"
        )
    kind = source.__dlpack_device__()[0]
    return from_numpy(module_for(device("cpu" if kind == 1 else "cuda")).from_dlpack(source))


def as_tensor(data: Any, dtype: Any = None, device: str | Device | None = None) -> Tensor:
    """``data`` as a tensor, without a copy where that is possible.

    >>> import minidl
    >>> x = minidl.as_tensor([[1, 2], [3, 4]], dtype="float32")
    >>> minidl.as_tensor(x) is x, x.dtype
    (True, dtype('float32'))
    """
    if isinstance(data, Tensor):
        result = data
    elif isinstance(data, np.ndarray) or array_module(data) is not np:
        result = from_numpy(data)
    else:
        result = tensor(data, dtype)
    if dtype is not None:
        result = result.to(dtype)
    return result if device is None else result.to(device)


tape.Tensor = Tensor  # type: ignore[misc]

Reduction = Literal["none", "mean", "sum"]
