"""``cupy.RawModule`` and ``cupy.RawKernel``: CUDA C++ compiled by the C++ compiler of this machine and run on the CPU.

The source is taken as it is, behind ``cuda_emulator.h``.  Beside what that finds, a launch refuses what CuPy would take
and CUDA would not understand (Python's numbers, arrays of another device, sizes that do not fit the parameters), and
surrounds the memory of every array with NaN: a read beyond it poisons the result, a write into it is an error.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .array import check_device, ndarray
from .capture import launched

HEADER = Path(__file__).with_name("cuda_emulator.h")
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off", "-U_FORTIFY_SOURCE")
TRAPS = ("-fsanitize=bounds,alignment,signed-integer-overflow,shift", "-fsanitize-undefined-trap-on-error")
FENCE = 1 << 14  # bytes around the memory of an array
MOST_SHARED = 99 << 10  # bytes that a block can ask for on the cards with the least, 8.6 and 12.0


def missing() -> str | None:
    """Why kernels cannot be run here, None where they can."""
    if not sys.platform.startswith("linux"):
        return "CUDA kernels are emulated on Linux only"
    if shutil.which("g++") is None:
        return "CUDA kernels are emulated with g++, which is not installed"
    return None


class RawModule:
    def __init__(
        self, *, code: str | None = None, path: str | None = None, options: tuple[str, ...] = (), backend: str = "nvrtc"
    ) -> None:
        assert (code is None) != (path is None), "either the source or a file"
        if path is not None:
            assert options == (), "what is compiled already takes no options"
            code, options = Compiler.read(path)
        assert isinstance(options, tuple) and all(isinstance(o, str) for o in options)
        self.code, self.options = str(code), options

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self.code, name, self.options)


class RawKernel:
    launches = 0

    def __init__(self, code: str, name: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        self.name, self.options = name, options
        self.max_dynamic_shared_size_bytes = 48 << 10
        library = _library(code, options)
        if not hasattr(library, f"launch_{name}"):
            raise AttributeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        self._launch = getattr(library, f"launch_{name}")
        self._launch.restype = ctypes.c_char_p

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int = 0
    ) -> None:
        sizes = [max(1, n) for n in (*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])]  # CuPy makes ones of zeros
        assert sizes[0] < 1 << 31 and max(sizes[1:3]) < 1 << 16, f"CUDA has no grid of {sizes[:3]}"
        assert np.prod(sizes[3:]) <= 1024, f"CUDA has no blocks of {sizes[3:]}"
        assert self.max_dynamic_shared_size_bytes <= MOST_SHARED, "more shared memory than some cards have"
        assert shared_mem <= self.max_dynamic_shared_size_bytes, "set max_dynamic_shared_size_bytes first"
        launched(lambda: self._run(sizes, args, shared_mem))

    def _run(self, sizes: list[int], args: tuple[Any, ...], shared_mem: int) -> None:
        memory = Fences()
        values = [memory.argument(a) for a in args]
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        given = (ctypes.c_uint * len(values))(*(v.nbytes for v in values))
        RawKernel.launches += 1
        error = self._launch((ctypes.c_uint * 7)(*sizes, shared_mem), pointers, given, len(values), RawKernel.launches)
        assert error is None, f"{self.name}: {error.decode()}"
        memory.bring_back(self.name)


class Compiler(ModuleType):
    """``cupy_backends.cuda.libs.nvrtc``, whose binaries hold the source and the options."""

    def __init__(self) -> None:
        super().__init__("cupy_backends.cuda.libs.nvrtc")
        self.programs: dict[int, list[Any]] = {}

    def createProgram(self, source: str, name: str, headers: tuple[Any, ...], includes: tuple[Any, ...]) -> int:
        assert isinstance(source, str) and isinstance(name, str) and len(headers) == len(includes)
        self.programs[number := len(self.programs) + 1] = [source]
        return number

    def compileProgram(self, program: int, options: tuple[str, ...]) -> None:
        assert sum(o.startswith("-arch=") for o in options) == 1, "nobody else says for which architecture"
        self.programs[program].append(list(options))

    def getCUBIN(self, program: int) -> bytes:
        return json.dumps(self.programs[program]).encode()

    def destroyProgram(self, program: int) -> None:
        self.programs[program] = []

    @staticmethod
    def read(path: str) -> tuple[str, tuple[str, ...]]:
        code, options = json.loads(Path(path).read_bytes())
        return code, tuple(options)


class Fences:
    """Copies of the arrays' memory with NaN on both sides, as long as a kernel runs."""

    def __init__(self) -> None:
        self.copies: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def argument(self, value: Any) -> np.ndarray:
        """What a kernel gets for ``value``, as bytes."""
        if isinstance(value, ndarray):
            check_device(value)
            return np.array([self._address(value._host)], np.uint64)
        if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size == 1):
            return np.ascontiguousarray(value).reshape(1)
        raise AssertionError(
            f"an argument of type {type(value).__name__}: CuPy makes 64 bits of Python's numbers whatever the kernel "
            "takes, and no pointer of a NumPy array; pass arrays of CuPy and NumPy's scalars"
        )

    def _address(self, host: np.ndarray) -> int:
        if not host.size:
            return 0
        root = host
        while isinstance(root.base, np.ndarray):
            root = root.base
        if id(root) not in self.copies:
            fenced = np.full(root.nbytes + 2 * FENCE, 0xFF, np.uint8)
            fenced[FENCE:-FENCE] = _bytes(root)
            self.copies[id(root)] = root, fenced
        first = host.__array_interface__["data"][0] - _lowest(root)
        return self.copies[id(root)][1].ctypes.data + FENCE + first

    def bring_back(self, name: str) -> None:
        for root, fenced in self.copies.values():
            for fence in (fenced[:FENCE], fenced[-FENCE:]):
                assert (fence == 0xFF).all(), f"{name}: a thread writes outside of an array of shape {root.shape}"
            _bytes(root)[...] = fenced[FENCE:-FENCE]


