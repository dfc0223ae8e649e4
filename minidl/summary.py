"""What a model is made of: layers, output shapes, parameters, multiply-adds, memory of the activations.

Measured by sending an empty batch (0, C, H, W) through the model under a listener of the tape: shapes propagate,
nothing is computed, and where a shape has the empty axis stands the number of images.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import enable_grad, no_grad, ops
from ._fields import Fields, FieldTracker
from ._macs import call_macs, count_macs
from .autograd.tape import Listener, Node, Primitive, Saved
from .nn.modes import modes_kept
from .nn.module import current_module, current_path
from .nn.normalization import _BatchNorm

if TYPE_CHECKING:
    from .kernels.geometry import Field
    from .nn import Module
    from .tensor import Tensor


class SummaryError(ValueError):
    """An input that cannot be summarised: the message says why.

    >>> from minidl.summary import parse_shape
    >>> try:
    ...     parse_shape("3x")
    ... except SummaryError as error:
    ...     print(error)
    an input shape is written as 1,32,32 (channels, height, width), not '3x'
    """


__all__ = ["Row", "Summary", "SummaryError", "count_macs", "parse_shape", "summarize"]


@dataclass
class Row:
    """One layer: its dotted name, class, last output's shape (N first), and counts for the whole batch.

    >>> import minidl
    >>> row = summarize(minidl.nn.Linear(4, 3), (4,)).rows[0]
    >>> row.kind, row.output, row.parameters, row.macs
    ('Linear', (1, 3), 15, 12)
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    output_bytes: int
    saved_bytes: int  # kept by this layer for the backward pass, arrays that an earlier layer keeps not counted again
    field: Fields | None = None  # what a unit sees of the input along each spatial axis; None where that is unknown
    biases: int = 0  # among the parameters

    def field_text(self) -> tuple[str, str, str]:
        """Size of the receptive field, the step from one unit's to the next, and the centre of the first unit's.

        >>> from minidl.kernels.geometry import Field
        >>> Row("conv", "Conv2d", (), 0, 0, 0, 0, (Field(11, 4, -5),) * 2).field_text()
        ('11', '4', '0')
        """
        if self.field is None:
            return "", "", ""
        sizes, steps, centres = ([f"{v:g}" for v in values] for values in zip(*(map(_numbers, self.field))))
        return _once(sizes), "" if set(steps) == {"0"} else _once(steps), _once(centres)


@dataclass
class Summary:
    """The table of :func:`summarize` and its totals.

    >>> import minidl
    >>> summary = summarize(minidl.nn.Sequential(minidl.nn.Linear(4, 3), minidl.nn.ReLU()), (4,), batch=2)
    >>> summary.parameters, summary.macs, len(summary.rows)
    (15, 24, 2)
    """

    model: str
    input_shape: tuple[int, ...]  # with the batch
    rows: list[Row]
    parameters: int
    trainable: int
    parameter_bytes: int
    macs: int
    forward_bytes: int  # the most that is alive at one time in an evaluation under no_grad, input included
    saved_bytes: int  # kept between forward and backward pass, parameters not counted

    @property
    def volumes(self) -> int:
        """Values in the input and behind convolutions, poolings and linear layers: what lectures add up."""
        return sum(math.prod(shape) for shape in (self.input_shape, *(r.output for r in self._volumes())))

    def _volumes(self) -> list[Row]:
        return [r for r in self.rows if r.macs or r.kind.startswith(("MaxPool", "AvgPool"))]

    def volume_table(self) -> Any:
        """The table of CS231n's lectures on VGG-16: values of each volume, and weights without biases, as a rich table.

        >>> import minidl
        >>> table = summarize(minidl.nn.Linear(4, 3), (4,), batch=2).volume_table()
        >>> [[*column.cells, column.footer] for column in table.columns[3:]]
        [['8', '6', '14'], ['', '12', '12']]
        """
        table, rows = self._empty_table(show_footer=True), self._volumes()
        table.add_column("values", f"{self.volumes:,}", justify="right", no_wrap=True)
        table.add_column("weights", f"{sum(r.parameters - r.biases for r in rows):,}", justify="right", no_wrap=True)
        table.add_row("(input)", "", _shape(self.input_shape[1:]), f"{math.prod(self.input_shape):,}", "")
        for r in rows:
            weights = r.parameters - r.biases
            counts = f"{math.prod(r.output):,}", f"{weights:,}" if weights else ""
            table.add_row(r.name, r.kind, _shape(r.output[1:]), *counts)
        return table

    def _empty_table(self, **settings: Any) -> Any:
        from rich import box
        from rich.table import Table

        title = f"{self.model}, input {_shape(self.input_shape)}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), **settings)
        for name in ("layer", "kind", "output"):
            table.add_column(name, no_wrap=True, min_width=9)
        return table

    def table(self) -> Any:
        """As a rich table."""
        table = self._empty_table()
        columns = ["parameters", "MACs", "output\nmemory", "kept for\ntraining"]
        columns += ["field", "stride", "centre"] if any(r.field for r in self.rows) else []
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True)
        for r in self.rows:
            counts = [f"{n:,}" if n else "" for n in (r.parameters, r.macs)]
            sizes = [_bytes(n) for n in (r.output_bytes, r.saved_bytes)]
            fields = r.field_text() if len(columns) > 4 else ()
            table.add_row(r.name, r.kind, _shape(r.output[1:]), *counts, *sizes, *fields)
        return table

    def totals(self) -> str:
        """The totals, a line each."""
        frozen = self.parameters - self.trainable
        return "\n".join(
            [
                f"parameters           {self.parameters:,}" + (f" ({frozen:,} of them frozen)" if frozen else ""),
                f"parameter memory     {_bytes(self.parameter_bytes)}",
                f"volumes              {self.volumes:,} values (input, convolutions, poolings, linear layers)",
                f"multiply-adds        {self.macs:,} (convolutions and matrix products)",
                f"activations, forward {_bytes(self.forward_bytes)} (the most alive at one time, with the input)",
                f"kept for training    {_bytes(self.saved_bytes)} (between forward and backward pass)",
            ]
        )


