"""The sentences of ShapeError: shapes with their letters, the arithmetic with numbers, a likely cause.

Every function here returns a ShapeError (or a text for one) and decides nothing: what is wrong was found in
``geometry.py``.  Letters: N batch, C and K channels in and out, G groups; per axis input D H W, kernel T R S,
output Z P Q.
"""

from __future__ import annotations

from math import prod

from . import drawing
from .errors import ShapeError

Shape = tuple[int, ...]

INPUT, KERNEL, OUTPUT = "DHW", "TRS", "ZPQ"


def letters(alphabet: str, ndim: int) -> list[str]:
    """Names of the spatial axes: ``letters(INPUT, 2)`` is H, W; beyond three axes they are numbered."""
    if ndim <= len(alphabet):
        return list(alphabet[-ndim:]) if ndim else []
    return [f"{alphabet[-1]}{a}" for a in range(ndim)]


def named(name: str, first: list[str], alphabet: str, shape: Shape) -> str:
    """``x (N, C, H, W) = (2, 3, 8, 8)``"""
    axes = ", ".join(first + letters(alphabet, len(shape) - len(first)))
    return f"{name} ({axes}) = {tuple(shape)}"


def message(what: str, lines: list[str], cause: str) -> ShapeError:
    """An error: what is wrong, the arithmetic in lines of its own, and the likely cause."""
    return ShapeError("\n".join([what, *(f"    {line}" for line in lines), f"  likely cause: {cause}"]))


def permute_to_channels_first(rank: int) -> str:
    """The arguments of ``permute`` for an array of so many axes whose last one is the channels."""
    return ", ".join(map(str, [0, rank - 1, *range(1, rank - 1)]))


def wrong_length(name: str, ndim: int, value: object, pairs: bool = False, op: str = "") -> ShapeError:
    """A setting that has too few or too many numbers."""
    text = f"{_of(op)}{name} must be one integer or {ndim} of them (one per spatial axis), got {value!r}"
    if pairs:
        text += f"; different padding before and after an axis is written as {ndim} pair(s) (low, high)"
        if ndim == 1:
            text += f": padding=({value!r},)"
    return ShapeError(text)


def _of(op: str) -> str:
    return f"{op}: " if op else ""


def not_an_integer(name: str, value: object, op: str = "") -> ShapeError:
    """A setting with a number that is none, or not whole."""
    return ShapeError(f"{_of(op)}{name} must be made of integers, got {value!r}")


def too_small(op: str, name: str, values: Shape, least: int, hint: str = "") -> ShapeError:
    """A setting below what is the least."""
    text = f"{op}: {name} must be at least {least} on every axis, got {name} = {values}"
    return ShapeError(text + (f"; {hint}" if hint else ""))


def padding_word(op: str, value: object) -> ShapeError:
    """A padding that is no number and no word that means one."""
    return ShapeError(f'{op}: padding must be integers, (low, high) pairs, "same" or "valid", got {value!r}')


def same_needs_stride_one(op: str, stride: Shape) -> ShapeError:
    """``padding="same"`` with a stride."""
    return ShapeError(
        f'{op}: padding="same" means an output as large as the input, which needs stride 1, '
        f"got stride = {stride}; give the padding in numbers, for example padding=kernel//2"
    )


def weight_rank(op: str, w_shape: Shape) -> ShapeError:
    """Filters with too few axes."""
    return ShapeError(
        f"{op}: w must have an output-channel axis, an input-channel axis and one axis per spatial axis, "
        f"(K, C/G, R, S) for images, got shape {w_shape}"
    )


def input_rank(op: str, x_shape: Shape, w_shape: Shape, channels: int, w_names: list[str]) -> ShapeError:
    """x has not the number of axes that w asks for; ``channels`` is what x should have."""
    rank = len(w_shape)
    lines = [f"x has {len(x_shape)} axes: {x_shape}", named("w", w_names, KERNEL, w_shape)]
    if len(x_shape) == rank - 1:
        cause = "the batch axis is missing: try x.unsqueeze(0)"
        if channels not in x_shape[:1] and x_shape[-1:] == (channels,):
            order = ", ".join(map(str, [rank - 2, *range(rank - 2)]))
            cause = f"the batch axis is missing and the channels come last: try x.permute({order}).unsqueeze(0)"
    elif len(x_shape) == rank - 2:
        cause = "batch and channel axes are missing: try x.unsqueeze(0).unsqueeze(0)"
    else:
        cause = f"x is not made for a {rank - 2}-dimensional kernel"
    expected = ", ".join(["N", "C", *letters(INPUT, rank - 2)])
    return message(f"{op}: x must have {rank} axes ({expected}).", lines, cause)


def bad_groups(op: str, groups: int, x_shape: Shape, w_shape: Shape, axis: str, channels: int) -> ShapeError:
    """``axis`` is "C" or "K", the channels that ``groups`` does not divide."""
    lines = [
        named("x", ["N", "C"], INPUT, x_shape),
        named("w", ["K", "C/G"], KERNEL, w_shape),
        f"{axis} / G = {channels} / {groups} is not a whole number",
    ]
    fits = [g for g in range(1, channels + 1) if channels % g == 0]
    cause = f"groups is not a divisor of {axis}; {axis} = {channels} allows groups in {fits}"
    return message(f"{op}: groups = {groups} does not divide {axis} = {channels}.", lines, cause)


