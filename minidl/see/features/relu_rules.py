"""Three backward passes through ReLU: the gradient, the deconvnet's, and guided backpropagation's.

With g the signal from above and y = max(x, 0):

| rule | passes on | |
|---|---|---|
| gradient | g where y > 0 | Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034 |
| deconvnet | g where g > 0 | Zeiler and Fergus 2014, arXiv:1311.2901, section 2.1 |
| guided | g where y > 0 and g > 0 | Springenberg et al. 2015, arXiv:1412.6806, section 3.4 |

Everything else goes back as in the gradient: convolutions by their transposed filters, max-pooling to the position that
won (the deconvnet's switches).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

from ...autograd.tape import Listener, Node, Primitive, vjp
from ...ops import relu
from ..errors import SeeError

Rule = Literal["gradient", "deconvnet", "guided"]


def _deconvnet(g: Any, y: Any, x: Any) -> Any:
    return relu(g)


def _guided(g: Any, y: Any, x: Any) -> Any:
    return relu(g) * (y > 0).to(g.dtype)


_RULES = {"deconvnet": vjp(_deconvnet), "guided": vjp(_guided, uses="y")}


class relu_backward(Listener):
    """Context: each ReLU that runs in it, in this thread, will be differentiated by ``rule``.

    Graphs from outside keep theirs.  ``count`` says how many ReLUs ran.

    >>> import minidl
    >>> x = minidl.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    >>> for rule in ("gradient", "deconvnet", "guided"):
    ...     with relu_backward(rule):
    ...         y = x.relu()
    ...     print(rule, minidl.autograd.grad(y, x, minidl.tensor([5.0, 6.0, -7.0]))[0].tolist())
    gradient [0.0, 6.0, -7.0]
    deconvnet [5.0, 6.0, 0.0]
    guided [0.0, 6.0, 0.0]
    """

    def __init__(self, rule: Rule) -> None:
        if rule not in ("gradient", *_RULES):
            raise SeeError(f"ReLU is differentiated by 'gradient', 'deconvnet' or 'guided', not {rule!r}")
        self.rule = rule
        self.count = 0
        self._twin: Primitive | None = None

    def on_forward(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        attrs: dict[str, Any],
        outputs: tuple[Any, ...],
        node: Node | None,
    ) -> None:
        if primitive.name != "relu" or not self.in_its_thread():
            return
        self.count += 1
        if node is not None and self.rule != "gradient":
            if self._twin is None:
                self._twin = copy.copy(primitive)  # the same operation, not entered in the list of all
                self._twin.rules = (_RULES[self.rule],)
            node.primitive = self._twin
