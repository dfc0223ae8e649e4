"""``minidl report``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ._checks import at_least

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(report)


def report(
    model: str,
    *,
    input: str = "random:0",
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("report.html"),
    weights: Path | None = None,
    target: int | None = None,
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd",
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    train: bool = False,
    limit: float = 6.0,
    options: Annotated[dict[str, Any] | None, Parameter(help="Of the model, as --options.activation relu.")] = None,
) -> None:
    """Write one HTML file to look at a network with: graph, feature maps, gradients, and where each number comes from.

    The file needs no network and no server: open it in a browser.

    Parameters
    ----------
    model
        Name of a model (minidl models lists them), or the folder of a training run.
    input
        random:SEED, digits:NUMBER, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    out
        The file to write.
    weights
        File of weights; without one they are random.
    target
        The class for the cross-entropy loss, whose gradients are shown; by default the input's own, or 0.
    optimizer
        Rule of the step that is shown for each weight.
    lr
        Its learning rate.
    momentum
        Its momentum, of sgd.
    weight_decay
        Its L2 penalty (decoupled with adamw).
    train
        Run as in training: batch norm with the statistics of this input, dropout on.
    limit
        Megabytes of exact numbers in the file, small arrays first; of the others it has pictures.
    """
    from rich.console import Console

    at_least(0, limit=limit)
    from minidl import see
    from minidl.see.inputs import open_model

    subject = open_model(model, weights, options)
    net = subject.model.train(train)
    x, label = subject.input(input)
    target = target if target is not None else label or 0
    subject.trace(x, target)  # compiles what has to be compiled: the times are those of the work
    run = subject.trace(x, target)
    rule = first_step(net, optimizer, lr, momentum, weight_decay)
    words = ["minidl", "explain", model, "--input", input, "--target", str(target)]
    words += ["--weights", str(weights)] if weights is not None else []
    words += [word for name, value in (options or {}).items() for word in (f"--options.{name}", str(value))]
    command = shlex.join([*words, "--train"] if train else words)
    see.report(
        run, out, title=f"{Path(model).name}, {input}", optimizer=rule, limit=round(limit * 1e6), command=command
    )
    Console().print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, open it in a browser", soft_wrap=True, highlight=False)


def first_step(net: Any, optimizer: str, lr: float, momentum: float, weight_decay: float) -> Any:
    """The optimiser that ``--optimizer`` and its options name, before its first step."""
    at_least(0, lr=lr, momentum=momentum, weight_decay=weight_decay)
    from minidl import optim

    shared: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    if optimizer == "sgd":
        return optim.SGD(net.parameters(), momentum=momentum, **shared)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[optimizer](net.parameters(), **shared)
