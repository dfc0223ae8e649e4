"""Reading and writing the state of a module: names to tensors, in PyTorch's naming and order."""

from __future__ import annotations

import difflib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..autograd.mode import no_grad
from ..backend import array_module
from ..ops import empty_like
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

_LISTED = 20  # names of each kind in a message; the exception's attributes hold all of them


class IncompatibleKeys(NamedTuple):
    """What :meth:`Module.load_state_dict` found: names it missed, and names it had no place for.

    >>> import minidl
    >>> keys = minidl.nn.Linear(2, 3).load_state_dict({"weight": minidl.zeros(3, 2)}, strict=False)
    >>> keys.missing_keys, keys.unexpected_keys
    (['bias'], [])
    """

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateDictError(RuntimeError):
    """A state dict that does not fit; nothing was loaded.  Attributes: missing_keys, unexpected_keys, mismatched_keys.

    The message is ``problem``, then advice for whoever has called ``load_state_dict``.

    >>> import minidl
    >>> try:
    ...     minidl.nn.Linear(2, 3).load_state_dict({"weight": minidl.zeros(3, 2)})
    ... except minidl.nn.StateDictError as error:
    ...     print(error.missing_keys)
    ['bias']
    """

    def __init__(
        self, problem: str, missing: list[str], unexpected: list[str], mismatched: list[str], advice: str = ""
    ) -> None:
        super().__init__(problem + advice)
        self.problem = problem
        self.missing_keys, self.unexpected_keys, self.mismatched_keys = missing, unexpected, mismatched


def entries(module: Module, prefix: str = "") -> Iterator[tuple[str, Tensor, bool]]:
    """(name, tensor, optional) of all parameters and persistent buffers, in PyTorch's order."""
    for name, tensor in itertools.chain(module._parameters.items(), module._buffers.items()):
        if tensor is not None and name not in module._non_persistent_buffers:
            yield prefix + name, tensor, name in module._optional_state
    for name, child in module._modules.items():
        if child is not None:
            yield from entries(child, f"{prefix}{name}.")


def state_dict(module: Module, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
    """Parameters and persistent buffers by their names: ``Module.state_dict``."""
    return OrderedDict((name, t if keep_vars else t.detach()) for name, t, _ in entries(module, prefix))


def load_state_dict(module: Module, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
    """Copy arrays into parameters and buffers by their names: ``Module.load_state_dict``."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"load_state_dict needs a mapping from names to arrays, got {type(state).__name__}; read a file first, "
            "for example with minidl.io.load_weights(path)"
        )
    own = {name: tensor for name, tensor, _ in entries(module)}
    optional = {name for name, _, may_miss in entries(module) if may_miss}
    missing = [name for name in own if name not in state and name not in optional]
    unexpected = [name for name in state if name not in own]

    prepared: list[tuple[Tensor, Any]] = []
    bad: dict[str, str] = {}
    for name, tensor in own.items():
        if name in state:
            array, complaint = _fitting(state[name], tensor)
            if complaint:
                bad[name] = complaint
            else:
                prepared.append((tensor, array))
    if bad or (strict and (missing or unexpected)):
        shapes = {name: _shape(value) for name, value in state.items()}
        problem, advice = _message(module, own, shapes, missing, unexpected, bad, strict)
        raise StateDictError(problem, missing, unexpected, list(bad), advice)
    with no_grad():
        for tensor, array in prepared:
            if tensor.ndim and not any(tensor._array.strides):  # made inside of skip_init: no memory yet
                tensor.data = empty_like(tensor)
            tensor.copy_(Tensor._wrap(array))
    return IncompatibleKeys(missing, unexpected)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _fitting(value: Any, target: Tensor) -> tuple[Any, str]:
    """``value`` as an array of the dtype of ``target``, or what is wrong with it."""
    array = value._array if isinstance(value, Tensor) else value if array_module(value) is not np else np.asarray(value)
    if array.shape != target.shape:
        return None, f"the state dict has {array.shape}, the module wants {target.shape}"
    if array.dtype.kind in "OSUMm":
        return None, f"the state dict holds {array.dtype}, not numbers"
    if array.dtype.kind == "c":
        return None, f"the state dict holds {array.dtype}, and tensors here are real: load array.real or array.imag"
    if target.dtype.kind in "iub" and array.dtype.kind not in "iub":
        return None, f"the state dict holds {array.dtype}, the module wants {target.dtype}"
    return array.astype(target.dtype, copy=False), ""


def _message(
    module: Module,
    own: Mapping[str, Tensor],
    given: Mapping[str, tuple[int, ...]],
    missing: list[str],
    unexpected: list[str],
    bad: Mapping[str, str],
    strict: bool,
) -> tuple[str, str]:
    """What does not fit, and what to call instead."""
    shapes = {name: t.shape for name, t in own.items()}
    lines = [f"the state dict does not fit {type(module).__name__}; nothing was loaded."]
    if strict and missing:
        lines.append(f"  {len(missing)} missing (the module has them, the state dict does not):")
        pool = {name: given[name] for name in unexpected}
        lines += _listed(missing, lambda n: f"{n} {shapes[n]}{_nearest(n, shapes[n], pool)}")
    if strict and unexpected:
        lines.append(f"  {len(unexpected)} unexpected (the state dict has them, the module does not):")
        others = {name: shapes[name] for name in (missing or own)}
        lines += _listed(unexpected, lambda n: f"{n} {given[n]}{_nearest(n, given[n], others)}")
    if bad:
        lines.append(f"  {len(bad)} of another shape or kind:")
        lines += _listed(list(bad), lambda n: f"{n}: {bad[n]}")
    prefix = _common_prefix(own, missing, unexpected)
    advice = ""
    if strict and prefix:
        lines.append(f"  every name would fit without {prefix!r}")
        advice = f": load {{k.removeprefix({prefix!r}): v for k, v in state.items()}}"
    elif strict and not bad:
        advice = "\n  load_state_dict(..., strict=False) loads the names that fit and returns the others"
    return "\n".join(lines), advice


def _listed(names: list[str], row: Callable[[str], str]) -> list[str]:
    shown = [f"    {row(name)}" for name in names[:_LISTED]]  # a row compares with all other names: no more than these
    return shown + ([f"    and {len(names) - _LISTED} more"] if len(names) > _LISTED else [])


def _nearest(name: str, shape: tuple[int, ...], pool: Mapping[str, tuple[int, ...]]) -> str:
    """``; nearest: 'a', 'b'`` from ``pool``: similar names, those of the same shape first."""
    close = difflib.get_close_matches(name, pool, n=3, cutoff=0.6)
    close.sort(key=lambda candidate: pool[candidate] != shape)
    return "; nearest: " + ", ".join(f"{c!r} {pool[c]}" for c in close[:2]) if close else ""


def _common_prefix(own: Mapping[str, Tensor], missing: list[str], unexpected: list[str]) -> str:
    """The prefix ('module.', 'model.') without which all unexpected names are the module's, nothing missing; or ''."""
    if not missing or not unexpected:
        return ""
    prefix = next((unexpected[0].removesuffix(m) for m in missing if unexpected[0].endswith("." + m)), "")
    stripped = {u.removeprefix(prefix) for u in unexpected if prefix and u.startswith(prefix)}
    return prefix if len(stripped) == len(unexpected) and set(missing) <= stripped <= set(own) else ""
