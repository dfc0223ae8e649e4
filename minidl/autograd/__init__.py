"""Recording (``tape``) and differentiating (``engine``), kept apart; what is built on them in ``functional``."""

from typing import Any as _Any

from . import functional
from .anomaly import AnomalyError, detect_anomaly
from .checkpoint import checkpoint, checkpoint_sequential
from .engine import backward, grad
from .mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .tape import Call, GraphError, Listener, Node, Primitive, Tape, vjp

__all__ = [
    "AnomalyError", "Call", "GraphError", "Listener", "Node", "Primitive", "Tape", "backward", "checkpoint",
    "checkpoint_sequential", "detect_anomaly", "enable_grad", "functional", "grad", "is_grad_enabled", "no_grad",
    "set_grad_enabled", "vjp",
]  # fmt: skip

# loaded when first used
_LAZY = {"GradcheckError": "checking", "gradcheck": "checking", "gradgradcheck": "checking"}


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
