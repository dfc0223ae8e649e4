"""CUDA C++ from the files of this folder: put together, compiled by CuPy, launched.

CuPy compiles for the device at hand and keeps the result on disk (``~/.cupy/kernel_cache``), by source text, options,
architecture and version of NVRTC.  The text of an included file is not part of that key, so `text` puts it into the
source: who edits a ``.cuh`` gets a new kernel.  Everything that a kernel can be asked to know when it is compiled is a
macro (``-D``); what differs from layer to layer is an argument, so that a network does not wait for a compiler at each.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17",)
_INCLUDE = re.compile(r'^#include "([\w.]+)"$', re.MULTILINE)


@functools.cache
def text(name: str) -> str:
    """The source file ``name`` with the files of this folder that it includes in their places.

    >>> "#include" in text("direct.cu"), "struct Window" in text("direct.cu")
    (False, True)
    """
    source = (FOLDER / name).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: text(found[1]), source).replace("#pragma once\n", "")


def options(**macros: Any) -> tuple[str, ...]:
    """What the compiler is called with.

    >>> options(REAL="float", THREADS=128)
    ('-std=c++17', '-DREAL=float', '-DTHREADS=128')
    """
    return (*OPTIONS, *(f"-D{name}={int(v) if isinstance(v, bool) else v}" for name, v in macros.items()))


def function(xp: Any, name: str, kernel: str, flags: tuple[str, ...] = (), own: bool = False, **macros: Any) -> Any:
    """Kernel ``kernel`` of the file ``name``, compiled for the current device by ``xp``, the module CuPy.

    ``own``: with instructions that its compute capability has and later ones do not.
    """
    return _function(xp, name, kernel, (*options(**macros), *flags), own)


@functools.cache
def _function(xp: Any, name: str, kernel: str, options: tuple[str, ...], own: bool) -> Any:
    if own:
        return xp.RawModule(path=str(_binary(xp, name, options))).get_function(kernel)
    return xp.RawModule(code=text(name), options=options).get_function(kernel)


def _binary(xp: Any, name: str, options: tuple[str, ...]) -> Path:
    """A file of the compiled source; CuPy names an architecture without the letter that its own instructions need."""
    nvrtc = importlib.import_module("cupy_backends.cuda.libs.nvrtc")
    program = nvrtc.createProgram(text(name), name, (), ())
    try:
        nvrtc.compileProgram(program, (*options, f"-arch=sm_{xp.cuda.Device().compute_capability}a", "-ftz=true"))
        binary = nvrtc.getCUBIN(program)
    finally:
        nvrtc.destroyProgram(program)
    with tempfile.NamedTemporaryFile(dir=_folder(), suffix=".cubin", delete=False) as file:
        file.write(binary)
    return Path(file.name)


@functools.cache
def _folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="minidl-cuda-")
    atexit.register(folder.cleanup)
    return folder.name


def structure(numbers: tuple[int, ...]) -> np.ndarray:
    """Whole numbers of 32 bits as one argument that is passed by value: what a kernel takes as a struct.

    >>> structure((1, 2, 2**32 - 1)).nbytes
    12
    """
    return np.array([n & 0xFFFFFFFF for n in numbers], np.uint32).view(f"V{4 * len(numbers)}")


def real(dtype: Any) -> str:
    """The C++ name of a floating point type; float16 is defined in ``instructions.cuh``.

    >>> real("float64")
    'double'
    """
    return {"float16": "float16", "float32": "float", "float64": "double"}[np.dtype(dtype).name]
