"""A run as the report's page reads it: one JSON document and one block of binary numbers.

The page computes explanations itself, so that each number can be asked, and needs for that the numbers and, for each
record, a *rule*: which inputs an output reads and how.  Where the numbers of a large network do not fit, the page gets
small pictures of them and a few explanations that were computed here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import __version__
from ..._macs import call_macs
from ...kernels.geometry import Axis
from ...kernels.spec.pooling import divisors
from ..trace import Record, Trace, Value
from .formulas import formula

FORMAT = 1
_BINS = 32
_MAPS = 12  # maps in the picture of a value that does not fit, at most
_SIDE = 40  # pixels of such a map, at most
_PICTURES = 4_000_000  # bytes of all pictures: the more there are, the fewer maps has each
_SAMPLE = 1 << 20  # elements of an array that its statistics look at, about
_LONGEST_MOVE = 1 << 18  # elements of an output whose source positions are written down one by one

# Data movement: the source of each output element is found by moving the numbers 0, 1, 2, ...
_MOVES = {"permute", "flip", "roll", "expand", "getitem"}
_SAME_ORDER = {"reshape", "clone", "cast", "move", "view", "module_boundary"}
_WITHOUT_SETTINGS = {"add", "sub", "mul", "div", "scale_shift"}


class Blobs:
    """Arrays one behind the other, each at a multiple of eight bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, array: np.ndarray) -> dict[str, Any]:
        """Where the page finds ``array``: byte offset, number of elements, type."""
        data = np.ascontiguousarray(array).tobytes()
        place = {"offset": self.size, "count": int(array.size), "type": array.dtype.name}
        padding = -len(data) % 8
        self.parts.append(data + bytes(padding))
        self.size += len(data) + padding
        return place

    def bytes(self) -> bytes:
        return b"".join(self.parts)


def document(trace: Trace, *, title: str, limit: int, step: dict[str, Any] | None) -> tuple[dict[str, Any], bytes]:
    """The run as (JSON-able document, numbers); at most ``limit`` bytes of the numbers are exact values."""
    blobs = Blobs()
    records = [r for r in trace.records if r.phase != "backward"]
    values = _values(trace, records)
    exact = _that_fit(trace, values, step, limit)
    maps = _maps_each(trace, [v for v in values if v.number not in exact])
    ledger, kept = _ledger(records, values)
    shown = {
        "format": FORMAT,
        "version": __version__,
        "title": title,
        "model": type(trace.model).__name__,
        "loss_name": trace.loss_name,
        "loss": None if trace.loss is None else trace.loss.number,
        "outputs": [v.number for v in trace.outputs],
        "modules": _modules(trace),
        "values": {str(v.number): _value(trace, v, v.number in exact, maps, blobs, step) for v in values},
        "records": [_record(trace, r, exact, blobs, kept.get(r.number, 0)) for r in records],
        "ledger": ledger,
        "formulas": {r.op: formula(r.op) for r in records},
        "step": None if step is None else step["rule"],
        "all_exact": len(exact) == len(values),
    }
    return shown, blobs.bytes()


def gradient_of(trace: Trace, value: Value) -> Value | None:
    """The gradient of the loss with respect to ``value``, None where there is none."""
    if value.record is None:
        return trace.gradients.get(value.name)
    return value.record.cotangents[value.output] if value.output < len(value.record.cotangents) else None


# ---- values ------------------------------------------------------------------------------------------------------


def _values(trace: Trace, records: list[Record]) -> list[Value]:
    """All that the records take and give, once each."""
    found: dict[int, Value] = {}
    for r in records:
        for a in (*r.args, *r.outputs):
            if isinstance(a, Value):
                found.setdefault(a.number, a)
    return list(found.values())


def _that_fit(trace: Trace, values: list[Value], step: dict[str, Any] | None, limit: int) -> set[int]:
    """Numbers of the values to keep whole, with their gradients: the small ones first, so that most can be asked."""
    sizes = []
    for v in values:
        size = math.prod(v.shape) * v.dtype.itemsize
        copies = 1 + (gradient_of(trace, v) is not None) + (step is not None and v.name in step["after"])
        sizes.append((size * copies, v.number))
    total, fit = 0, set()
    for size, number in sorted(sizes):
        total += size
        if total > limit:
            break
        fit.add(number)
    return fit


