"""A window sliding along one axis, drawn in letters: for errors, and for the shape explorer of ``minidl.see``.

The first line counts the input's positions (dots are padding), each further line shows where one window's taps lie:

    x         .  0  1  2  3  4  .
    window 0  #  #  #
    window 1        #  #  #
    left over                #  #

Only numbers come in, so that ``shape_errors``, on which ``geometry`` stands, can draw.
"""

from __future__ import annotations

WIDEST = 40  # positions; what is wider is not drawn


def axis(
    size: int,
    kernel: int,
    stride: int = 1,
    pad: tuple[int, int] = (0, 0),
    dilation: int = 1,
    windows: int = 1,
    most: int = 12,
) -> list[str]:
    """The lines of the drawing; none for an axis wider than ``WIDEST``.

    ``windows`` are drawn, at most ``most`` of them; a tap outside the padded input is an ``X``, a position between
    taps (dilation) a ``-``.  With ``windows`` of 0 or less the first is drawn, which does not fit.

    >>> print("\\n".join(axis(5, 3, stride=2, pad=(1, 0), windows=2)))
    x         .  0  1  2  3  4
    window 0  #  #  #
    window 1        #  #  #
    left over                #
    """
    low, high = pad
    extent = dilation * (kernel - 1) + 1
    padded = low + size + high
    shown = max(windows, 1)
    width = max(padded, (shown - 1) * stride + extent)
    if width > WIDEST or padded < 1:
        return []
    names = ["."] * low + [str(i) for i in range(size)] + ["."] * high
    lines = [_line("x", names)]
    for p in range(shown):
        if shown > most and most - 1 <= p < shown - 1:
            if p == most - 1:
                lines.append(f"... {shown - most} more windows")
            continue
        marks = [" "] * width
        for offset in range(extent):
            at = p * stride + offset
            is_tap = offset % dilation == 0
            marks[at] = "-" if not is_tap else "#" if at < padded else "X"
        lines.append(_line(f"window {p}", marks))
    end = (shown - 1) * stride + extent
    if windows > 0 and end < padded:
        lines.append(_line("left over", [" "] * end + ["#"] * (padded - end)))
    return lines


def _line(name: str, marks: list[str]) -> str:
    return f"{name:<9}{''.join(f'{m:>2} ' for m in marks)}".rstrip()
