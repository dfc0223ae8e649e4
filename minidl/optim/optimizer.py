"""What all optimisers share: parameter groups, state, and the walk over the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..autograd.mode import enable_grad
from ..backend import device_of, on
from ..tensor import Tensor

State = dict[str, Any]
Group = dict[str, Any]


class Optimizer:
    """Base class: a subclass gives defaults and ``update(p, g, state, group)``, which works on arrays in place.

    ``params``: tensors, (name, tensor) pairs, or dictionaries ``{"params": [...], "lr": ...}``, one a group, whose
    other entries replace the defaults.  Names and state-dict layout are PyTorch's.

    >>> import minidl
    >>> import numpy as np
    >>> class SignSGD(minidl.optim.Optimizer):
    ...     def __init__(self, params, lr):
    ...         super().__init__(params, {"lr": lr})
    ...
    ...     def update(self, p, g, state, group):
    ...         p -= group["lr"] * np.sign(g)
    >>> w = minidl.tensor([1.0, 1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([3.0, -5.0])
    >>> SignSGD([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.5, 1.5])
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        for name, value in defaults.items():
            _check_number(type(self).__name__, name, value)
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        self._left_out: Any = None  # how many steps a flag on the device left out, see conditional.py
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__} got no parameters: was model.parameters() used up already?")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: Group) -> None:
        """One more group of parameters, with settings of its own where given."""
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown:
            known = ", ".join(sorted(self.defaults))
            raise ValueError(f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}; it has {known}")
        given = group["params"]
        given = [given] if isinstance(given, Tensor) else [p[1] if isinstance(p, tuple) else p for p in given]
        present = {id(p) for g in self.param_groups for p in g["params"]}
        for p in given:
            if not isinstance(p, Tensor):
                raise TypeError(f"an optimiser updates tensors, not {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("an optimiser can only update leaves, not computed tensors")
            if id(p) in present:
                raise ValueError(f"a parameter of shape {p.shape} is in two groups, or twice in one")
            present.add(id(p))
        for name, value in group.items():
            _check_number(type(self).__name__, name, value)
        self.param_groups.append({**self.defaults, **group, "params": given})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or, with ``set_to_none=False``, fill them with zeros)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad = p.grad.detach()
                    p.grad.zero_()

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient.  ``closure`` computes the loss again and is called first."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        from .compiled import update_together
        from .conditional import CONDITION, settle

        if CONDITION.keep is None:
            settle(self)
        for group in self.param_groups:
            for p in update_together(self, group):
                state = self.state.setdefault(p, {})
                g = p.grad._array  # type: ignore[union-attr]
                with on(p.device):
                    self.update(p._array, -g if group.get("maximize") else g, state, group)
                p._storage.version += 1
        return loss

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        """Change the array ``p`` in place by its gradient ``g``, which stays as it is."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on; parameters are numbered in the order of the groups."""
        from .conditional import settle

        settle(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers[id(p)] = len(numbers)
            groups.append({**group, "params": [numbers[id(p)] for p in group["params"]]})
        state = {
            numbers[id(p)]: {k: v.copy() if hasattr(v, "copy") else v for k, v in entry.items()}
            for p, entry in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; nothing changes if it does not fit the parameters."""
        lost = [name for name in ("state", "param_groups") if name not in state_dict]
        if lost:
            raise ValueError(f"not the state of an optimiser: {', '.join(lost)} missing; state_dict() gives one")
        groups = state_dict["param_groups"]
        if not all("params" in group for group in groups):
            raise ValueError("a group of the saved optimiser does not name its params")
        sizes = [len(g["params"]) for g in groups]
        mine = [len(g["params"]) for g in self.param_groups]
        if sizes != mine:
            raise ValueError(f"the saved optimiser has groups of {sizes} parameters, this one of {mine}")
        lacks = sorted(set(self.defaults).difference(*groups))
        if lacks:
            kind = type(self).__name__
            raise ValueError(
                f"the saved optimiser has no {', '.join(lacks)}: was it saved by another kind than {kind}?"
            )
        by_number = {
            int(number): p
            for saved, group in zip(groups, self.param_groups)
            for number, p in zip(saved["params"], group["params"])
        }
        loaded: dict[Tensor, State] = {}
        for number, entry in state_dict["state"].items():
            if int(number) not in by_number:
                raise ValueError(
                    f"the saved optimiser holds the state of parameter {number}, which none of its groups names"
                )
            p = by_number[int(number)]
            loaded[p] = {name: _loaded(name, value, number, p) for name, value in entry.items()}
        self.state = loaded
        if self._left_out is not None:
            with on(device_of(self._left_out)):
                self._left_out.fill(0)
        for saved, group in zip(groups, self.param_groups):
            group.update({k: v for k, v in saved.items() if k != "params"})

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([*lines, ")"])


def _loaded(name: str, value: Any, number: Any, p: Tensor) -> Any:
    """One entry of a saved state: an array like ``p``, of its dtype, or a number."""
    array = value._array if isinstance(value, Tensor) else value
    if not hasattr(array, "shape"):
        return value
    if p.ndim and not array.shape:  # PyTorch counts steps in tensors without dimensions
        return array.item()
    if array.shape != p.shape:
        raise ValueError(f"the saved {name!r} of parameter {number} has shape {array.shape}, the parameter {p.shape}")
    return p._xp.array(array, p.dtype)


_RANGES: dict[str, tuple[float, float, str]] = {
    "lr": (0, np.inf, "must not be negative"),
    "eps": (0, np.inf, "must not be negative"),
    "weight_decay": (0, np.inf, "must not be negative"),
    "momentum": (0, np.inf, "must not be negative"),
    "lr_decay": (0, np.inf, "must not be negative"),
    "initial_accumulator_value": (0, np.inf, "must not be negative"),
    "alpha": (0, np.inf, "must not be negative"),
    "rho": (0, 1, "must lie between 0 and 1"),
}


def _check_number(optimiser: str, name: str, value: Any) -> None:
    if name == "betas":
        if not all(0 <= b < 1 for b in value):
            raise ValueError(f"{optimiser}: betas must lie in [0, 1), got {value}")
    elif name in _RANGES:
        low, high, text = _RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"{optimiser}: {name} {text}, got {value}")


def decayed(p: Any, g: Any, weight_decay: float) -> Any:
    """The gradient with that of the penalty ``weight_decay / 2 * |p|^2`` added; ``g`` itself when there is none."""
    return g + weight_decay * p if weight_decay else g


__all__: Sequence[str] = ["Optimizer", "decayed"]