def _maps_each(trace: Trace, values: list[Value]) -> int:
    """How many maps the picture of each of ``values`` and of its gradient shows."""
    shapes = [v.shape for v in values for shown in (v, gradient_of(trace, v)) if shown is not None and len(v.shape) > 2]
    sizes = [(math.prod(s[:-2]), math.prod(-(-n // -(-max(s[-2:]) // _SIDE)) for n in s[-2:])) for s in shapes]
    for maps in range(_MAPS, 1, -1):
        if sum(min(planes, maps) * pixels for planes, pixels in sizes) <= _PICTURES:
            return maps
    return 1


def _value(
    trace: Trace, value: Value, exact: bool, maps: int, blobs: Blobs, step: dict[str, Any] | None
) -> dict[str, Any]:
    gradient = gradient_of(trace, value)
    entry: dict[str, Any] = {
        "name": value.name,
        "shape": list(value.shape),
        "dtype": value.dtype.name,
        "record": None if value.record is None else value.record.number,
        "own": _numbers(value.read(), exact, maps, blobs),
        "grad": None if gradient is None else _numbers(gradient.read(), exact, maps, blobs),
    }
    if step is not None and value.name in step["after"] and exact:
        entry["after"] = blobs.add(step["after"][value.name])
    return entry


def _numbers(array: np.ndarray, exact: bool, maps: int, blobs: Blobs) -> dict[str, Any]:
    """Statistics of an array, and itself or a picture of it."""
    entry = _statistics(array)
    if exact:
        kept = array if array.dtype.name in ("float32", "float64", "int32") else array.astype(np.float64)
        entry["data"] = blobs.add(kept)
    elif array.ndim >= 3:
        entry["picture"] = _picture(array, maps, blobs)
    return entry


def _statistics(array: np.ndarray) -> dict[str, Any]:
    """Range, moments, zeros, numbers that are none, a histogram; of a large array all but the range from a sample."""
    if not array.size:
        nothing = dict.fromkeys(("min", "max", "mean", "std", "zeros"), 0.0)
        return {**nothing, "bad": 0, "bins": [], "dead": 0, "every": 1}
    every = max(1, array.size // _SAMPLE)
    sample = array.reshape(-1)[::every].astype(np.float64)
    low, high = float(array.min()), float(array.max())
    bad = 0
    if not math.isfinite(low) or not math.isfinite(high):  # NaN makes both NaN
        finite = np.isfinite(array)
        bad = int(array.size - finite.sum())
        low, high = (float(array[finite].min()), float(array[finite].max())) if finite.any() else (0.0, 0.0)
        sample = sample[np.isfinite(sample)]
    bins = np.histogram(sample, _BINS, (low, high if high > low else low + 1))[0]
    return {
        "min": low,
        "max": high,
        "mean": float(sample.mean()) if sample.size else 0.0,
        "std": float(sample.std()) if sample.size else 0.0,
        "zeros": float((sample == 0).mean()) if sample.size else 0.0,
        "bad": bad,
        "bins": bins.tolist(),
        "dead": int((~array.any(axis=(0, *range(2, array.ndim)))).sum()) if array.ndim == 4 else 0,
        "every": every,
    }


def _picture(array: np.ndarray, count: int, blobs: Blobs) -> dict[str, Any]:
    """The first maps of the first image, every so many pixels, in 256 steps from minimum to maximum."""
    maps = array.reshape(-1, *array.shape[-2:])[:count]
    every = max(1, -(-max(maps.shape[1:]) // _SIDE))
    maps = maps[:, ::every, ::every].astype(np.float64)
    low, high = float(maps.min()), float(maps.max())
    levels = np.round((maps - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    return {"shape": list(levels.shape), "every": every, "min": low, "max": high, "data": blobs.add(levels)}


# ---- records -----------------------------------------------------------------------------------------------------


def _record(trace: Trace, record: Record, exact: set[int], blobs: Blobs, kept: int) -> dict[str, Any]:
    return {
        "number": record.number,
        "op": record.op,
        "label": record.label,
        "path": record.path,
        "phase": record.phase,
        "args": [{"value": a.number} if isinstance(a, Value) else {"constant": _plain(a)} for a in record.args],
        "arguments": [record.argument_name(i) for i in range(len(record.args))],
        "outputs": [v.number for v in record.outputs],
        "attrs": {k: _plain(v) for k, v in record.attrs.items()},
        "forward_ms": record.seconds * 1e3,
        "backward_ms": record.backward_seconds * 1e3,
        "macs": call_macs(record.primitive, record.args, record.attrs, record.outputs[0]),
        "kept": kept,
        "rule": _rule(record, exact, blobs),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float, str, bool, type(None))):
        return value if not isinstance(value, float) or math.isfinite(value) else str(value)
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _rule(record: Record, exact: set[int], blobs: Blobs) -> dict[str, Any]:
    """What the page has to know to take an output of this record apart."""
    op, attrs = record.op, record.attrs
    if op in ("conv", "conv_input_grad"):
        conv = attrs["conv"]
        return {"kind": op, "groups": conv.groups, "taps": [_taps(a) for a in conv.axes]}
    if op == "max_pool":
        return {"kind": op, "taps": [_taps(a) for a in attrs["pool"].axes]}
    if op == "avg_pool":
        pool = attrs["pool"]
        counts = np.broadcast_to(divisors(pool, attrs["include_pad"], attrs["divisor"]), pool.out)
        return {"kind": op, "taps": [_taps(a) for a in pool.axes], "divisors": counts.ravel().tolist()}
    if op in _SAME_ORDER:
        return {"kind": "same_order"}
    small = math.prod(record.outputs[0].shape) <= _LONGEST_MOVE and record.outputs[0].number in exact
    if op in _MOVES and record.outputs[0].shape and small:
        source = record.args[0]
        places = np.arange(math.prod(source.shape), dtype=np.int64).reshape(source.shape)
        return {"kind": "move", "sources": blobs.add(record.primitive.forward(places, **attrs).astype(np.int32))}
    if op in ("sum", "mean"):
        return {"kind": op, "axes": list(attrs["axes"]), "keepdim": bool(attrs["keepdim"])}
    if op in ("softmax", "log_softmax"):
        return {"kind": op, "axis": attrs["axis"] % len(record.outputs[0].shape)}
    if op == "standardize":
        return {"kind": op, "axes": list(attrs["axes"]), "eps": attrs["eps"]}
    if op == "batch_norm":
        return {"kind": op, "eps": attrs["eps"]}
    if op == "cat":
        return {"kind": op, "dim": attrs["dim"] % len(record.outputs[0].shape)}
    if op == "matmul" and all(len(a.shape) == 2 for a in record.args):
        return {"kind": op}
    if op in _WITHOUT_SETTINGS or (len(record.args) == 1 and record.args[0].shape == record.outputs[0].shape):
        return {"kind": op}  # element by element, if the page knows the function
    return {"kind": "other"}


def _taps(axis: Any) -> list[list[int]]:
    """For each window the positions that it reads, -1 for padding."""
    if isinstance(axis, Axis):
        positions = [[axis.position(p, t) for t in range(axis.kernel)] for p in range(axis.out)]
        return [[i if 0 <= i < axis.size else -1 for i in window] for window in positions]
    return [list(range(p * axis.size // axis.out, -(-(p + 1) * axis.size // axis.out))) for p in range(axis.out)]


# ---- modules, memory ---------------------------------------------------------------------------------------------


def _modules(trace: Trace) -> list[dict[str, Any]]:
    named = getattr(trace.model, "named_modules", None)
    if named is None:
        return [{"path": "", "kind": getattr(trace.model, "__name__", "function"), "text": "", "parameters": 0}]
    return [
        {
            "path": path,
            "kind": type(m).__name__,
            "text": m.extra_repr(),
            "parameters": sum(p.numel() for p in m.parameters()),
        }
        for path, m in named()
    ]


def _memory(value: Value) -> int:
    """Identity of the memory under ``value``, the same for all views of it."""
    array = value.array
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return id(array)


def _ledger(records: list[Record], values: list[Value]) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """The buffers that live between the forward and the backward pass, and how many bytes each record keeps first."""
    seen: dict[int, dict[str, Any]] = {}
    kept: dict[int, int] = {}
    counted = {_memory(v) for v in values if v.record is None}  # inputs and parameters are there anyway
    for r in records:
        for name, value, readers in r.saved:
            entry = seen.get(value.number)
            if entry is None:
                size = math.prod(value.shape) * value.dtype.itemsize
                entry = seen[value.number] = {
                    "value": value.number,
                    "name": value.name,
                    "shape": list(value.shape),
                    "bytes": size,
                    "made_by": None if value.record is None else value.record.number,
                    "shared": _memory(value) in counted,
                    "for": [],
                }
                if not entry["shared"]:
                    counted.add(_memory(value))
                    kept[r.number] = kept.get(r.number, 0) + size
            entry["for"].append({"record": r.number, "argument": name, "readers": list(readers)})
    return list(seen.values()), kept
