"""Puts one bug at a time into the running code, runs the checks that should notice, and takes it out again.

A `Mutant` names a function and either an edit of its source text or a replacement made from the true
function.  The wrong code is put into the function object itself, so whoever holds the function sees the bug:
importers, tables, caches, closures.  Compiled Numba functions are rebuilt, and with them every compiled
caller, because a compiled caller keeps the machine code of what it called.

Verdicts: **caught** (a check failed, or the code crashed), **survived** (no check noticed), **stale** (the
source no longer has the text to edit), **error** (the mutant is badly written, or ran past its time).  Only
*caught* counts.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import functools
import importlib
import inspect
import linecache
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from minidl.kernels import jit

PACKAGE = "minidl"
"""Modules of this package are searched for references to what is mutated."""

MISTAKES_OF_THE_MUTANT = (NameError, AttributeError, SyntaxError, ImportError)
"""Exceptions that say that the edit is nonsense, not that a check noticed it."""


class StaleMutant(Exception):
    """The source of the target no longer contains the text to edit exactly once."""


class TimeUp(BaseException):
    """Raised inside a mutant that runs past its limit."""


@dataclass(frozen=True)
class Mutant:
    """One bug.

    target   ``"package.module:function"`` or ``"package.module:Class.method"``; numbers are indices, as in
             ``"minidl.ops.arithmetic:_mul.rules.0.function"``
    checks   callables without arguments (functools.partial of a check), or ``"package.module:function"``
    old, new an edit of the target's source; `old` must occur exactly once
    replace  instead of an edit: takes the true function, returns the wrong one
    story    what a person did wrong
    cleanup  puts right what the bug may leave behind in the process
    through  compiled functions to build anew when the target is Python that writes instructions into them
    """

    name: str
    target: str
    checks: tuple[Callable[[], object] | str, ...]
    story: str
    old: str = ""
    new: str = ""
    replace: Callable[[Any], Any] | None = None
    cleanup: Callable[[], None] | None = None
    through: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.checks:
            raise ValueError(f"mutant {self.name!r} has no checks: it could only survive")
        if (self.replace is None) == (self.old == ""):
            raise ValueError(f"mutant {self.name!r} needs either old= and new= or replace=")


@dataclass(frozen=True)
class Result:
    """What became of one mutant: see the module's text for the verdicts."""

    name: str
    target: str
    verdict: str
    check: str
    message: str
    seconds: float


# checks ----------------------------------------------------


def resolve_check(check: Callable[[], object] | str) -> Callable[[], object]:
    if isinstance(check, str):
        module, _, name = check.partition(":")
        check = getattr(importlib.import_module(module), name)
    assert callable(check)
    return check


def label(check: Callable[[], object] | str) -> str:
    """``agreement(im2col, float64)`` for a partial, the bare name for the others."""
    if isinstance(check, str):
        return check.rpartition(":")[2]
    if isinstance(check, functools.partial):
        arguments = [_text(a) for a in check.args] + [f"{k}={_text(v)}" for k, v in check.keywords.items()]
        return f"{check.func.__name__}({', '.join(arguments)})"
    return getattr(check, "__name__", repr(check))


def _text(argument: object) -> str:
    if not isinstance(argument, tuple):
        return str(argument)
    return "+".join(argument) if all(isinstance(a, str) for a in argument) else f"{len(argument)} problems"


def false_alarms(mutants: Iterable[Mutant]) -> dict[str, str]:
    """Runs every check of these mutants once on the true code; label -> message of those that fail."""
    mutants = list(mutants)
    for m in mutants:
        with contextlib.suppress(Exception):  # run() will say what is wrong with it
            _lines(plain_function(locate(m.target)).__code__.co_filename)
    checks = {_identity(c): c for m in mutants for c in m.checks}
    failed = {}
    for check in checks.values():
        try:
            resolve_check(check)()
        except Exception as error:
            failed[label(check)] = f"{type(error).__name__}: {error}"
    return failed


def _identity(check: Callable[[], object] | str) -> object:
    """Equal for equal partials, which compare by object otherwise."""
    if isinstance(check, functools.partial):
        return check.func, check.args, tuple(check.keywords.items())
    return check


# finding the function and editing it ----------------------------------------------------


def locate(target: str) -> Any:
    """What the target names, as its module or class stores it: a property stays a property."""
    module, _, qualified = target.partition(":")
    owner: Any = importlib.import_module(module)
    *path, name = qualified.split(".")
    for part in path:
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    return inspect.getattr_static(owner, name) if isinstance(owner, (ModuleType, type)) else getattr(owner, name)


def is_compiled(thing: object) -> bool:
    """Whether this is a function that is compiled (without importing Numba for the question)."""
    numba = sys.modules.get("numba.core.dispatcher")
    return numba is not None and isinstance(thing, (numba.Dispatcher, jit.Native))