def channels(op: str, x_shape: Shape, w_shape: Shape, groups: int) -> ShapeError:
    """x's channels are not those w was made for (plain convolution)."""
    rank, have, want = len(x_shape), x_shape[1], w_shape[1] * groups
    lines = [
        named("x", ["N", "C"], INPUT, x_shape),
        named("w", ["K", "C/G"], KERNEL, w_shape),
        f"C = C/G * G = {w_shape[1]} * {groups} = {want}, but x has C = {have}",
    ]
    if x_shape[-1] == want:
        cause = f"x looks channels-last: try x.permute({permute_to_channels_first(rank)})"
    elif groups == 1 and w_shape[0] == have:
        cause = "w has its channel axes exchanged, (C, K, ...): try w.transpose(0, 1)"
    elif rank == 4 and w_shape[0] == w_shape[1] and w_shape[2] * groups == have:
        cause = "w looks like (R, S, C, K): try w.permute(3, 2, 0, 1)"
    elif rank > 3 and w_shape[1] == w_shape[2] and w_shape[-1] * groups == have:
        cause = f"w looks channels-last, (K, R, S, C): try w.permute({permute_to_channels_first(rank)})"
    elif groups > 1 and w_shape[1] == have:
        cause = f"w is shaped for groups=1; for groups={groups} its second size is C/G = {have}/{groups}"
    elif w_shape[1] and have % w_shape[1] == 0 and have and w_shape[0] % (have // w_shape[1]) == 0:
        cause = f"groups: groups={have // w_shape[1]} would fit this x and w"
    else:
        cause = f"the layer was made for in_channels={want}; make it with in_channels={have}"
    return message(f"{op}: w is made for C = {want} input channels, x has C = {have}.", lines, cause)


def transposed_channels(op: str, x_shape: Shape, w_shape: Shape) -> ShapeError:
    """x's channels are not those w was made for (transposed convolution, w (C, K/G, ...))."""
    have, want = x_shape[1], w_shape[0]
    lines = [named("x", ["N", "C"], INPUT, x_shape), named("w", ["C", "K/G"], KERNEL, w_shape)]
    if x_shape[-1] == want:
        cause = f"x looks channels-last: try x.permute({permute_to_channels_first(len(x_shape))})"
    elif w_shape[1] == have:
        cause = "w has the layout of a plain convolution, (K, C, ...): try w.transpose(0, 1)"
    else:
        cause = f"the layer was made for in_channels={want}; make it with in_channels={have}"
    return message(f"{op}: w is made for C = {want} input channels, x has C = {have}.", lines, cause)


def arithmetic(letter: str, size: int, kernel: int, stride: int, pad: tuple[int, int], dilation: int) -> str:
    """The output-size formula with numbers put in: ``P = (2 + 2*0 - 1*(5-1) - 1)//1 + 1 = -2``."""
    low, high = pad
    pads = f"2*{low}" if low == high else f"{low} + {high}"
    out = (size + low + high - dilation * (kernel - 1) - 1) // stride + 1
    return f"{letter} = ({size} + {pads} - {dilation}*({kernel}-1) - 1)//{stride} + 1 = {out}"


def no_window(
    op: str,
    lines: list[str],
    axis: int,
    size: Shape,
    kernel: int,
    stride: int,
    pad: tuple[int, int],
    dilation: int,
) -> ShapeError:
    """No window fits along spatial axis ``axis``; ``lines`` show the shapes."""
    ndim = len(size)
    letter, k, out = (letters(alphabet, ndim)[axis] for alphabet in (INPUT, KERNEL, OUTPUT))
    have, extent = size[axis], dilation * (kernel - 1) + 1
    padded = pad[0] + have + pad[1]
    picture = drawing.axis(have, kernel, stride, pad, dilation, windows=0)
    lines = [*lines, arithmetic(out, have, kernel, stride, pad, dilation), *(f"  {line}" for line in picture)]
    missing = extent - padded
    spans = f"{k} = {kernel}" + (f" dilated by {dilation} spans {extent}" if dilation > 1 else "")
    if prod(size) == 0:
        cause = f"x is empty along {letter}"
    else:
        cause = f"earlier layers shrank x too far; it needs {letter} >= {have + missing}, or "
        cause += f"padding >= {-(-(missing + sum(pad)) // 2)} there, or a smaller kernel"
    what = f"{op}: the kernel is larger than the padded input: {spans}, padded {letter} = {padded}."
    return message(what, lines, cause)


def output_padding(op: str, values: Shape, stride: Shape) -> ShapeError:
    """An ``output_padding`` that is not below the stride."""
    return ShapeError(
        f"{op}: output_padding chooses among the output sizes that a convolution of this stride maps to the "
        f"same input size, so 0 <= output_padding < stride on every axis, "
        f"got output_padding = {values}, stride = {stride}"
    )


def output_size(op: str, wanted: Shape, ranges: list[range]) -> ShapeError:
    """An ``output_size`` that no input gives."""
    allowed = ", ".join(
        f"{letter} in {r.start}..{r.stop - 1}" for letter, r in zip(letters(INPUT, len(ranges)), ranges)
    )
    return ShapeError(f"{op}: output_size = {wanted} cannot come from this input; possible: {allowed}")


def no_output(op: str, lines: list[str], letter: str, formula: str) -> ShapeError:
    """A transposed convolution whose padding leaves nothing."""
    return message(
        f"{op}: nothing is left of the output along {letter}.",
        [*lines, formula],
        "padding takes away from a transposed convolution's output; it is too large here",
    )