def summarize(model: Module, input_shape: Sequence[int], batch: int = 1, name: str = "") -> Summary:
    """Count layers, parameters, multiply-adds and memory for ``batch`` images of ``input_shape`` (without batch axis).

    A row is a module that computes something itself, in the order of the first call.  Multiply-adds (MACs) are those
    of convolutions and matrix products of one forward pass; biases, pooling and activations are not counted, taps on
    padding are.  Memory is in bytes, of the arrays that live in the graph; scratch memory of kernels is not counted.
    ``field`` is the receptive field of a unit in each spatial axis (:class:`minidl.kernels.geometry.Field`).

    >>> from minidl import models
    >>> summary = summarize(models.lenet5(), (1, 32, 32))
    >>> summary.parameters, summary.macs
    (61706, 416520)
    >>> [row.field[0].size for row in summary.rows if row.kind in ("Conv2d", "AvgPool2d", "Linear")]
    [5, 6, 14, 16, 32, 32, 32]
    """
    shape = tuple(int(n) for n in input_shape)
    if batch < 1 or min(shape, default=1) < 1:
        raise SummaryError(
            f"a summary needs a batch and input sides of at least 1, got batch {batch} and input {shape}"
        )
    counter, peak = _measure(model, shape, batch)
    rows = list(counter.rows.values())
    parameters = list(model.parameters())
    return Summary(
        name or type(model).__name__,
        (batch, *shape),
        rows,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(p.numel() * p.dtype.itemsize for p in parameters),
        sum(r.macs for r in rows),
        peak.most,
        sum(r.saved_bytes for r in rows),
    )


def parse_shape(text: str) -> tuple[int, ...]:
    """Sizes separated by commas or x.

    >>> parse_shape("1,32,32"), parse_shape("3x224x224")
    ((1, 32, 32), (3, 224, 224))
    """
    parts = text.replace("×", ",").replace("x", ",").split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise SummaryError(f"an input shape is written as 1,32,32 (channels, height, width), not {text!r}")
    return tuple(int(part) for part in parts)


def _measure(model: Module, input_shape: tuple[int, ...], batch: int) -> tuple[_Counter, _Peak]:
    """Run the model forward for training and for use, and leave it as it was."""
    first = next(model.parameters(), None)
    place = {} if first is None else {"dtype": first.dtype, "device": first.device}
    x = ops.zeros(0, *input_shape, **place)
    fields = FieldTracker(x)
    counter, peak = _Counter(model, batch, fields), _Peak(model, batch)
    with modes_kept(model):
        try:
            for module in model.modules():  # an empty batch has no statistics
                module.training = not isinstance(module, _BatchNorm)
            with enable_grad(), fields, counter:
                kept = model(x)  # as long as it lives, so do the arrays that were saved
            del kept
            model.eval()
            with no_grad(), peak:
                peak.add(x)
                model(x)
        except ValueError:
            _say_with_an_image(model, ops.zeros(1, *input_shape, **place))
            raise
    return counter, peak


