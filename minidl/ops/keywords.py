"""The other names under which PyTorch takes an argument, added to all public functions and methods in one place.

``axis`` is ``dim``, ``keepdims`` is ``keepdim``, and what a function takes as ``*dims`` may also come as ``dims=``.
``out=None`` is accepted, as NumPy gives it when ``np.sum(tensor)`` asks the tensor.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

_ALIASES = {"dim": "axis", "keepdim": "keepdims"}


@functools.cache  # so that a method and the function of its name stay one object
def with_torch_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with those other names, or itself where none applies.

    >>> import minidl
    >>> minidl.zeros(2, 3).sum(axis=1, keepdims=True).shape, minidl.zeros(2, 3).permute(dims=(1, 0)).shape
    ((2, 1), (3, 2))
    """
    parameters = inspect.signature(function).parameters
    aliases = {alias: name for name, alias in _ALIASES.items() if name in parameters}
    variadic = next((p.name for p in parameters.values() if p.kind is p.VAR_POSITIONAL), None)
    if not aliases and variadic is None:
        return function
    name = function.__name__

    @functools.wraps(function)
    def named(*args: Any, **options: Any) -> Any:
        if options:
            for alias in aliases.keys() & options.keys():
                if aliases[alias] in options:
                    raise TypeError(f"{name}: {alias} is another name of {aliases[alias]}: give one of them")
                options[aliases[alias]] = options.pop(alias)
            if variadic in options:
                args = (*args, options.pop(variadic))
            if options.pop("out", None) is not None:
                raise TypeError(f"{name}: out= is not taken: write the result into a tensor with copy_()")
        return function(*args, **options)

    if function.__module__.startswith("minidl.ops."):
        named.__module__ = "minidl.ops"  # where it can be found, for pickle
    return named
