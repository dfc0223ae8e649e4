"""Step through a run operation by operation, forward and backward, go back, change a value, and run on from there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import SeeError
from .names import find
from .shown import Shown
from .trace import Record, Trace, Value, trace


@dataclass(repr=False)
class Stepped(Shown):
    """One operation that ran: its record, its results now, and how far they are from the recorded ones."""

    record: Record
    outputs: tuple[np.ndarray, ...]
    moved: float

    def to_dict(self) -> dict[str, Any]:
        shapes = [list(o.shape) for o in self.outputs]
        return {"record": self.record.number, "label": self.record.label, "shapes": shapes, "moved": self.moved}

    def __str__(self) -> str:
        from .text import stepped

        return stepped(self)


class Stepper:
    """A run as a program that can be stepped: a cursor between its operations, and the values computed so far.

    Made from a :class:`Trace`, or from a model and its input (further options as for :func:`trace`).  The forward and
    the backward pass are one list of operations.  :meth:`next` and :meth:`back` move the cursor, :meth:`set` changes
    a value that is there and moves it to where the value was made; what comes after is computed anew.  What is
    repeated are the recorded operations, in their order and with their settings: the same input gives the same bits.
    Decisions that Python took (a loop, an ``if``) are not taken again, and random masks stay as they were drawn.

    >>> import minidl
    >>> from minidl import see
    >>> s = see.Stepper(lambda x: (x * 2).relu().sum(), minidl.tensor([1.0, -1.0]))
    >>> s.next().record.label, s.value("mul").tolist()
    ('mul', [2.0, -2.0])
    >>> s.set("mul[1]", 5.0)
    >>> [step.record.label for step in s.run()], s.value("sum").item()
    (['relu', 'sum'], 7.0)
    """

    def __init__(self, model_or_trace: Any, input: Any = None, **options: Any) -> None:
        if not isinstance(model_or_trace, Trace):
            if input is None:
                raise SeeError("a Stepper needs a run: give a trace, or a model and its input")
            model_or_trace = trace(model_or_trace, input, **options)
        self.recorded: Trace = model_or_trace
        self.position = 0
        self.edits: dict[int, np.ndarray] = {}
        self._arrays: dict[int, Any] = {}
        self._by_array = {id(v.array): v for r in self.recorded.records for v in r.outputs if v.array is not None}
        for r in self.recorded.records:
            for a in r.args:
                if isinstance(a, Value) and a.record is None:
                    a.read()  # complains where it was written to since
                    self._arrays[a.number] = a.array
        for v in self.recorded.names.values():
            if v.record is None:
                self._arrays[v.number] = v.array

    def __repr__(self) -> str:
        upcoming = "the end" if self.upcoming is None else self.upcoming.label
        return f"<stepper: {self.position} of {len(self.recorded.records)} operations have run, next is {upcoming}>"

    # ---- moving ----------------------------------------------------------------------------------------

    @property
    def upcoming(self) -> Record | None:
        """The operation that :meth:`next` would run."""
        records = self.recorded.records
        return records[self.position] if self.position < len(records) else None

    def next(self, count: int = 1) -> Stepped:
        """Run the next operation (or ``count`` of them, returning the last)."""
        step = None
        for _ in range(count):
            r = self.upcoming
            if r is None:
                raise SeeError(f"the run ends here, after {len(self.recorded.records)} operations: back() or goto()")
            step = self._run(r)
            self.position += 1
        if step is None:
            raise SeeError(f"next() takes a number of operations of at least 1, not {count}")
        return step

    def back(self, count: int = 1) -> Record | None:
        """Take the last operation back (or ``count`` of them); edits of their results are forgotten."""
        if not 1 <= count <= self.position:
            raise SeeError(f"cannot go back by {count}: {self.position} operations have run")
        for _ in range(count):
            self.position -= 1
            for v in self.recorded.records[self.position].outputs:
                self._arrays.pop(v.number, None)
                self.edits.pop(v.number, None)
        return self.upcoming

    def goto(self, at: str) -> Stepped | None:
        """Move to just after the value ``at`` (a module, a record, a gradient) was made, forwards or backwards."""
        goal = self._value(at)
        stop = 0 if goal.record is None else goal.record.number + 1
        if stop < self.position:
            self.back(self.position - stop)
            return None
        return self.next(stop - self.position) if stop > self.position else None

    def run(self) -> list[Stepped]:
        """Run to the end."""
        steps = []
        while self.upcoming is not None:
            steps.append(self.next())
        return steps

    def reset(self) -> None:
        """Back to the beginning, all edits forgotten."""
        if self.position:
            self.back(self.position)
        for number in self.edits:
            self._arrays[number] = next(v.array for v in self.recorded.names.values() if v.number == number)
        self.edits.clear()

    # ---- looking and changing --------------------------------------------------------------------------

    def value(self, at: str) -> np.ndarray:
        """The array (or with an index the element) that ``at`` names, as it is now."""
        value, place = self._value(at), find(self.recorded, at)
        if value.number not in self._arrays:
            where = "" if value.record is None else f", by operation {value.record.number} ({value.record.label})"
            raise SeeError(f"{value.name} is computed later{where}: {self.position} operations have run; goto({at!r})")
        array = self._arrays[value.number]
        return array if not place.index else array[place.index]

    def set(self, at: str, new: Any) -> None:
        """Give a value (or with an index one element of it) another content; what follows will be computed from it."""
        value, place = self._value(at), find(self.recorded, at)
        array = np.array(self.value(value.name if not place.grad else f"{place.value.name}.grad"), order="K")
        try:
            array[place.index or ...] = new
        except ValueError as error:
            raise SeeError(f"{value.name} has shape {value.shape}: what was given does not fit ({error})") from error
        stop = 0 if value.record is None else value.record.number + 1
        if self.position > stop:
            self.back(self.position - stop)
        self._arrays[value.number] = self.edits[value.number] = array

    def trace(self) -> Trace:
        """The run with the present values, to be explained or compared.  The cursor stays where it is."""
        stop = self.position
        self.run()
        result = _with_values(self.recorded, self._arrays)
        if self.position > stop:
            self.back(self.position - stop)
        return result

    # ---- inside ----------------------------------------------------------------------------------------

    def _value(self, at: str) -> Value:
        place = find(self.recorded, at)
        return self.recorded.gradient(place.value) if place.grad else place.value

    def _run(self, r: Record) -> Stepped:
        arrays = [self._arrays[a.number] if isinstance(a, Value) else a for a in r.args]
        attrs = {k: self._present(v) for k, v in r.attrs.items()} if self.edits else r.attrs
        result = r.primitive.forward(*arrays, **attrs)
        outputs = result if isinstance(result, tuple) else (result,)
        moved = 0.0
        for v, array in zip(r.outputs, outputs):
            array = self.edits.get(v.number, np.asarray(array) if isinstance(array, np.generic) else array)
            self._arrays[v.number] = array
            if v.array is not None and array.dtype.kind == "f" and array.size:
                moved = max(moved, float(np.abs(array.astype(np.float64) - v.array).max()))
        return Stepped(r, tuple(self._arrays[v.number] for v in r.outputs), moved)

    def _present(self, setting: Any) -> Any:
        """A setting of an operation that is a result of another one (the winners of a pool) as it is now."""
        if isinstance(setting, tuple):
            return tuple(self._present(s) for s in setting)
        known = self._by_array.get(id(setting))
        return setting if known is None else self._arrays[known.number]


def _with_values(run: Trace, arrays: dict[int, Any]) -> Trace:
    """A copy of ``run`` with other arrays."""
    new: dict[int, Value] = {}

    def value(v: Any) -> Any:
        if not isinstance(v, Value):
            return v
        if v.number not in new:
            array = arrays.get(v.number, v.array)
            new[v.number] = dataclasses.replace(v, array=array, storage=None, record=None)
        return new[v.number]

    copies: dict[int, Record] = {}
    for r in run.records:
        copy = dataclasses.replace(
            r,
            args=tuple(value(a) for a in r.args),
            outputs=tuple(value(v) for v in r.outputs),
            cotangents=tuple(value(v) for v in r.cotangents),
            gradients=tuple(value(v) for v in r.gradients),
            of=None if r.of is None else copies[r.of.number],
        )
        for v in copy.outputs:
            v.record = copy
        copies[r.number] = copy
    return dataclasses.replace(
        run,
        records=list(copies.values()),
        names={name: value(v) for name, v in run.names.items()},
        calls={path: [tuple(value(v) for v in call) for call in calls] for path, calls in run.calls.items()},
        outputs=tuple(value(v) for v in run.outputs),
        loss=value(run.loss),
        gradients={name: value(v) for name, v in run.gradients.items()},
        cache={},
    )