def plain_function(stored: Any) -> FunctionType:
    """The Python function inside a property, static method, cache, decorator or Numba dispatcher."""
    while not isinstance(stored, FunctionType) or hasattr(stored, "__wrapped__"):
        for inner in ("py_func", "fget", "func", "__func__", "__wrapped__"):
            if getattr(stored, inner, None) is not None:
                stored = getattr(stored, inner)
                break
        else:
            raise TypeError(f"{stored!r} holds no Python function")
    return stored


@functools.cache
def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8").splitlines(keepends=True)


def source_of(function: FunctionType) -> str:
    """The source text of one function, from its file as it was when first asked for.

    ``inspect.getsource`` would read a file again that somebody edits during the run, and find other lines there.
    """
    code = function.__code__
    block = inspect.getblock(_lines(code.co_filename)[code.co_firstlineno - 1 :])
    return textwrap.dedent("".join(block))


def edited_code(function: FunctionType, old: str, new: str, name: str) -> CodeType:
    """The function's code compiled from its source with `old` replaced by `new`."""
    source = source_of(function)
    if (count := source.count(old)) != 1:
        raise StaleMutant(f"{old!r} occurs {count} times in {function.__qualname__}, not once")
    edited = source.replace(old, new)
    tree = ast.parse(edited)
    if ast.dump(tree) == ast.dump(ast.parse(source)):
        raise StaleMutant(f"replacing {old!r} by {new!r} changes no code of {function.__qualname__}")
    tree.body[0].decorator_list = []  # type: ignore[attr-defined]
    file = f"<mutant {name}>"
    linecache.cache[file] = (len(edited), None, edited.splitlines(keepends=True), file)  # for tracebacks
    return _compiled(tree, function, file)


def redirected_code(function: FunctionType) -> CodeType:
    """Code that hands every call of this function to `_replacement`."""
    free = ", ".join(function.__code__.co_freevars)
    source = f"""
def redirected(*args, **kwargs):
    return __import__("sys").modules[{__name__!r}]._replacement(*args, **kwargs)
    ({free})
"""
    return _compiled(ast.parse(source), function, "<mutant>")


_replacement: Callable[..., Any] | None = None
"""What `redirected_code` calls; one mutant is in at a time."""


def _compiled(tree: ast.Module, function: FunctionType, file: str) -> CodeType:
    """Code of the one function in `tree`, fit to be put into `function`: same flags, same free names."""
    free = function.__code__.co_freevars
    if free:  # names are free only inside a function that has them
        cell = ast.parse(f"def closure({', '.join(free)}):\n    pass").body[0]
        cell.body = tree.body  # type: ignore[attr-defined]
        tree.body = [cell]
    flags = function.__code__.co_flags & _FUTURES
    code = compile(tree, file, "exec", flags=flags, dont_inherit=True)
    for _ in range(2 if free else 1):
        code = next(c for c in code.co_consts if isinstance(c, CodeType))
    return code


_FUTURES = importlib.import_module("__future__").annotations.compiler_flag


# putting it in, taking it out ----------------------------------------------------


def package_modules() -> list[ModuleType]:
    return [m for n, m in list(sys.modules.items()) if m and (n == PACKAGE or n.startswith(PACKAGE + "."))]


def rebind(before: Any, after: Any) -> None:
    """Replaces `before` by `after` in every module and module-level dict of the package."""
    for module in package_modules():
        for key, value in list(vars(module).items()):
            if value is before:
                setattr(module, key, after)
            elif isinstance(value, dict) and not key.startswith("__"):
                for k in [k for k, v in value.items() if v is before]:
                    value[k] = after


def clear_caches() -> None:
    """Empties every functools cache of the package: plans and generated kernels must be made anew."""
    for module in package_modules():
        for value in list(vars(module).values()):
            members = vars(value).values() if isinstance(value, type) else (value,)
            for member in list(members):
                if callable(clear := getattr(member, "cache_clear", None)):
                    clear()


def compiled_callers(names: set[int]) -> list[Any]:
    """Numba dispatchers of the package whose Python code refers to one of these objects (by id), directly."""
    found = []
    for module in package_modules():
        for value in list(vars(module).values()):
            if is_compiled(value) and id(value) not in names:
                function = value.py_func
                refers = {id(function.__globals__.get(n)) for n in function.__code__.co_names}
                if refers & names and value not in found:
                    found.append(value)
    return found


def recompiled(dispatcher: Any, function: FunctionType) -> Any:
    """A dispatcher like this one, for this function, compiled anew and never stored on disk."""
    if isinstance(dispatcher, jit.Native):
        return jit.Native(function, **dispatcher.options)
    return type(dispatcher)(function, dispatcher.locals, dict(dispatcher.targetoptions))


def with_code(function: FunctionType, code: CodeType) -> FunctionType:
    copy = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


