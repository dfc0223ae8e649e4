"""``minidl algorithms``."""

from typing import TYPE_CHECKING

from ._checks import at_least
from .shape import sizes

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(algorithms)


def algorithms(
    input: str = "1,16,32,32",
    filters: str = "16,16,3,3",
    *,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    groups: int = 1,
    repeats: int = 3,
    json: bool = False,
) -> None:
    """Compute one convolution by every algorithm: time, operations, memory and error of each, in all three passes.

    Parameters
    ----------
    input
        Shape of the images, N,C,H,W.
    filters
        Shape of the filters, K,C/groups,R,S.
    stride
        Distance of windows.
    padding
        Zeros on both sides of each axis.
    dilation
        Distance of taps.
    groups
        Groups of channels.
    repeats
        Runs of each kernel; the fastest counts.
    json
        Print for programs.
    """
    at_least(1, repeats=repeats)
    import numpy as np

    from minidl import see

    rng = np.random.default_rng(0)
    shapes = sizes(input, "the images' shape", "N,C,H,W"), sizes(filters, "the filters' shape", "K,C,R,S")
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    table = see.algorithms(x, w, stride, padding, dilation, groups, repeats=repeats)
    if json:
        import json as encoder

        print(encoder.dumps(table.to_dict(), indent=2))
    else:
        print(table)