def _bytes(a: np.ndarray) -> np.ndarray:
    """All memory of an array without gaps."""
    a = np.atleast_1d(a)  # an index into a single number would copy it
    order = sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))
    dense = a.transpose(order)[tuple(slice(None, None, -1 if a.strides[axis] < 0 else 1) for axis in order)]
    assert dense.flags.c_contiguous, f"memory with gaps: shape {a.shape}, strides {a.strides}"
    return dense.reshape(-1).view(np.uint8)


def _lowest(a: np.ndarray) -> int:
    return _bytes(a).__array_interface__["data"][0]


@functools.cache
def _folder() -> Path:
    if shared := os.environ.get("MINIDL_EMULATED"):  # of all workers of a run of pytest
        return Path(shared)
    folder = tempfile.TemporaryDirectory(prefix="minidl-emulated-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def _library(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """The source compiled, with a function ``launch_NAME`` for each kernel."""
    names = re.findall(r"__global__ void (?:__launch_bounds__\([^()]*\) )?(\w+)\(", code)
    entries = "\n".join(
        f'extern "C" const char* launch_{name}(const unsigned* grid, void** arguments, const unsigned* sizes, '
        f"unsigned given, unsigned seed) {{ return emulator::launch({name}, grid, arguments, sizes, given, seed); }}"
        for name in names
    )
    macros = [o for o in options if o.startswith("-D")]
    place = _folder() / hashlib.sha256(repr((HEADER.read_bytes(), code, macros)).encode()).hexdigest()[:16]
    target = place.with_suffix(".so")
    if not target.exists():  # another worker may have compiled it
        source, made = (place.with_suffix(f".{os.getpid()}.{suffix}") for suffix in ("cpp", "so"))
        source.write_text(f'#include "{HEADER}"\n{code}\n{entries}\n', encoding="utf-8")
        command = ["g++", *FLAGS, *TRAPS, *macros, str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        made.replace(target)  # whole, whoever else looks
    return ctypes.CDLL(str(target))
