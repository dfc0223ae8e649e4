"""Recording (``tape``) and differentiating (``engine``), kept apart; what is built on them in ``functional``."""

from .engine import backward, grad
from .mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .tape import Call, GraphError, Listener, Node, Primitive, Tape, vjp

__all__ = [
    "Call", "GraphError", "Listener", "Node", "Primitive", "Tape", "backward", "enable_grad", "grad", "is_grad_enabled",
    "no_grad", "set_grad_enabled", "vjp",
]  # fmt: skip
