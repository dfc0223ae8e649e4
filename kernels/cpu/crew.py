"""The threads behind a parallel loop: helpers who come when they can, and whom nobody waits for.

The pieces of a loop lie in a common heap.  Whoever calls the loop begins to take pieces at once; each helper takes some
as soon as it is awake.  When the heap is empty the caller waits only for pieces that a helper has begun.  So a helper
that sleeps, or whose core is busy with something else, costs its share of the work and no waiting: a team that divides
the loop beforehand, as OpenMP's does, loses a tenth of a millisecond and more to each helper that must wake up.

A helper that finds nothing to do looks out for a while, giving way to whoever wants its core, and then goes to sleep.

There is one crew in a process.  Of two threads that want it at once, one computes alone.

How it is agreed who does what: all of them look at one row of integers, the *board*.  OPEN is the number of the loop
whose pieces may be taken, or 0; ACTIVE counts the helpers that may be taking some.  A helper counts itself in and then
looks at OPEN again; the caller sets OPEN to 0 and then waits for ACTIVE to become 0.  Whichever is first, no helper is
left with a loop that has ended.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import machine_code
from ..jit import native
from .simd import I8, I32, I64, emit_pointer

# Places on the board, bytes: what different threads write lies in different cache lines.
OPEN, CODE, ARGUMENTS, PIECES, HELPERS = 0, 8, 16, 24, 32  # written by the caller
FAILED = 40  # pieces that found no memory
NEXT = 128  # piece that nobody has taken yet
ACTIVE = 256  # helpers
BUSY = 384  # 1 from the caller's first loop to its last
COUNT = 448  # loops so far
SIZE = 512

PATIENCE = 300
"""How often a helper gives way to others before it goes to sleep: about half a millisecond."""
GLANCES = 32  # at the board, before it gives way

_give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


# ---- one thread's part: compiled ----


@native
def share(board: int, code: int, arguments: int, pieces: int) -> int:
    """The caller's part: open a loop, take pieces until there are none, wait for those that helpers have begun.

    Returns how many pieces failed.
    """
    put(board + CODE, code)
    put(board + ARGUMENTS, arguments)
    put(board + PIECES, pieces)
    put(board + NEXT, 0)
    put(board + FAILED, 0)
    number = look(board + COUNT) + 1
    put(board + COUNT, number)
    put(board + OPEN, number)
    _take(board)
    put(board + OPEN, 0)
    glances = 0
    while look(board + ACTIVE) != 0:
        glances += 1
        _rest(glances)
    return look(board + FAILED)


@native
def serve(board: int, helper: int) -> None:
    """A helper's part: take pieces of the loops that are opened, and return when there was none for a while."""
    last, glances = 0, 0
    while glances < PATIENCE * GLANCES or look(board + BUSY) != 0:
        number = look(board + OPEN)
        if number != 0 and number != last and helper < look(board + HELPERS):
            last, glances = number, 0
            add(board + ACTIVE, 1)
            if look(board + OPEN) == number:
                _take(board)
            add(board + ACTIVE, -1)
        else:
            glances += 1
            _rest(glances)


@native
def _take(board: int) -> None:
    code, arguments, pieces = look(board + CODE), look(board + ARGUMENTS), look(board + PIECES)
    piece = add(board + NEXT, 1)
    while piece < pieces:
        if call(code, arguments, piece) != 0:
            add(board + FAILED, 1)
        piece = add(board + NEXT, 1)


@native
def _rest(glances: int) -> None:
    if glances % GLANCES == 0:
        _give_way()
    else:
        pause()


@intrinsic
def call(context, function, arguments, piece):
    """Call machine code that has Numba's calling convention: (result, exception, arguments...) -> status.

    Returns the status: 0 where all went well.
    """

    def emit(ctx, b, _sig, args):
        result = cgutils.alloca_once(b, I8.as_pointer())
        error = cgutils.alloca_once(b, ctx.call_conv.get_function_type(types.none, ()).args[1].pointee)
        kind = ir.FunctionType(I32, [result.type, error.type, I8.as_pointer(), I64, I64])
        status = b.call(emit_pointer(b, args[0], kind), [result, error, I8.as_pointer()(None), args[1], args[2]])
        return b.sext(status, I64)

    return types.intp(types.intp, types.intp, types.intp), emit


# Sequentially consistent: all threads see all of these in one order.


