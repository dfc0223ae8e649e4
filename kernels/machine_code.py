"""Machine code of pieces of work: compiled as one program, kept on disk, and loaded without Numba's compiler.

Numba makes machine code of each function, and again inside every function that calls it, and wraps it for calls from
Python.  And before it looks on its disk cache it wakes up its compiler, a third of a second in each process.
Functions that only compiled code calls, those marked `native`, go another way:

* Numba types a function and writes LLVM's code for it, and that is all (`compiler`).
* A piece of work is linked from its parts, optimised once, and stored as an object file.
* The next process hands the object file to LLVM.

An object file is found by a hash over the sources (`jit.cache_folder`), the types, the processor and the versions of
Numba and LLVM, and trusted by a checksum; where none fits, the piece is compiled.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import jit

if TYPE_CHECKING:
    from .compiler import Part

numba = jit.require_numba()

import llvmlite  # noqa: E402
from llvmlite import binding  # noqa: E402
from numba import types  # noqa: E402
from numba.core.compiler_lock import global_compiler_lock  # noqa: E402
from numba.core.registry import cpu_target  # noqa: E402
from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]  # noqa: E402

# Compiling -------------------------------------------------------------------------------------------

OPTIMISATION = 2  # of LLVM's levels; the third takes a third longer, for code that runs no faster


def emit(part: Part, symbol: str) -> bytes:
    """An object file of the function ``symbol``, everything else inside of it."""
    return part.codegen._tm.emit_object(optimised(part, symbol))


def optimised(part: Part, symbol: str) -> Any:
    """LLVM's module of it, optimised."""
    module = part.whole()
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = "internal"
    machine, options = part.codegen._tm, binding.create_pipeline_tuning_options(speed_level=OPTIMISATION)
    options.loop_vectorization = True
    builder = binding.create_pass_builder(machine, options)
    passes = builder.getModulePassManager()
    passes.add_refprune_pass()
    passes.run(module, builder)
    return module


# Object files ----------------------------------------------------------------------------------------


class Code(NamedTuple):
    """An object file, and the name of a function in it."""

    symbol: str
    binary: bytes


def address(function: jit.Native, signature: tuple) -> int:
    """Where the machine code of a `native` function for arguments of these types begins."""
    path = _path(function, signature)
    code = None if path is None else read(path)
    if code is None:
        code = compiled(function, signature)
        if path is not None:
            write(path, code)
    return load(code)


@cache
def entry(function: jit.Native, integers: int) -> Callable[..., int]:
    """A `native` function of so many integers and without a result, for Python; it runs without the GIL."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * integers)
    return functools.partial(kind(address(function, (types.intp,) * integers)), _nowhere, _nowhere)


_nowhere = (ctypes.c_int64 * 2)()  # where a result and an exception would go


@global_compiler_lock  # what LLVM works on is shared by all threads
def compiled(function: jit.Native, signature: tuple) -> Code:
    """The object file of a `native` function for arguments of these types, made now."""
    part, symbol = function.dispatcher.part(signature)
    return Code(symbol, emit(part, symbol))


def _path(function: jit.Native, signature: tuple) -> Path | None:
    folder = jit.cache_folder(Path(function.py_func.__code__.co_filename))
    if folder is None:
        return None
    text = repr((str(signature), _target()))
    return folder / f"{function.__name__}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.o"


@cache
def _target() -> tuple:
    """What machine code depends on beside the sources."""
    versions = numba.__version__, llvmlite.__version__
    return *versions, *cpu_target.target_context.codegen().magic_tuple()


def read(path: Path) -> Code | None:
    """What `write` wrote; None where there is no such file, or a damaged one."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, content = data[:CHECKSUM], data[CHECKSUM:]
    if hashlib.sha256(content).digest() != checksum:
        return None
    symbol, _, binary = content.partition(b"\n")
    return Code(symbol.decode(), binary)


CHECKSUM = hashlib.sha256().digest_size


def write(path: Path, code: Code) -> None:
    """Whole or not at all.  A disk that is full, or belongs to somebody else, is no reason not to compute."""
    content = code.symbol.encode() + b"\n" + code.binary
    unfinished = path.with_name(f"{path.stem}-{os.getpid()}-{threading.get_ident()}")
    try:
        unfinished.write_bytes(hashlib.sha256(content).digest() + content)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()


_engines: list[Any] = []  # they own the machine code, which lives as long as the process


def load(code: Code) -> int:
    """Where the function begins, in this process."""
    _name_runtime()
    triple = binding.get_process_triple()
    machine = binding.Target.from_triple(triple).create_target_machine(codemodel="jitdefault", jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(f'target triple = "{triple}"'), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code.binary))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(code.symbol)


@cache
def _name_runtime() -> None:
    """Let LLVM find Numba's functions for memory by their names, as Numba does before it compiles."""
    for name, place in _nrt_python.c_helpers.items():
        binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", place)
