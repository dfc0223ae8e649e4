"""Inference: calls that were made before with tensors that have not been written to since.

Without gradients a layer computes the same function each time, until somebody writes to its weights.  So of a call that
comes again, with an input that lies in memory as the one before, everything is known but the addresses of the input and
the result: the kernel, how the work is cut, what the kernel made of the weights.  It is run as a program
(`kernels.cpu.replay`), which takes less time than looking at the arguments would.

Writes are seen by the version of a tensor's storage, as in the backward pass; where NumPy may write behind that,
nothing is remembered.  A call is remembered when it comes a second time, so weights that change between any two calls
cost nothing.  What is kept goes with the tensor, with the next call that records gradients, and with
``minidl.kernels.memory.release``.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from ..kernels import catalogue
from ..kernels.constants import Constants
from ..kernels.threads import get_num_threads
from ..kernels.workspace import at_release

if TYPE_CHECKING:
    from ..tensor import Tensor

KEPT_BYTES = 512 << 20  # of what kernels made of weights
KEPT_CALLS = 64  # of one layer

Program = Any  # of kernels.cpu.replay, which needs Numba


class Known:
    """What is known of one layer: its tensors as they were, what kernels made of them, the programs of its calls."""

    __slots__ = ("arrays", "constants", "number", "programs", "state", "tensor")

    def __init__(self, owner: Tensor, tensors: Sequence[Tensor | None], state: list[Any]) -> None:
        self.number = number = id(owner)
        self.tensor = weakref.ref(owner, lambda ref: _drop(number, ref))
        self.arrays = [t._array for t in tensors if t is not None]  # while they live nobody else gets their numbers
        self.state = state
        self.constants = Constants()
        self.programs: dict[Hashable, Program | None] = {}

    def keep(self, call: Hashable, program: Program | None) -> None:
        if len(self.programs) >= KEPT_CALLS:
            _drop(self.number, self.tensor)  # with what those calls were given; the next one begins anew
            return
        self.programs[call] = program
        for key in tuple(_known):  # the oldest first
            if kept_bytes() <= KEPT_BYTES:
                break
            if _known.get(key) is not self:
                _known.pop(key, None)


_known: dict[int, Known] = {}  # by the number of the first tensor


def known(owner: Tensor, *others: Tensor | None) -> Known | None:
    """What is known of calls with these tensors, of which ``owner`` stands for the layer; None the first time."""
    state: list[Any] = []
    for t in (owner, *others):
        if t is None:
            state.append(None)
            continue
        storage = t._storage
        if storage.escaped:
            return None
        state += [id(t._array), storage.version]
    found = _known.get(id(owner))
    if found is not None and found.state == state:
        return found
    _known[id(owner)] = Known(owner, (owner, *others), state)
    return None


def forget(tensor: Any) -> None:
    """Let go of what is kept for the layer of this tensor."""
    _known.pop(id(tensor), None)


def _drop(number: int, ref: Any) -> None:
    found = _known.get(number)
    if found is not None and found.tensor is ref:
        _known.pop(number, None)


def circumstances() -> tuple[Any, ...]:
    """What a kernel is chosen by beside the problem."""
    return get_num_threads(), catalogue.wished_precision(), catalogue.tuner


def kept_bytes() -> int:
    """Bytes of what kernels made of weights."""
    return sum(found.constants.bytes for found in tuple(_known.values()))


at_release(_known.clear)