def _say_with_an_image(model: Module, x: Tensor) -> None:
    """Let what is wrong with the shapes be said with N = 1, not with the empty batch that was sent."""
    model.eval()
    with no_grad(), np.errstate(all="ignore"):  # the weights may be any numbers
        model(x)


def _filled(shape: Sequence[int], batch: int) -> tuple[int, ...]:
    return tuple(n or batch for n in shape)


def _nbytes(array: Any, batch: int) -> int:
    return math.prod(_filled(array.shape, batch)) * array.dtype.itemsize


def _memory(array: Any) -> Any:
    """The array that owns the memory of ``array``."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array


class _Counter(Listener):
    """Notes which module ran what."""

    def __init__(self, model: Module, batch: int, fields: FieldTracker) -> None:
        self.batch = batch
        self.fields = fields
        self.rows: dict[str, Row] = {}
        self.known = {id(_memory(t._array)) for t in (*model.parameters(), *model.buffers())}
        self.parameters: set[int] = set()

    def on_forward(
        self, primitive: Primitive, args: Sequence[Any], attrs: dict[str, Any], outputs: tuple[Tensor, ...], node: Any
    ) -> None:
        path, module = current_path(), current_module()
        row = self.rows.get(path)
        if row is None and module is not None:
            # a parameter of two layers counts where it comes first
            own = {n: p for n, p in module.named_parameters(recurse=False) if id(p) not in self.parameters}
            self.parameters |= {id(p) for p in own.values()}
            count = sum(p.numel() for p in own.values())
            biases = sum(p.numel() for n, p in own.items() if n == "bias")
            row = self.rows[path] = Row(path or "(itself)", type(module).__name__, (), count, 0, 0, 0, biases=biases)
        if row is not None:
            row.output = _filled(outputs[0].shape, self.batch)
            row.field = self.fields.of(outputs[0])
            # an empty batch counts as one image
            row.macs += call_macs(primitive, args, attrs, outputs[0]) * (self.batch if 0 in outputs[0].shape else 1)
            row.output_bytes = _nbytes(
                outputs[0]._array, self.batch
            )  # the winners of max-pooling are kept, not passed on
            row.saved_bytes += self._newly_saved(node)

    def _newly_saved(self, node: Node | None) -> int:
        total = 0
        for saved in () if node is None else (*node.args, *(node.saved_y or ())):
            if isinstance(saved, Saved) and id(_memory(saved.array)) not in self.known:
                self.known.add(id(_memory(saved.array)))
                total += _nbytes(saved.array, self.batch)
        return total


class _Peak(Listener):
    """The largest sum of arrays alive at one time, parameters and buffers not counted."""

    def __init__(self, model: Module, batch: int) -> None:
        self.batch = batch
        self.alive = self.most = 0
        self.known = {id(_memory(t._array)) for t in (*model.parameters(), *model.buffers())}

    def on_forward(
        self, primitive: Primitive, args: Sequence[Any], attrs: dict[str, Any], outputs: tuple[Tensor, ...], node: Any
    ) -> None:
        for output in outputs:
            self.add(output)

    def add(self, tensor: Tensor) -> None:
        """``tensor`` has come into being; views of memory that is counted already need none."""
        memory = _memory(tensor._array)
        if id(memory) not in self.known:
            size = _nbytes(memory, self.batch)
            self.known.add(id(memory))
            self.alive += size
            self.most = max(self.most, self.alive)
            weakref.finalize(memory, self._remove, id(memory), size)

    def _remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


def _shape(shape: Sequence[int]) -> str:
    return "×".join(str(n) for n in shape)


def _numbers(field: Field) -> tuple[float, float, float]:
    return field.size, field.jump, field.centre


def _once(values: Sequence[str]) -> str:
    """One number where all axes agree."""
    return values[0] if len(set(values)) == 1 else "×".join(values)


def _bytes(n: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B" if n else ""
