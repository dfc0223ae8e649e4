"""What the host gives to kernels: small tables, copied once for each content, and numbers that are new in each step.

A captured graph may copy nothing from the host while it is recorded.  There the recording (``CAPTURE``) reserves the
memory, and fills it before the graph runs: tables once, numbers each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any

MOST = 256  # tables that are kept


class CaptureError(RuntimeError):
    """A step that was to be captured as a graph does something that a graph cannot repeat.

    >>> raise CaptureError("the step asks for a number")
    Traceback (most recent call last):
    ...
    minidl.kernels.cuda.tables.CaptureError: the step asks for a number
    """


class _Capture(threading.local):
    recording: Any = None  # with `constant` and `feed`, see minidl/cuda.py


CAPTURE = _Capture()
_kept: OrderedDict[tuple[Any, ...], Array] = OrderedDict()


def constant(xp: Any, host: np.ndarray) -> Array:
    """``host``, which nobody changes, on the current device."""
    if CAPTURE.recording is not None:
        return CAPTURE.recording.constant(xp, host)
    place = xp.cuda.runtime.getDevice(), xp.cuda.get_current_stream().ptr
    key = xp, place, host.shape, host.dtype.char, host.tobytes()
    found = _kept.get(key)
    if found is None:
        found = _kept[key] = xp.asarray(host)
        while len(_kept) > MOST:
            _kept.popitem(last=False)
    else:
        _kept.move_to_end(key)
    return found


def fed(xp: Any, make: Callable[[], np.ndarray]) -> Array:
    """What ``make`` gives on the current device; in a captured graph, what it gives before each launch."""
    host = make()
    if CAPTURE.recording is None:
        return xp.asarray(host)
    return CAPTURE.recording.feed(xp, [host], lambda: [make()])[0]
