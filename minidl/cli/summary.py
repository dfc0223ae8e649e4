"""``minidl summary``."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(summary)


def summary(
    model: str,
    *,
    input: str | None = None,
    batch: int = 1,
    volumes: bool = False,
    options: Annotated[dict[str, Any] | None, Parameter(help="Of the model, as --options.activation relu.")] = None,
) -> None:
    """Show the layers of a model: output shapes, parameters, multiply-adds (MACs), memory of the activations.

    Parameters
    ----------
    model
        Name of a model; minidl models lists them.
    input
        Shape of one input, as 1,32,32; by default the one that the model was made for.
    batch
        Images in the batch.
    volumes
        The table of CS231n's lectures on VGG-16 instead: of the input and of each convolution, pooling and linear layer
        the values that it gives, and its weights without biases.
    """
    from rich.console import Console

    from minidl import models as zoo
    from minidl.nn.utils import skip_init
    from minidl.summary import SummaryError, parse_shape, summarize

    info = zoo.info(model)
    shape = info.input_shape if input is None else parse_shape(input)
    wanted = info.parse_options(options or {})
    channels = wanted.get("in_channels", info.input_shape[0])
    if len(shape) == len(info.input_shape) == 3 and shape[0] != channels:
        mend = f"add --options.in_channels {shape[0]}" if "in_channels" in info.options() else f"--input {channels},..."
        raise SummaryError(f"{model} is made for C = {channels} input channels, --input {input} has {shape[0]}: {mend}")
    with skip_init():  # shapes are enough
        net = zoo.create(model, **wanted)
    report = summarize(net, shape, batch, name=model)
    console = Console(markup=False)  # names may hold brackets
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file or pipe is as wide as it takes
    console.print(report.volume_table() if volumes else report.table())
    console.print(report.totals(), highlight=False)
