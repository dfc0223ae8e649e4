"""Parameter: the tensor that a module owns and an optimiser changes."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that requires a gradient and that a :class:`~minidl.nn.Module` registers when it is assigned.

    ``data`` is a tensor (shared, not copied), or anything that :func:`minidl.tensor` takes (copied).  What is computed
    from a parameter is a plain :class:`~minidl.Tensor`.

    >>> import minidl
    >>> w = minidl.nn.Parameter([1.0, 2.0])
    >>> w
    Parameter containing:
    tensor([1., 2.], requires_grad=True)
    >>> type(w * 2).__name__
    'Tensor'
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        if isinstance(data, Tensor):
            super().__init__(())
            self._share(data)
        else:
            super().__init__(data)
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
