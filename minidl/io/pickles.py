"""Pickles as plain data, for files that are not to be trusted: no code, no import, memory and time by their size.

A pickle is a program for a small machine that can import and call anything. This reader keeps the opcodes that
build data and drops all others. The few names that a file needs stand for functions written here; no object is
imported, and NumPy's own reconstruction, which would trust the sizes in the file, is not used either.

What remains of the machine could still be made to work for hours: numbers of a million digits, keys that all fall
into one slot of a dict, tuples of tuples that take 2^n steps to hash or to print. Keys are therefore simple,
numbers short, and no error message prints what it has not looked at.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

# Python's own unpickler in Python: its memo is a dict, so that a forged memo index cannot make it allocate
_Base: Any = pickle._Unpickler  # type: ignore[attr-defined]

_ALLOWED = """
PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES EMPTY_LIST LIST APPEND
APPENDS EMPTY_DICT DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT GET BINGET
LONG_BINGET MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_MOST_AXES = 64  # NumPy's limit
_SHOWN = 200  # letters of a message that come from the file


class StandIn:
    """Something in a pickle that is not a plain value; `finish` gives what it stands for."""

    __slots__ = ()

    def set(self, state: Any) -> None:
        raise ValueError("it sets the state of something that has none")

    def finish(self) -> Any:
        raise ValueError("a name where a value belongs")


class Name(StandIn):
    """What a name in a pickle stands for: a function of ours that the reader calls in its place."""

    def __init__(self, make: Any) -> None:
        self.make = make


def shown(value: Any) -> str:
    """A short text for messages; of anything but texts and numbers only the kind."""
    if isinstance(value, (str, bytes)):
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN])
    return repr(value) if isinstance(value, int) and value.bit_length() <= 64 else f"something ({type(value).__name__})"


def are_counts(values: Any) -> bool:
    """Whether these are lengths or strides of an array: few, whole, not negative and of 63 bits at most."""
    return (
        isinstance(values, (tuple, list))
        and len(values) <= _MOST_AXES
        and all(type(n) is int and 0 <= n < 1 << 63 for n in values)
    )


# NumPy's arrays and scalars ---------------------------------------------------------------------------


class _Dtype(StandIn):
    """Stands for ``numpy.dtype``: remembers the name, and the byte order from its state."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else name
        self.order: Any = "="

    def set(self, state: Any) -> None:
        if not isinstance(state, tuple):
            raise ValueError("a malformed dtype")
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else order

    def dtype(self) -> np.dtype:
        name = self.name
        if not isinstance(name, str) or name[:1] not in ("b", "i", "u", "f") or not name[1:].isdigit():
            raise ValueError(f"an array of dtype {shown(name)}; only bool, int, uint and float are read")
        if self.order not in ("|", "<", ">", "="):
            raise ValueError("a malformed dtype")
        return np.dtype(name[:4]) if self.order == "|" else np.dtype(name[:4]).newbyteorder(self.order)


class _Array(StandIn):
    """Stands for an array that is being built; its values come with its state."""

    value: np.ndarray | None = None

    def __init__(self, *_: Any) -> None: ...

    def set(self, state: Any) -> None:
        if not isinstance(state, tuple):
            raise ValueError("a malformed array")
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype):
            raise ValueError("a malformed array")
        kind = dtype.dtype()
        if not isinstance(raw, bytes) or not are_counts(shape):
            raise ValueError("a malformed array")
        if math.prod(shape) * kind.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} and dtype {kind} with {len(raw)} bytes of values")
        # a view of the bytes, never a copy: one text used by a million arrays must not fill the memory
        self.value = np.frombuffer(raw, kind).reshape(shape, order="F" if fortran is True else "C")

    def finish(self) -> np.ndarray:
        if self.value is None:
            raise ValueError("an array without values")
        return self.value


def _scalar(dtype: Any, raw: Any) -> Any:
    """A NumPy scalar as the Python number it is."""
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes) or len(raw) != dtype.dtype().itemsize:
        raise ValueError("a malformed number")
    return np.frombuffer(raw, dtype.dtype())[0].item()


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes that are not written as latin-1 text")
    return text.encode("latin-1")


def only_mentioned(name: str) -> Name:
    """For a name that stands in pickles, a class for example, but is never called."""

    def refuse(*_: Any) -> None:
        raise ValueError(f"{name} called by itself")

    return Name(refuse)


NUMPY_NAMES: dict[tuple[str, str], Name] = {
    ("numpy.core.multiarray", "_reconstruct"): Name(_Array),
    ("numpy._core.multiarray", "_reconstruct"): Name(_Array),
    ("numpy.core.multiarray", "scalar"): Name(_scalar),
    ("numpy._core.multiarray", "scalar"): Name(_scalar),
    ("numpy", "ndarray"): only_mentioned("numpy.ndarray"),
    ("numpy", "dtype"): Name(_Dtype),
    ("_codecs", "encode"): Name(_encode),
}


# The machine -------------------------------------------------------------------------------------------


def _is_key(value: Any) -> bool:
    """Texts, numbers and short tuples of them: hashed at once, and never many with the same hash."""
    if isinstance(value, tuple):
        return len(value) <= 8 and all(not isinstance(part, tuple) and _is_key(part) for part in value)
    if isinstance(value, int):
        return value.bit_length() <= 64
    return value is None or isinstance(value, (str, bytes, float))


def checked_key(key: Any) -> Any:
    """``key`` itself; ValueError where it is no text or number."""
    if not _is_key(key):
        raise ValueError(f"{shown(key)} as a key of a dictionary; keys are texts and numbers")
    return key


class _Whole:
    """Reads what is asked for or nothing: half a number or half a name must not be taken for a whole one."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.stream = stream

    def read(self, count: int) -> bytes:
        data = self.stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def readline(self) -> bytes:
        line = self.stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line


