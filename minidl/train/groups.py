"""What papers do to some of the parameters only: groups with rates of their own, filters that are kept short."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import nn
from ..backend import on

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def _biases(model: nn.Module) -> list[Any]:
    """Of convolutions and linear layers."""
    return [m.bias for m in model.modules() if isinstance(m, _LAYERS) and m.bias is not None]


def _depthwise(model: nn.Module) -> list[Any]:
    """The filters of convolutions each of whose groups is one channel."""
    convs = (m for m in model.modules() if isinstance(m, _LAYERS[:3]))
    return [m.weight for m in convs if m.groups == m.in_channels > 1]


def _split(groups: Iterable[dict[str, Any]], chosen: list[Any], change: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Each group without the ``chosen`` parameters, then those of it with other settings."""
    special = {id(p) for p in chosen}
    rest, own = [], []
    for group in groups:
        rest.append({**group, "params": [p for p in group["params"] if id(p) not in special]})
        own.append({**group, **change(group), "params": [p for p in group["params"] if id(p) in special]})
    return [group for group in (*rest, *own) if group["params"]]


def grouped(model: nn.Module, parameters: list[Any], rule: str, lr: float) -> list[Any]:
    """Parameters (or groups of them) for an optimiser with learning rate ``lr``, in groups by the rule of that name.

    "biases": those of convolutions and linear layers learn twice as fast and do not decay, as in Caffe's files
    (``lr_mult: 2``, ``decay_mult: 0``).  "depthwise": depthwise filters do not decay, as they have few parameters
    (Howard et al. 2017, section 3.2).  "alike": as they are.

    >>> net = nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 4, 1))
    >>> for group in grouped(net, list(net.parameters()), "biases", 0.1):
    ...     print([p.shape for p in group["params"]], {k: v for k, v in group.items() if k != "params"})
    [(2, 1, 3, 3), (4, 2, 1, 1)] {}
    [(2,), (4,)] {'lr': 0.2, 'weight_decay': 0.0}
    """
    if rule == "alike":
        return parameters
    groups = parameters if parameters and isinstance(parameters[0], dict) else [{"params": parameters}]
    if rule == "biases":
        return _split(groups, _biases(model), lambda g: {"lr": 2 * g.get("lr", lr), "weight_decay": 0.0})
    return _split(groups, _depthwise(model), lambda g: {"weight_decay": 0.0})


def limit_filters(model: nn.Module, limit: float) -> None:
    """Scale filters of convolutions whose root mean square exceeds ``limit`` back to it (Zeiler and Fergus 2014,
    section 3), in their memory.

    >>> import minidl
    >>> conv = nn.Conv2d(1, 2, (1, 2), bias=False)
    >>> _ = conv.load_state_dict({"weight": minidl.tensor([[[[3.0, 4.0]]], [[[0.1, 0.1]]]])})
    >>> limit_filters(conv, 2.5**0.5)
    >>> conv.weight.detach().flatten().tolist()
    [1.3416407108306885, 1.7888543605804443, 0.10000000149011612, 0.10000000149011612]
    """
    for layer in model.modules():
        if isinstance(layer, _LAYERS[:3]) and layer.weight.requires_grad:
            with on(layer.weight.device):
                w, xp = layer.weight._array, layer.weight._xp  # (K, C/G, R, S)
                axes = tuple(range(1, w.ndim))
                rms = xp.sqrt((w * w).mean(axes, keepdims=True))
                w *= limit / xp.maximum(rms, w.dtype.type(limit))
            layer.weight._storage.version += 1
