"""Pickles as plain data: numbers, texts, bytes, lists, dicts and NumPy arrays; nothing else, and no code.

A pickle is a program for a small machine that can import and call anything. This reader keeps the opcodes that
build data and drops all others. The few names that an array needs stand for functions written here; no object
is imported, and NumPy's own reconstruction, which would trust the sizes in the file, is not used either.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

from ._files import PathLike
from .errors import DataError

# Python's own unpickler in Python: its memo is a dict, so that a forged memo index cannot make it allocate
_Base: Any = pickle._Unpickler  # type: ignore[attr-defined]

_ALLOWED = """
PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES
EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT
BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD
"""


class _Dtype:
    """Stands for ``numpy.dtype``: remembers the name, and the byte order from its state."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else name
        self.order = "="

    def set(self, state: Any) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else order

    def dtype(self) -> np.dtype:
        if not isinstance(self.name, str) or self.name[:1] not in "biuf" or not self.name[1:].isdigit():
            raise ValueError(f"an array of dtype {self.name!r}; only bool, int, uint and float are read")
        return np.dtype(self.name) if self.order == "|" else np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stands for an array that is being built; its values come with its state."""

    value: np.ndarray | None = None

    def __init__(self, *_: Any) -> None: ...

    def set(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype):
            raise ValueError("a malformed array")
        kind = dtype.dtype()
        if not isinstance(raw, bytes) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError("a malformed array")
        if math.prod(shape) * kind.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} and dtype {kind} with {len(raw)} bytes of values")
        # a view of the bytes, never a copy: one text used by a million arrays must not fill the memory
        self.value = np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")


class _Name:
    """What a name in the pickle stands for; the reader calls ``make``, and nothing outside this file."""

    def __init__(self, make: Any) -> None:
        self.make = make


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes that are not written as latin-1 text")
    return text.encode("latin-1")


def _not_called(*_: Any) -> None:
    raise ValueError("numpy.ndarray called by itself")


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _Name(_Array),
    ("numpy._core.multiarray", "_reconstruct"): _Name(_Array),
    ("numpy", "ndarray"): _Name(_not_called),
    ("numpy", "dtype"): _Name(_Dtype),
    ("_codecs", "encode"): _Name(_encode),
}


class _DataUnpickler(_Base):
    dispatch = {  # noqa: RUF012 (the base class has it so)
        code: _Base.dispatch[code] for code in (getattr(pickle, name)[0] for name in _ALLOWED.split())
    }

    def find_class(self, module: str, name: str) -> _Name:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise ValueError(f"it asks for {module}.{name}, which no data file needs; nothing was run") from None

    def __init__(self, data: bytes | bytearray) -> None:
        self.stream = io.BytesIO(data)
        self.texts_left = len(data)  # Python 3 wraps bytes as texts; each is used once, so they fit the file
        super().__init__(self.stream, encoding="bytes")

    def _reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack[-1]
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise ValueError("it calls something that is no function")
        self.stack[-1] = made = name.make(*arguments)
        if isinstance(made, bytes):
            self.texts_left -= len(made)
            if self.texts_left < 0:
                raise ValueError("more bytes than the file has")

    def _build(self) -> None:
        state, thing = self.stack.pop(), self.stack[-1]
        if not isinstance(thing, (_Dtype, _Array)) or not isinstance(state, tuple):
            raise ValueError("it sets the state of something that has none")
        thing.set(state)

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.BUILD[0]] = _build


def _finished(value: Any, done: dict[int, Any], depth: int = 0) -> Any:
    """Replace the stand-ins by the arrays they built; ``done`` keeps shared containers shared."""
    if isinstance(value, (_Name, _Dtype)) or depth > 8:
        raise ValueError("a name where a value belongs" if depth <= 8 else "containers nested more than 8 deep")
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without values")
        return value.value
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        made: Any
        if isinstance(value, dict):
            made = {_finished(k, done, depth + 1): _finished(v, done, depth + 1) for k, v in value.items()}
        else:
            made = type(value)(_finished(v, done, depth + 1) for v in value)
        done[id(value)] = made
    return done[id(value)]


def load_data_pickle(data: bytes | bytearray, path: PathLike) -> Any:
    """The data in a pickle; texts of Python 2 come as ``bytes``. ``path`` is what an error names.

    >>> import pickle
    >>> load_data_pickle(pickle.dumps({b"labels": [1, 2]}, protocol=2), "batch")
    {b'labels': [1, 2]}

    :raises DataError: anything but plain data, or a pickle that is cut short or damaged.
    """
    reader = _DataUnpickler(data)
    try:
        return _finished(reader.load(), {})
    except KeyError as error:
        code = error.args[0]
        what = f"opcode 0x{code:02x}, which plain data does not need" if isinstance(code, int) else f"{error}"
        raise DataError(f"not a pickle of plain data ({what})", path, offset=reader.stream.tell()) from error
    except (MemoryError, Exception) as error:
        text = "it ends too early" if isinstance(error, EOFError) else f"{error}"
        raise DataError(f"not a pickle of plain data ({text})", path, offset=reader.stream.tell()) from error