class PlainUnpickler(_Base):
    """The machine. Texts of Python 2 come as ``bytes``. ``room`` is what may be copied on the way."""

    dispatch: ClassVar[dict[int, Any]] = {
        code: _Base.dispatch[code] for code in (getattr(pickle, name)[0] for name in _ALLOWED.split())
    }
    names: ClassVar[Mapping[tuple[str, str], Name]] = NUMPY_NAMES
    unknown: ClassVar[str] = "which no data file needs; nothing was run"

    def __init__(self, stream: io.BytesIO) -> None:
        here = stream.tell()
        self.room = stream.seek(0, io.SEEK_END) - here
        stream.seek(here)
        super().__init__(_Whole(stream), encoding="bytes")

    def find_class(self, module: str, name: str) -> Name:
        try:
            return self.names[module, name]
        except KeyError:
            raise ValueError(f"it asks for {module[:_SHOWN]}.{name[:_SHOWN]}, {self.unknown}") from None

    def charge(self, count: int) -> None:
        """What is copied or walked through, and could be named again and again, must fit the file in all."""
        self.room -= count
        if self.room < 0:
            raise ValueError("more bytes than the file has")

    def _reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack[-1]
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise ValueError("it calls something that is no function")
        self.charge(sum(len(part) for part in arguments if isinstance(part, (str, bytes, tuple, list, dict))))
        self.stack[-1] = name.make(*arguments)

    def _build(self) -> None:
        state, thing = self.stack.pop(), self.stack[-1]
        if not isinstance(thing, StandIn):
            raise ValueError("it sets the state of something that has none")
        thing.set(state)

    def _put(self) -> None:
        index = int(self.readline()[:-1])
        if not 0 <= index < 1 << 32:
            raise ValueError("a memo index of more than 32 bits")
        self.memo[index] = self.stack[-1]

    def _set_items(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, dict):
            raise ValueError("it sets an item of something that is no dictionary")
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items(self.stack[-1], [key, value])

    def _setitems(self) -> None:
        items = self.pop_mark()
        self._set_items(self.stack[-1], items)

    def _dict(self) -> None:
        made: dict[Any, Any] = {}
        self._set_items(made, self.pop_mark())
        self.append(made)

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.PUT[0]] = _put
    dispatch[pickle.SETITEM[0]] = _setitem
    dispatch[pickle.SETITEMS[0]] = _setitems
    dispatch[pickle.DICT[0]] = _dict


def finished(value: Any, deepest: int, done: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """The value with what its stand-ins stand for; ``done`` keeps shared containers shared."""
    done = {} if done is None else done
    if depth > deepest:
        raise ValueError(f"containers nested more than {deepest} deep")
    if isinstance(value, StandIn):
        return value.finish()
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        made: Any
        if isinstance(value, dict):
            made = {finished(k, deepest): finished(v, deepest, done, depth + 1) for k, v in value.items()}
        else:
            made = type(value)(finished(v, deepest, done, depth + 1) for v in value)
        done[id(value)] = made
    return done[id(value)]


def trouble(error: BaseException) -> str:
    """What stopped the machine, in words."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], int):
        return f"opcode 0x{error.args[0]:02x}, which plain data does not need"
    if isinstance(error, EOFError):
        return "it is truncated, it ends too early"
    text = str(error)[: 5 * _SHOWN] or type(error).__name__
    # what the machine stumbles over where nothing checks it
    stumbled = isinstance(error, (LookupError, TypeError, AttributeError, UnicodeError, struct.error))
    return f"damaged ({text})" if stumbled else text
