"""Modules that hold other modules: in a row, in a list, under names."""

from __future__ import annotations

import math
import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..autograd.mode import MODE
from ..tensor import Tensor
from .activation import ReLU, ReLU6
from .conv import _Conv
from .module import Module, is_watched
from .normalization import _BatchNorm
from .parameter import Parameter
from .pooling import _MaxPool


def _position(index: Any, length: int, owner: str) -> int:
    """A non-negative position from an index that may count from the end."""
    i = operator.index(index)
    if not -length <= i < length:
        raise IndexError(f"{owner} has {length} entries: index {i} is out of range")
    return i % length


class _ModuleSequence(Module):
    """Modules named "0", "1", ...; what Sequential and ModuleList have in common."""

    def _items(self) -> list[Module]:
        return list(self._modules.values())  # type: ignore[arg-type]

    def _renumber(self, modules: Iterable[Module]) -> None:
        self._modules.clear()
        for index, module in enumerate(modules):
            self.register_module(str(index), module)

    def _key(self, index: Any) -> str:
        return list(self._modules)[_position(index, len(self), type(self).__name__)]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __contains__(self, module: Module) -> bool:
        return any(module is m for m in self._items())

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        doomed = names[index] if isinstance(index, slice) else [self._key(index)]
        kept = [(name, self._modules[name]) for name in names if name not in doomed]
        numbered = all(name == str(i) for i, name in enumerate(names))
        self._modules.clear()
        for i, (name, module) in enumerate(kept):
            self.register_module(str(i) if numbered else name, module)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns self."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several modules at the end; returns self."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before position ``index``; those after it are renumbered; returns self."""
        items = self._items()
        if not -len(items) <= index <= len(items):
            raise IndexError(f"{type(self).__name__} has {len(items)} entries: index {index} is out of range")
        items.insert(index, module)
        self._renumber(items)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take the module at ``index`` out."""
        module = self._items()[_position(index, len(self), type(self).__name__)]
        del self[index]
        return module


class Sequential(_ModuleSequence):
    """Modules called one after the other, each with the result of the one before.

    Given as arguments (named "0", "1", ...) or as one ordered dict of names.

    >>> import minidl
    >>> from minidl import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> net(minidl.ones(3, 4)).shape
    (3, 2)
    >>> net[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.register_module(name, module)
        elif len(args) == 1 and isinstance(args[0], (list, tuple)):
            raise TypeError("Sequential takes modules, not a list of them: write Sequential(*layers)")
        else:
            self._renumber(args)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._key(index)]

    def forward(self, input: Any) -> Any:
        modules = self._items()
        at = 0
        while at < len(modules):
            if not isinstance(modules[at], (_Conv, _BatchNorm)):
                input = modules[at](input)
                at += 1
                continue
            conv, norm, relu = _unit(modules[at : at + 3])
            unit = [module for module in (conv, norm, relu) if module is not None]
            pool = _pool_to_go_first(relu, modules[at + len(unit) : at + len(unit) + 1])
            if pool is not None:
                for module in (*unit[:-1], pool, unit[-1]):
                    input = module(input)
                at += 1
            elif relu is not None and norm is not None:
                input = norm.then_relu(input, ceiling=_RELUS[type(relu)], behind=conv)
            elif relu is not None and conv is not None:
                input = conv.then_relu(input, ceiling=_RELUS[type(relu)])
            elif norm is not None and conv is not None:
                together = norm.along_with(conv, input)
                input = norm(conv(input)) if together is None else together
            else:
                input = modules[at](input)
            at += max(1, len(unit))
        return input


def _unit(modules: list[Module]) -> tuple[_Conv | None, _BatchNorm | None, Module | None]:
    """The convolution, batch norm and ReLU, in this order, that ``modules`` begin with; None for what is not there."""
    conv = modules[0] if isinstance(modules[0], _Conv) else None
    rest = modules if conv is None else modules[1:]
    norm = rest[0] if rest and isinstance(rest[0], _BatchNorm) else None
    rest = rest if norm is None else rest[1:]
    follows = len(rest) < len(modules) and rest and type(rest[0]) in _RELUS and not is_watched(rest[0])
    return conv, norm, rest[0] if follows else None


def _pool_to_go_first(relu: Module | None, behind: list[Module]) -> Module | None:
    """The maximum pooling behind ``relu`` where the two are better done the other way round.

    Maximum and ReLU may change places: no number changes, nor a gradient (where ReLU passes one, the winner of a window
    is the same).  Backward passes then need only the places of the winners and the pooled maps, not the large ones.
    """
    if not behind or type(relu) is not ReLU or not isinstance(behind[0], _MaxPool) or not MODE.recording:
        return None
    pool = behind[0]
    return None if pool.return_indices or is_watched(pool) or type(pool).forward is not _MaxPool.forward else pool


# with what stands before them they are done in one pass over memory
_RELUS: dict[type[Module], float] = {ReLU: math.inf, ReLU6: 6.0}


class ModuleList(_ModuleSequence):
    """A list of modules that are registered; it computes nothing itself.

    >>> from minidl import nn
    >>> layers = nn.ModuleList(nn.Linear(n, n) for n in (2, 3))
    >>> [name for name, _ in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self._renumber(modules or ())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(self._items()[index])
        return self._modules[self._key(index)]

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> ModuleList:
        return type(self)([*self, *modules])

    def _child_lines(self) -> list[str]:
        """Equal neighbours in one line: ``(0-2): 3 x Linear(...)``."""
        runs: list[tuple[int, int, str]] = []
        for index, module in enumerate(self._items()):
            text = repr(module).replace("\n", "\n  ")
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], index, text)
            else:
                runs.append((index, index, text))
        return [f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}" for a, b, text in runs]


