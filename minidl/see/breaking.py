"""Break it: run with one bug switched on, and see which check finds it and what the loss does."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bug_list import Bug, bugs
from .errors import SeeError
from .shown import Shown


@dataclass
class Finding:
    """What one check says of one bug."""

    check: str
    found: bool
    detail: str

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(repr=False)
class Broken(Shown):
    """A bug, what the checks say, and a training without and with it (mean loss of each tenth; test accuracy)."""

    name: str
    title: str
    story: str
    findings: list[Finding] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    losses_with_bug: list[float] = field(default_factory=list)
    accuracy: float = float("nan")
    accuracy_with_bug: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "findings": [f.to_dict() for f in self.findings]}

    def __str__(self) -> str:
        from .text import broken

        return broken(self)


def break_it(name: str, *, steps: int = 150, seed: int = 0) -> Broken:
    """Switch on the bug ``name``, ask every check, and train a small network on digits with and without it.

    The checks: gradcheck with random cotangents (which names the mistake), one with a cotangent of ones (which
    some bugs survive), the definition of the operation in float64, and the same gradient twice.  ``steps=0`` leaves
    the training out.  SeeError for an unknown name.

    >>> report = break_it("no-flip", steps=0)
    >>> [(f.check, f.found) for f in report.findings][:2]
    [('gradcheck', True), ('check with ones', True)]
    """
    bug = bugs().get(name)
    if bug is None:
        raise SeeError(f"there is no bug called {name!r}; these can be switched on: {', '.join(bugs())}")
    result = Broken(bug.name, bug.title, bug.story, _findings(bug, seed))
    if steps:
        result.losses, result.accuracy = train(nullcontext(), steps, seed)
        result.losses_with_bug, result.accuracy_with_bug = train(bug.apply(), steps, seed)
    return result


# ---- the checks --------------------------------------------------------------------------------------------------


def _findings(bug: Bug, seed: int) -> list[Finding]:
    from .. import gradcheck

    arguments = [a.make(np.random.default_rng(seed + i)) for i, a in enumerate(bug.arguments)]
    with bug.apply():
        usual = gradcheck(bug.function, arguments, raise_exception=False, seed=seed)
        with_bug = _from_ones(bug, arguments)
        definition, twice = _definition(bug, arguments), _twice(bug, arguments)
    error = max(
        float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-30))
        for a, b in zip(with_bug, _from_ones(bug, arguments))
    )
    seen = error > 1e-9 and not usual.ok  # of a wrong function the right derivative is no mistake
    detail = f"relative error {error:.1e}" if seen else "right for this cotangent"
    return [
        Finding("gradcheck", not usual.ok, usual.diagnosis or str(usual)),
        Finding("check with ones", seen, detail),
        definition,
        twice,
    ]


def _from_ones(bug: Bug, arguments: list[Any]) -> list[np.ndarray]:
    """The gradients of the sum of all results: what a check sees that sends ones."""
    from ..autograd import grad

    leaves = [a.detach().requires_grad_() for a in arguments]
    return [g.numpy() for g in grad(bug.function(*leaves).sum(), leaves) if g is not None]


def _definition(bug: Bug, arguments: list[Any]) -> Finding:
    """The result beside that of the definition, or of the operation without the bug where none is needed."""
    broken = bug.function(*arguments).detach().numpy()
    if bug.definition is None:
        return Finding("definition", False, "the forward pass is right")
    right = bug.definition(*(a.detach().numpy() for a in arguments))
    wrong = np.abs(broken - right) > 1e-12 * np.abs(right).max()
    if not wrong.any():
        return Finding("definition", False, "the forward pass is right")
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    first = f"{list(place)}: {broken[place]:.6g}, not {right[place]:.6g}"
    detail = f"{wrong.sum()} of {wrong.size} results differ, first {first}"
    return Finding("definition", True, detail)


def _twice(bug: Bug, arguments: list[Any]) -> Finding:
    """The gradient of the same batch before and after ``zero_grad`` must be the same."""
    from ..optim import SGD

    leaves = [a.detach().clone().requires_grad_() for a in arguments]
    optimizer = SGD(leaves, lr=0.0)
    gradients = []
    for _ in range(2):
        optimizer.zero_grad()
        bug.function(*leaves).sum().backward()
        gradients.append([leaf.grad.numpy().copy() for leaf in leaves])
    differs = any(not np.array_equal(a, b) for a, b in zip(*gradients))
    detail = "the second gradient of one batch is twice the first" if differs else "two passes give one gradient"
    return Finding("the same gradient twice", differs, detail)


# ---- the training ------------------------------------------------------------------------------------------------


def _network() -> Any:
    from .. import nn

    class Small(nn.Module):
        """Everything that can be broken in one network of 8 x 8 digits, with a skip connection."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
            self.norm = nn.GroupNorm(2, 8)
            self.pool = nn.MaxPool2d(3, 2, 1)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
            self.mean = nn.AvgPool2d(2)
            self.fc = nn.Linear(32, 10)

        def forward(self, x: Any) -> Any:
            h = self.pool(self.norm(self.conv1(x)))  # (N, 8, 4, 4)
            h = h + self.conv2(h.relu())
            return self.fc(self.mean(h.tanh()).flatten(1))

    return Small()


def train(bug: AbstractContextManager[None], steps: int, seed: int = 0) -> tuple[list[float], float]:
    """The mean losses of the tenths of a short training on digits in the context ``bug``, and the test accuracy.

    Initial weights and batches depend on ``seed`` alone.
    """
    from .. import from_numpy, manual_seed, no_grad
    from ..data import Digits
    from ..nn.functional import cross_entropy
    from ..optim import SGD

    data, test = Digits(train=True), Digits(train=False)
    images = data.data.astype(np.float32)
    rng = np.random.default_rng(seed)
    manual_seed(seed)
    net = _network()
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    with bug, np.errstate(all="ignore"):
        for _ in range(steps):
            chosen = rng.permutation(len(images))[:32]
            optimizer.zero_grad()
            loss = cross_entropy(net(from_numpy(images[chosen])), from_numpy(data.targets[chosen]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with no_grad():
            answers = net(from_numpy(test.data.astype(np.float32))).numpy().argmax(1)
    tenths = [float(np.mean(part)) for part in np.array_split(losses, min(10, steps))]
    return tenths, float((answers == test.targets).mean())
