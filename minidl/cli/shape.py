"""``minidl shape``."""

from typing import TYPE_CHECKING, Literal

from ._checks import OptionError

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

    given = {
        "--size": size, "--kernel": kernel, "--stride": stride or (kernel if operation == "pool" else "1"),
        "--padding": padding, "--dilation": dilation,
    }  # fmt: skip
    axes, taps, steps, pads, spread = (sizes(text, name) for name, text in given.items())
    found = see.window(axes, taps, steps, pads, spread, ceil)
    if json:
        import json as encoder

        print(encoder.dumps(found.to_dict(), indent=2))
    else:
        print(found)


def sizes(text: str, option: str, example: str = "28 or 28,32") -> tuple[int, ...]:
    """Whole numbers with commas, or an x, between them.

    >>> sizes("28,32", "--size"), sizes("3x3", "--kernel")
    ((28, 32), (3, 3))
    """
    parts = text.replace("×", ",").replace("x", ",").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise OptionError(f"{option} {text}: whole numbers from 0 with commas between them, as {example}")
    return tuple(map(int, parts))
