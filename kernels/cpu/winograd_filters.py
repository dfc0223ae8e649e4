"""U = G g G^T of all filters, arranged as panels for register tiles, and kept while the weights stay the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from ..constants import is_constant, made_of
from ..jit import native
from ..workspace import aligned, at_release, borrow
from .pieces import Address, outside_of_loops, read, run
from .places import address
from .simd import address_of, clear_bytes, finish_streams, keep, load, store, transpose
from .winograd_tiles import plane_bytes
from .winograd_transforms import Scheme, sandwich

KEPT_BYTES = 512 << 20  # of U and weights together
KEPT_COUNT = 4096  # of weights that are watched
SAMPLES = 61  # of an array, to guess whether it is the one of last time


class Filters(NamedTuple):
    """Transformed filters: U[point, d, k] is column k of panel k // width, row d, ``point_step`` bytes per point."""

    memory: np.ndarray  # (panels, points, depth, width), as bytes
    panel_step: int
    point_step: int


def filter_steps(depth: int, scheme: Scheme) -> tuple[int, int]:
    """Bytes of U from panel to panel, and from point to point."""
    point_step = plane_bytes(depth * scheme.tile.width * scheme.itemsize)
    return scheme.points * point_step, point_step


def transformed(w: np.ndarray, scheme: Scheme, gradient: bool) -> Filters:
    """U of w (K, C, r, r): columns K, summed over C.  For the input ``gradient``: columns C, summed over K, flipped.

    Where the caller knows that the weights stay as they are (`constants`), U is kept.  Otherwise weights that come
    twice unchanged are taken for constant, and from then on U is kept beside a copy of w.  Each call compares w with
    the copy, bit by bit, so a write by whatever way is seen.
    """
    given, w = w, np.ascontiguousarray(w)
    columns, depth = (w.shape[1], w.shape[0]) if gradient else w.shape[:2]
    panel_step, point_step = filter_steps(depth, scheme)
    panels = -(-columns // scheme.tile.width)
    size = panels * panel_step

    def fill(u: np.ndarray, w: np.ndarray = w) -> None:
        tap = scheme.taps * w.itemsize  # bytes from channel to channel
        row = w.shape[1] * tap  # from filter to filter
        steps = (tap, row) if gradient else (row, tap)
        numbers = _Filtering(address(w), *steps, columns, depth, gradient, address(u), panel_step, point_step)
        run(_filter_piece, scheme, numbers, panels, w.size * 1e-9)

    if is_constant(given):
        u = made_of(given, (scheme, gradient), (size,), np.dtype(np.uint8), "winograd U", fill)
        return Filters(u, panel_step, point_step)
    if w is not given:
        outside_of_loops()  # a copy, which ends here
    key = (address(w), w.shape, scheme, gradient)
    found = _kept.find(key, w)
    if found is not None:
        return Filters(found, panel_step, point_step)
    constant = _kept.is_constant(key, w) and size + w.nbytes <= KEPT_BYTES
    u = aligned(size) if constant else borrow("winograd U", (size,), np.dtype(np.uint8))
    w = w.copy() if constant else w  # so that no other thread can write between the transform and the copy
    fill(u, w)
    if constant:
        _kept.keep(key, w, u)  # the copy
    return Filters(u, panel_step, point_step)


# U that is kept ----------------------------------------------------------------------------------------


class _Kept:
    """U by the weights' place and shape, the one used last at the end; never more than KEPT_BYTES."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: OrderedDict[Any, tuple[np.ndarray, np.ndarray]] = OrderedDict()  # copy of w, U
        self.samples: OrderedDict[Any, bytes] = OrderedDict()
        self.bytes = 0

    def find(self, key: Any, w: np.ndarray) -> np.ndarray | None:
        with self.lock:
            entry = self.entries.get(key)
        if entry is None or not _same_bits(entry[0], w):
            return None
        with self.lock:
            if key in self.entries:
                self.entries.move_to_end(key)
        return entry[1]

    def is_constant(self, key: Any, w: np.ndarray) -> bool:
        """Whether w looks as it did the last time.  A guess: what is kept is compared in full."""
        flat = w.reshape(-1)
        sample = flat[:: max(1, flat.size // SAMPLES)].tobytes()
        with self.lock:
            before = self.samples.pop(key, None)
            self.samples[key] = sample
            if len(self.samples) > KEPT_COUNT:
                self.samples.popitem(last=False)
            if before != sample:
                self._drop(key)
        return before == sample

    def keep(self, key: Any, w: np.ndarray, u: np.ndarray) -> None:
        """``w``: a copy that nobody writes into."""
        with self.lock:
            self._drop(key)
            self.entries[key] = w, u
            self.bytes += w.nbytes + u.nbytes
            while self.bytes > KEPT_BYTES:
                self._drop(next(iter(self.entries)))

    def _drop(self, key: Any) -> None:
        copy, u = self.entries.pop(key, (None, None))
        if copy is not None and u is not None:
            self.bytes -= copy.nbytes + u.nbytes

    def clear(self) -> None:
        with self.lock:
            self.entries.clear()
            self.samples.clear()
            self.bytes = 0


_kept = _Kept()


def kept_bytes() -> int:
    """Bytes that are kept for weights that did not change."""
    return _kept.bytes


def release() -> None:
    """Let go of all that is kept; ``minidl.kernels.memory.release`` does it too."""
    _kept.clear()


at_release(release)


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the same bits are there, NaN or not."""
    integers = f"u{a.itemsize}"
    return np.array_equal(a.view(integers), b.view(integers))


# The transform -----------------------------------------------------------------------------------------


class _Filtering(NamedTuple):
    w: Address
    column_step: int  # bytes
    depth_step: int
    columns: int
    depth: int
    flipped: int
    u: Address
    panel_step: int
    point_step: int


@native
def _filter_piece(scheme: Any, arguments: int, piece: int) -> None:
    """One panel: for each row of it, and each vector of columns, r x r vectors of taps become ``points`` vectors."""
    f = read(_Filtering, arguments)
    lanes, item, width = scheme.lanes, scheme.itemsize, scheme.tile.width
    vector, block, all_taps = lanes.lanes * item, scheme.block.lanes, scheme.taps
    taps = np.empty(all_taps * vector, np.uint8)
    begin, step = address_of(taps), vector
    if f.flipped:
        begin, step = begin + (all_taps - 1) * vector, -vector
    for d in range(f.depth):
        for j in range(0, width, lanes.lanes):
            column = piece * width + j
            source = f.w + column * f.column_step + d * f.depth_step
            real = min(lanes.lanes, f.columns - column)
            whole = 0
            if real == lanes.lanes:  # rows are columns of U, their taps lie side by side
                whole = all_taps // block * block
                for i in range(0, lanes.lanes, block):
                    for t in range(0, whole, block):
                        to, origin = address_of(taps) + t * vector + i * item, source + i * f.column_step + t * item
                        transpose(scheme.block, to, vector, origin, f.column_step)
            else:
                clear_bytes(address_of(taps), all_taps * vector)
            for i in range(real):
                for t in range(whole, all_taps):
                    value = load(lanes.one, source + i * f.column_step + t * item)
                    store(address_of(taps) + t * vector + i * item, value)
            to = f.u + piece * f.panel_step + (d * width + j) * item
            sandwich(scheme.filters, to, scheme.n * f.point_step, f.point_step, begin, scheme.r * step, step)
    finish_streams()
    keep((taps,))
