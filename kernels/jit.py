"""How this floor compiles: ``njit`` with the house's defaults, and a compile cache that cannot go stale.

Kernel modules write ``from ..jit import native``.  Numba itself is imported by the first of those functions that is
compiled, never by ``import minidl``.  Parallel loops are ours, not Numba's: see ``cpu/pieces.py``.

Two traps are handled here, each met in practice:

* Numba's disk cache notices a change of a function's own file only, not of a function that it calls in
  another file.  Compiled code is therefore stored under a hash of the file *and all files of this floor that
  it imports*.
* Numba refuses to compile at all when it finds no writable folder for its cache.  Here the cache is left out.
"""

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = [
    "HAVE_NUMBA",
    "Native",
    "cache_base",
    "cache_folder",
    "native",
    "njit",
    "require_numba",
]

HAVE_NUMBA = importlib.util.find_spec("numba") is not None

# Sums may be reordered, multiply-adds fused; NaN, infinity and signed zero keep their meaning.
FASTMATH = frozenset({"reassoc", "contract"})
DEFAULTS = {"nogil": True, "error_model": "numpy", "fastmath": set(FASTMATH)}

_FLOOR = Path(__file__).resolve().parent
_KEEP = 3  # compiled generations kept of each module
_decorating = threading.Lock()


@functools.cache
def require_numba() -> ModuleType:
    """Import Numba.  ImportError with the remedy where it is missing."""
    if not HAVE_NUMBA:
        raise ImportError(
            "this kernel is compiled by Numba, which is not installed: python -m pip install numba\n"
            "(without it minidl computes with its NumPy kernels; minidl.kernels.jit.HAVE_NUMBA says which)"
        )
    import numba

    return numba


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit`` with the defaults of this floor, as ``@njit`` or ``@njit(cache=False)``.

    Defaults, each of which can be overridden: ``nogil=True``, ``error_model="numpy"``,
    ``fastmath={"reassoc", "contract"}``, and ``cache=True`` where a writable folder exists.

    Raises ImportError where Numba is not installed.
    """
    if function is None:
        return functools.partial(njit, **options)
    numba = require_numba()
    options = DEFAULTS | {"cache": True} | options
    folder = cache_folder(Path(function.__code__.co_filename)) if options["cache"] else None
    options["cache"] = folder is not None
    with _decorating:
        # Numba reads the setting while it decorates; a user's own functions keep theirs.
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder or "")
        try:
            return numba.njit(**options)(function)
        finally:
            numba.config.CACHE_DIR = before


def native(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A function that only compiled code calls, and `pieces.run`: compiled in the way of `machine_code`.

    Options and their defaults are those of `njit`.
    """
    return functools.partial(Native, **options) if function is None else Native(function, **options)


class Native:
    """What `native` makes of a function.  Numba hears of it when it is compiled, which mostly it was before."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.py_func, self.options = function, DEFAULTS | options
        self.addresses: dict[Any, int] = {}  # of machine code, by the compile-time value it was made for
        self.__name__ = function.__name__
        functools.update_wrapper(self, function)

    @functools.cached_property
    def dispatcher(self) -> Any:
        from .compiler import Dispatcher

        return Dispatcher(self.py_func, self.options)

    @property
    def _numba_type_(self) -> Any:
        return self.dispatcher._numba_type_

    def cache_clear(self) -> None:
        """Whoever calls this function and is compiled from now on takes it as it is now."""
        self.__dict__.pop("dispatcher", None)

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.__name__} is called by compiled functions only")


# The compile cache -----------------------------------------------------------------------------------


def cache_folder(source: Path) -> Path | None:
    """The folder for the compiled code of the file `source`, or None where nothing is writable.

    Its name holds a hash over the file and everything it imports from this floor, so an edit in any of them
    leads to another folder.  Older generations are removed, all but the newest few.
    """
    base = cache_base()
    if base is None or not source.is_file():  # code from a prompt or a notebook has no file
        return None
    name = f"{source.parent.name}.{source.stem}"
    folder = base / f"{name}-{source_hash(source)}"
    if not folder.is_dir():
        try:
            folder.mkdir(exist_ok=True)
        except OSError:
            return None
        _remove_old_generations(base, name)
    return folder


@functools.cache
def source_hash(source: Path) -> str:
    """Hash over the text of `source` and of all files of this floor that it imports, directly or not."""
    digest = hashlib.sha256(sys.implementation.cache_tag.encode())
    for path in sorted(_imported_files(source)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _imported_files(source: Path) -> set[Path]:
    files: set[Path] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path not in files:
            files.add(path)
            waiting += [found for found in _may_import(path, path.read_text(encoding="utf-8")) if found.is_file()]
    return files


_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)", re.MULTILINE)


@functools.cache
def _may_import(path: Path, text: str) -> tuple[Path, ...]:
    """Where what a file with this text imports may lie on this floor.  Kept: most modules import the same few.

    Anything that looks like an import counts, in a comment too: a file too many does no harm.  To parse the files
    would take a fifth of a second, at the start of every process that computes.
    """
    found: list[Path] = []
    for dots, module, names in _FROM.findall(text):
        parts = module.split(".") if module else []
        if dots:
            folder = path.parents[len(dots) - 1].joinpath(*parts)
        elif parts[:2] == ["minidl", "kernels"]:
            folder = _FLOOR.joinpath(*parts[2:])
        else:
            continue
        # `from .a import b`: b may be a name in a.py, in a/__init__.py, or the module a/b.py
        found += [folder.with_suffix(".py"), folder / "__init__.py"]
        found += [folder / f"{name}.py" for name in re.findall(r"\w+", names)]
    return tuple(found)


@functools.cache
def cache_base() -> Path | None:
    """The first folder that can be written to: the user's choice, beside the sources, the user's cache.

    None where there is none; each process then compiles anew.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [Path(chosen) / "minidl"] if chosen else [_FLOOR / "__pycache__" / "numba"]
    candidates += _user_cache_folders()
    for candidate in candidates:
        try:
            candidate.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=candidate).close()
        except OSError:
            continue
        return candidate
    return None


def _user_cache_folders() -> list[Path]:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return [Path(local) / "minidl" / "numba"] if local else []
    try:
        home = Path.home()
    except RuntimeError:  # no HOME and no entry in the user database
        return []
    if sys.platform == "darwin":
        return [home / "Library" / "Caches" / "minidl" / "numba"]
    return [Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "minidl" / "numba"]


def _remove_old_generations(base: Path, name: str) -> None:
    def age(folder: Path) -> float:
        try:
            return folder.stat().st_mtime
        except OSError:  # another process removed it
            return 0.0

    for folder in sorted(base.glob(f"{name}-*"), key=age, reverse=True)[_KEEP:]:
        shutil.rmtree(folder, ignore_errors=True)
