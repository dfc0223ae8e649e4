"""``minidl algorithms``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

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
    device: str = "cpu",
    draw: Annotated[Literal["forward", "input_grad", "weight_grad"], Parameter(name="--pass")] = "forward",
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
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
    device
        Whose kernels: cpu, or cuda for an NVIDIA GPU (minidl doctor says whether there is one that works).
    draw
        The pass whose intermediates are drawn.
    out
        Draw them into this file, .png, .jpg or .webp: columns by their pixels, spectra, tiles.
    json
        Print for programs.
    """
    at_least(1, repeats=repeats)
    if out is not None:
        from minidl.see.features.picture import file_format

        file_format(out)  # before anything is computed
    import numpy as np

    from minidl import see

    rng = np.random.default_rng(0)
    shapes = sizes(input, "the images' shape", "N,C,H,W"), sizes(filters, "the filters' shape", "K,C,R,S")
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    table = see.algorithms(x, w, stride, padding, dilation, groups, repeats=repeats, device=device)
    if json:
        import json as encoder

        print(encoder.dumps(table.to_dict(), indent=2))
    else:
        print(table)
    if out is not None:
        see.Intermediates(table, draw).save(out)
        if not json:
            print(f"picture: {out}")