class ModuleDict(Module):
    """Modules under names, in the order in which they were added.

    >>> from minidl import nn
    >>> heads = nn.ModuleDict({"class": nn.Linear(8, 10), "box": nn.Linear(8, 4)})
    >>> heads["box"]
    Linear(in_features=8, out_features=4, bias=True)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Any:
        if key not in self._modules:
            raise KeyError(f"no module is called {key!r}; there are {', '.join(map(repr, self._modules)) or 'none'}")
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add (or replace) several modules."""
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module

    def pop(self, key: str) -> Module:
        """Take the module called ``key`` out."""
        module = self[key]
        del self[key]
        return module


class ParameterList(Module):
    """A list of parameters that are registered; tensors given to it become parameters.

    >>> import minidl
    >>> minidl.nn.ParameterList([minidl.zeros(2, 3), minidl.zeros(4)]).state_dict().keys()
    odict_keys(['0', '1'])
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def _key(self, index: Any) -> str:
        return str(_position(index, len(self), "ParameterList"))

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._parameters.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._parameters[self._key(index)]

    def __setitem__(self, index: int, value: Tensor) -> None:
        self._parameters[self._key(index)] = _as_parameter(value)

    def append(self, value: Tensor) -> ParameterList:
        """Add a parameter at the end; returns self."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Tensor]) -> ParameterList:
        """Add several parameters at the end; returns self."""
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Tensor]) -> ParameterList:
        return self.extend(values)

    def _child_lines(self) -> list[str]:
        return [f"({name}): Parameter {p.shape} {p.dtype}" for name, p in self._parameters.items() if p is not None]


class ParameterDict(Module):
    """Parameters under names; tensors given to it become parameters.

    >>> import minidl
    >>> scales = minidl.nn.ParameterDict({"first": minidl.ones(2), "second": minidl.ones(3)})
    >>> scales["second"].shape, list(scales.state_dict())
    ((3,), ['first', 'second'])
    """

    def __init__(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        if key not in self._parameters:
            known = ", ".join(map(repr, self._parameters)) or "none"
            raise KeyError(f"no parameter is called {key!r}; there are {known}")
        return self._parameters[key]

    def __setitem__(self, key: str, value: Tensor) -> None:
        self.register_parameter(key, _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def keys(self) -> Iterable[str]:
        return self._parameters.keys()

    def values(self) -> Iterable[Any]:
        return self._parameters.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._parameters.items()

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add (or replace) several parameters."""
        for name, value in parameters.items() if isinstance(parameters, Mapping) else parameters:
            self[name] = value

    def pop(self, key: str) -> Any:
        """Take the parameter called ``key`` out."""
        parameter = self[key]
        del self[key]
        return parameter

    def _child_lines(self) -> list[str]:
        return [f"({name}): Parameter {p.shape} {p.dtype}" for name, p in self._parameters.items() if p is not None]


def _as_parameter(value: Tensor) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)
