"""``minidl shape``."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(shape)


def shape(
    operation: Literal["conv", "pool"],
    *,
    size: str,
    kernel: str,
    stride: str | None = None,
    padding: str = "0",
    dilation: str = "1",
    ceil: bool = False,
    json: bool = False,
) -> None:
    """Draw a window operation: where each window lies, what is left over, and which input sizes give this output.

    Parameters
    ----------
    operation
        conv or pool; a pool's stride is its kernel unless given.
    size
        Input size, one number or one for each axis, as 28,32.
    kernel
        Taps of the window.
    stride
        Distance of windows.
    padding
        Positions added on both sides.
    dilation
        Distance of taps.
    ceil
        Let one more window hang over the end.
    json
        Print for programs.
    """
    from minidl import see
    from minidl.summary import parse_shape

    steps = stride or (kernel if operation == "pool" else "1")
    sizes, taps, distance, pads, spread = map(parse_shape, (size, kernel, steps, padding, dilation))
    found = see.window(sizes, taps, distance, pads, spread, ceil)
    if json:
        import json as encoder

        print(encoder.dumps(found.to_dict(), indent=2))
    else:
        print(found)
