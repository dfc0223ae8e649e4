"""What must be true of the scale of gradients on a device, and of updates that a flag there decides about."""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl
from minidl import optim
from minidl.kernels.cuda import gradient_scale
from minidl.optim.conditional import step_unless

from .cuda import standin

RULES: list[tuple[type, dict[str, Any]]] = [
    (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (optim.Adam, {"amsgrad": True, "weight_decay": 0.1}),
    (optim.AdamW, {"weight_decay": 0.2}),
    (optim.Adagrad, {"lr_decay": 0.2}),
    (optim.RMSprop, {"centered": True, "momentum": 0.5}),
    (optim.Adadelta, {}),
]
LEFT_OUT = (True, False, False, True, True, False, False)


def scale(cupy: Any) -> None:
    """The device changes scale and count as the host's scaler does, for steps that were good and others."""
    host = minidl.GradScaler("cpu", init_scale=64.0, growth_factor=3.0, backoff_factor=0.25, growth_interval=3)
    there = cupy.asarray(np.array([64.0, 0.0]))
    w = minidl.nn.Parameter([1.0])
    for good in (1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1):
        w.grad = minidl.tensor([1.0])
        sgd = optim.SGD([w], lr=0.0)
        host.know(sgd, not good)
        host.update()
        gradient_scale.adapt(there, cupy.asarray(np.array([not good])), 3.0, 0.25, 3)
        state = host.state_dict()
        assert there.tolist() == [state["scale"], state["_growth_tracker"]]


def flags(cupy: Any, number: int) -> None:
    """Updates that the device leaves out change nothing, and the others are those of a host that makes only them."""
    kind, options = RULES[number]
    found = []
    for place in ("cpu", "cuda"):
        rng = np.random.default_rng(2)
        params = [minidl.from_numpy(rng.standard_normal(s)).to(place).requires_grad_() for s in ((3, 4), (70, 130))]
        optimiser = kind(params, lr=0.1, **options)
        for left_out in LEFT_OUT:
            gradients = [rng.standard_normal(p.shape) for p in params]
            if left_out:
                gradients[1][0, :2] = np.nan, np.inf
            for p, g in zip(params, gradients):
                p.grad = minidl.from_numpy(g).to(place)
            before = [p.detach().numpy().copy() for p in params]
            if place == "cuda":
                step_unless(optimiser, cupy.asarray(np.array(left_out)))
            elif not left_out:
                optimiser.step()
            same = all(np.array_equal(a, p.detach().numpy()) for a, p in zip(before, params))
            assert same == left_out
        state = optimiser.state_dict()["state"]
        kept = [getattr(v, "get", lambda v=v: v)() for entry in state.values() for v in entry.values()]
        found.append([*(p.detach().numpy() for p in params), *map(np.asarray, kept)])
    assert len(found[0]) == len(found[1])
    for a, b in zip(*found):
        np.testing.assert_allclose(b, a, 1e-12, 1e-14)


# for the mutants: on the stand-in ----------------------------------------------------


def emulated_scale() -> None:
    with standin() as cupy:
        scale(cupy)


def emulated_flags() -> None:
    with standin() as cupy:
        flags(cupy, 1)