@intrinsic
def look(context, place):
    """The integer at address ``place``."""

    def emit(ctx, b, _sig, args):
        return b.load_atomic(emit_pointer(b, args[0], I64), "seq_cst", 8)

    return types.intp(types.intp), emit


@intrinsic
def put(context, place, value):
    """Write ``value`` to address ``place``."""

    def emit(ctx, b, _sig, args):
        b.store_atomic(args[1], emit_pointer(b, args[0], I64), "seq_cst", 8)
        return ctx.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def add(context, place, value):
    """Add ``value`` to the integer at address ``place``; what it was before."""

    def emit(ctx, b, _sig, args):
        return b.atomic_rmw("add", emit_pointer(b, args[0], I64), args[1], "seq_cst")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def pause(context):
    """Leave the execution units of this core to its other thread for a moment, on processors that can."""

    def emit(ctx, b, _sig, _args):
        if b.module.triple.startswith(("x86_64", "i686", "i386")):
            b.call(
                cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), []
            )
        return ctx.get_dummy_value()

    return types.void(), emit


# ---- who is there: Python ----


class Crew:
    """The helpers, and the board that they look at."""

    def __init__(self) -> None:
        self.taken = threading.RLock()  # by the thread whose loops these are; one that Ctrl-C cut off takes it again
        self.memory = np.zeros(SIZE + 64, np.uint8)
        start = -self.memory.ctypes.data % 64
        self.board = self.memory.ctypes.data + start
        self.busy = self.memory[start + BUSY : start + BUSY + 8].view(np.int64)
        self.wanted = self.memory[start + HELPERS : start + HELPERS + 8].view(np.int64)
        self.bells: list[threading.Lock] = []  # of the helpers; released to wake one
        self.asleep: set[int] = set()  # whoever takes a helper out of it, rings

    def gather(self, threads: int) -> int:
        """Where the board is, once the helpers are called: ``threads`` - 1 of them.  0 where somebody else has them.

        `dismiss` after the last loop, if it was not 0.
        """
        if not self.taken.acquire(blocking=False):
            return 0
        while len(self.bells) < threads - 1 and self._hire():
            pass
        self.wanted[0] = threads - 1
        self.busy[0] = 1
        # A helper first says that it sleeps and then looks whether it is wanted; here it is the other way round.
        for helper in tuple(self.asleep):
            if helper < threads - 1 and self._take_out(helper):
                self.bells[helper].release()
        return self.board

    def dismiss(self) -> None:
        """Let the helpers go to sleep."""
        self.busy[0] = 0
        self.taken.release()

    def _hire(self) -> bool:
        """Whether there is a helper more; a process may have as many threads as it can."""
        wait_for_loops = machine_code.entry(serve, 2)  # compiled before anybody is in a hurry
        bell = threading.Lock()
        bell.acquire()
        self.bells.append(bell)
        number = len(self.bells) - 1
        arguments = (number, wait_for_loops)
        try:
            threading.Thread(target=self._help, args=arguments, name=f"minidl-{number + 1}", daemon=True).start()
        except RuntimeError:
            self.bells.pop()
            return False
        return True

    def _help(self, helper: int, wait_for_loops: Callable[[int, int], int]) -> None:
        while True:
            wait_for_loops(self.board, helper)
            self.asleep.add(helper)
            if not (self.busy[0] and helper < self.wanted[0] and self._take_out(helper)):
                self.bells[helper].acquire()

    def _take_out(self, helper: int) -> bool:
        """Whether it was asleep; nobody else finds it so afterwards."""
        try:
            self.asleep.remove(helper)
        except KeyError:
            return False
        return True

    def _at_exit(self) -> None:
        """Machine code is freed when a process ends: nobody may be in it."""
        deadline = time.monotonic() + 1.0
        while len(self.asleep) < len(self.bells) and time.monotonic() < deadline:
            time.sleep(0.0005)


_crew = Crew()
atexit.register(lambda: _crew._at_exit())


def gather(threads: int) -> int:
    """`Crew.gather` of this process's crew."""
    return _crew.gather(threads)


def dismiss() -> None:
    """`Crew.dismiss` of this process's crew."""
    _crew.dismiss()


def _after_fork_in_child() -> None:
    global _crew
    _crew = Crew()  # the helpers of the parent are not here, and a lock may be held by one of its threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