@contextmanager
def no_compiled_files() -> Iterator[None]:
    """No machine code with a bug in it reaches the compile cache on disk."""
    kept = jit.cache_folder
    jit.cache_folder = lambda source: None  # type: ignore[assignment]
    try:
        yield
    finally:
        jit.cache_folder = kept  # type: ignore[assignment]


@contextmanager
def _swapped_code(function: FunctionType, code: CodeType) -> Iterator[None]:
    """Works on whoever holds the function object, however it came by it."""
    true_code = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = true_code


@contextmanager
def _swapped_compiled(stored: Any, wrong: Any) -> Iterator[None]:
    """Rebinds a compiled function, and every compiled caller, callers of callers... to fresh ones."""
    swaps = [(stored, wrong)]
    known = {id(stored)}
    while callers := compiled_callers(known):
        swaps += [(c, recompiled(c, c.py_func)) for c in callers]
        known |= {id(c) for c in callers}
    try:
        for before, after in swaps:
            rebind(before, after)
        yield
    finally:
        for before, after in swaps:
            rebind(after, before)


@contextmanager
def _redirected_to(replacement: Callable[..., Any]) -> Iterator[None]:
    global _replacement
    _replacement = replacement
    try:
        yield
    finally:
        _replacement = None


@contextmanager
def injected(mutant: Mutant) -> Iterator[None]:
    """The mutant is in the code inside this block and nowhere after it.  Raises StaleMutant."""
    stored = locate(mutant.target)
    function = plain_function(stored)
    with ExitStack() as stack:
        if mutant.cleanup is not None:
            stack.callback(mutant.cleanup)
        stack.callback(clear_caches)
        stack.enter_context(no_compiled_files())
        if mutant.replace is not None:
            if is_compiled(stored):
                raise TypeError("a compiled function can be edited, not replaced")
            true = with_code(function, function.__code__)
            stack.enter_context(_redirected_to(mutant.replace(true)))
            code = redirected_code(function)
        else:
            code = edited_code(function, mutant.old, mutant.new, mutant.name)
        if is_compiled(stored):
            wrong = recompiled(stored, with_code(function, code))
            stack.enter_context(_swapped_compiled(stored, wrong))
        else:
            stack.enter_context(_swapped_code(function, code))
        for compiled in map(locate, mutant.through):
            stack.enter_context(_swapped_compiled(compiled, recompiled(compiled, compiled.py_func)))
        clear_caches()
        yield


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeUp in this thread once `seconds` have passed; on every platform, at the next bytecode."""
    thread, lock, over = threading.get_ident(), threading.Lock(), False

    def fire() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimeUp))

    timer = threading.Timer(seconds, fire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()


# the verdict ----------------------------------------------------


def _is_mistake_of_the_mutant(error: Exception) -> bool:
    return isinstance(error, MISTAKES_OF_THE_MUTANT) or type(error).__module__.startswith("numba.")


def run(mutant: Mutant, limit: float = 120.0, verify: bool = True) -> Result:
    """Injects, runs the checks in order until one notices, restores, and runs that check again.

    It must pass then: a bug that leaves something behind would make every later mutant look caught.  ``verify``
    False leaves that to the caller.
    """
    start, running = time.perf_counter(), ""

    def result(verdict: str, message: str = "", check: str = "") -> Result:
        return Result(mutant.name, mutant.target, verdict, check, message, round(time.perf_counter() - start, 3))

    try:
        checks = [(label(c), resolve_check(c)) for c in mutant.checks]
        with injected(mutant), time_limit(limit):
            for name, check in checks:
                running = name
                check()
        return result("survived")
    except StaleMutant as error:
        return result("stale", str(error))
    except TimeUp:
        return result("error", f"still running after {limit:g} s", running)
    except Exception as error:
        crash = not isinstance(error, AssertionError)
        message = f"{type(error).__name__}: {error}" if crash else str(error)
        if crash and (not running or _is_mistake_of_the_mutant(error)):
            return result("error", message, running)
    try:
        if verify:
            check()
    except Exception as error:
        return result("error", f"{running} fails on the true code afterwards: {error}", running)
    return result("caught", message, f"{running} ({message.partition(':')[0]})" if crash else running)


def score(results: Iterable[Result]) -> tuple[int, int]:
    """(caught, all).  Stale mutants and errors count against the score, as survivors do."""
    results = list(results)
    return sum(r.verdict == "caught" for r in results), len(results)


def score_line(results: Iterable[Result]) -> str:
    caught, total = score(results)
    return f"mutation score: {caught}/{total} = {100 * caught / max(total, 1):.1f} %"


def is_fast(mutant: Mutant) -> bool:
    """Whether injecting needs no compilation."""
    stored = locate(mutant.target)
    return not (is_compiled(stored) or mutant.through or "njit" in plain_function(stored).__code__.co_names)
