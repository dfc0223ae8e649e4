"""The size arithmetic of windows against counting: every formula of ``kernels.geometry`` on a few thousand axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from minidl.kernels.geometry import Axis, Conv, Field, receptive_field


def small_axes() -> Iterator[Axis]:
    for size, kernel, stride, low, high, dilation in itertools.product(
        (1, 2, 5, 8), (1, 2, 3), (1, 2, 4), (0, 1, 3), (0, 2), (1, 2)
    ):
        yield Axis(size, kernel, stride, (low, high), dilation)


def starts(axis: Axis, ceil: bool = False) -> list[int]:
    """Where windows begin in the padded input, one by one.

    The ceil rule lets the last window hang over the end, but not begin in the high padding.
    """
    low, high = axis.pad
    end = low + axis.size + high
    reach = axis.dilation * (axis.kernel - 1)
    found = [s for s in range(0, max(end, 0), axis.stride) if s + reach < end]
    if ceil and found:
        following = found[-1] + axis.stride
        if found[-1] + reach + 1 < end and following < low + axis.size:
            found.append(following)
    return found


def windows_by_counting() -> None:
    """out, leftover, position, windows_at and sizes are what counting on paper gives."""
    for axis in small_axes():
        found = starts(axis)
        if not found:
            assert axis.out <= 0, f"{axis}: no window fits, out says {axis.out}"
            continue
        assert axis.out == len(found), f"{axis}: {len(found)} windows fit, out says {axis.out}"
        last = found[-1] + axis.dilation * (axis.kernel - 1)
        left = axis.pad[0] + axis.size + axis.pad[1] - 1 - last
        assert axis.leftover == left, f"{axis}: {left} positions are left over, leftover says {axis.leftover}"
        for tap in range(axis.kernel):
            reads = [s + tap * axis.dilation - axis.pad[0] for s in found]
            assert [axis.position(p, tap) for p in range(axis.out)] == reads, f"{axis}: tap {tap} reads {reads}"
            real = [p for p, i in enumerate(reads) if 0 <= i < axis.size]
            assert list(axis.windows_at(tap)) == real, (
                f"{axis}: tap {tap} reads real input in windows {real}, windows_at says {axis.windows_at(tap)}"
            )


def ceil_rule_by_counting() -> None:
    """One more window where input is left over, unless it would begin in the high padding."""
    for axis in small_axes():
        if max(axis.pad) > axis.kernel // 2:  # no pooling layer has it
            continue
        found = starts(axis, ceil=True)
        ceiled = Axis(axis.size, axis.kernel, axis.stride, axis.pad, axis.dilation, True)
        if found:
            assert ceiled.out == len(found), f"{ceiled}: {len(found)} windows, out says {ceiled.out}"


def sizes_invert_out() -> None:
    """`sizes` is all input sizes that give a number of windows."""
    for axis, ceil in itertools.product(small_axes(), (False, True)):
        if axis.size != 1 or (ceil and axis.pad[1] >= axis.extent):
            continue
        family = [Axis(n, axis.kernel, axis.stride, axis.pad, axis.dilation, ceil) for n in range(1, 40)]
        for out in range(1, 6):
            want = [a.size for a in family if starts(a) and a.out == out]
            if want:
                got = [n for n in axis_of(axis, ceil).sizes(out) if starts(axis_of(axis, ceil, n))]
                assert got == want, f"{axis}: sizes {want} give {out} windows, sizes says {got}"


def axis_of(axis: Axis, ceil: bool, size: int = 1) -> Axis:
    return Axis(size, axis.kernel, axis.stride, axis.pad, axis.dilation, ceil)


def same_and_transposed() -> None:
    """'same' keeps the size, the odd pad behind; a transposed convolution is the input gradient of its Conv."""
    for kernel, dilation in itertools.product((1, 2, 3, 4, 5), (1, 2, 3)):
        conv = Conv.from_shapes((1, 1, 9), (1, 1, kernel), padding="same", dilation=dilation)
        low, high = conv.padding[0]
        assert conv.out == (9,), f"{conv}: 'same' gives {conv.out}"
        assert 0 <= high - low <= 1, f"{conv}: 'same' pads {low} before and {high} behind"
    for stride, padding, dilation, extra in itertools.product((1, 2, 3), (0, 1), (1, 2), (0, 1, 2)):
        if extra >= stride:
            continue
        conv = Conv.transposed((2, 6, 4, 5), (6, 2, 3, 2), stride, padding, extra, dilation=dilation, groups=2)
        sizes = tuple((n - 1) * stride - 2 * padding + dilation * (k - 1) + extra + 1 for n, k in ((4, 3), (5, 2)))
        assert (conv.y_shape, conv.x_shape) == ((2, 6, 4, 5), (2, 4, *sizes)), (
            f"{conv}: transposed of (2, 6, 4, 5) gives {conv.x_shape}, by hand {(2, 4, *sizes)}"
        )


def fields_by_walking() -> None:
    """A receptive field is the set of inputs that one walks back to, window by window."""
    chains = (
        [Axis(40, 5), Axis(36, 2, 2), Axis(18, 5)],
        [Axis(40, 7, 2, (3, 3)), Axis(20, 3, 2, (1, 1)), Axis(10, 3, 1, (1, 1))],
        [Axis(40, 3, 1, (2, 2), 2), Axis(40, 2, 3, (0, 0)), Axis(13, 3, 2, (1, 0), 2)],
    )
    for chain in chains:
        for unit in (0, 1, 2):
            seen = {unit}
            for axis in reversed(chain):
                seen = {axis.position(p, t) for p in seen for t in range(axis.kernel)}
            field = receptive_field(chain)
            got = field.seen(unit)
            assert (got.start, got.stop - 1) == (min(seen), max(seen)), (
                f"unit {unit} of {chain} sees {min(seen)}..{max(seen)}, seen says {got}"
            )
            assert field.centre + unit * field.jump == (min(seen) + max(seen)) / 2
    assert receptive_field([]) == Field()


CHECKS = (
    windows_by_counting,
    ceil_rule_by_counting,
    sizes_invert_out,
    same_and_transposed,
    fields_by_walking,
)
