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
    """
    from rich.console import Console

    from minidl import models as zoo
    from minidl.nn.utils import skip_init
    from minidl.summary import parse_shape, summarize

    info = zoo.info(model)
    shape = info.input_shape if input is None else parse_shape(input)
    with skip_init():  # shapes are enough
        net = zoo.create(model, **info.parse_options(options or {}))
    report = summarize(net, shape, batch, name=model)
    console = Console(markup=False)  # names may hold brackets
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file or pipe is as wide as it takes
    console.print(report.table())
    console.print(report.totals(), highlight=False)
