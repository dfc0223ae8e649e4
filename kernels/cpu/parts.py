"""Into how many parts the pixels of a weight gradient are cut: plain arithmetic, shared with the cost model.

Each part has sums of its own, which are added in their order at the end.  How many there are follows from sizes alone,
so that the number of threads does not change a bit.
"""

from __future__ import annotations

PARTS = 16
PIXELS = 512  # for which it is worth to add up sums of parts
SHORT = 4 * PIXELS  # sums that are not worth parts where they can lie where they belong
SUMS_BYTES = 4 << 20  # of all parts
CHANNEL_PARTS = 32  # the same of depthwise gradients, whose sums are small
CHANNEL_PIXELS = 192


def product_parts(pixels: int, groups: int, sums: int, turned: bool) -> int:
    """Of products whose ``sums`` take so many bytes; ``turned``: whether they can lie where they belong.

    >>> product_parts(12544, 1, 64 << 10, False), product_parts(12544, 1, 1 << 20, False)
    (16, 4)
    """
    if turned and pixels < SHORT:
        return 1
    parts = max(1, min(-(-PARTS // groups), pixels // PIXELS, SUMS_BYTES // max(1, sums)))
    return 1 << parts.bit_length() - 1  # an even number, or nothing to divide


def worth_turning(depth: int, columns: int, pixels: int, sums: int) -> bool:
    """Whether x and g should change places, where sums would lie as dw does then (`sums.multiply_columns`).

    The channels of x are packed then, which pays where they are fewer than those of g, and nothing has to be
    transposed, which pays where sums are short, or so large that those of parts would come from far.
    """
    return depth < columns or pixels < SHORT or 2 * sums > SUMS_BYTES


def channel_parts(rows: int, width: int) -> int:
    """Of a depthwise gradient, over so many rows of g.

    >>> channel_parts(448, 28), channel_parts(14, 14)
    (32, 1)
    """
    return max(1, min(CHANNEL_PARTS, rows, rows * width // CHANNEL_PIXELS))
