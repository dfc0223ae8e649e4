"""``minidl explain``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ._checks import OptionError, at_least
from .report import first_step

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(explain)


def explain(
    model: str,
    *,
    at: Annotated[list[str], Parameter(consume_multiple=True)],
    input: str = "random:0",
    weights: Path | None = None,
    target: int | None = None,
    train: bool = False,
    terms: int = 12,
    scatter: bool = False,
    chain: bool = False,
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd",
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    device: str = "cpu",
    json: bool = False,
    options: Annotated[dict[str, Any] | None, Parameter(help="Of the model, as --options.activation relu.")] = None,
) -> int:
    """Show where a number of a network comes from: every term of an output or of a gradient, and their exact sum.

    The exit code is 1 when the terms do not make the stored number.

    Parameters
    ----------
    model
        Name of a model (minidl models lists them), or the folder of a training run.
    at
        Numbers, as "conv2[0,3,5,5]", "loss", "fc1.weight.grad[3,7]", "input.grad[0,0,4,4]".
    input
        random:SEED, digits:NUMBER, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    weights
        File of weights; without one they are random.
    target
        The class for the loss, whose gradients are explained; by default the input's own, or 0.
    train
        Run as in training: batch norm with the statistics of this input, dropout on.
    terms
        How many terms to show of each sum, the largest.
    scatter
        Show where the gradient of the number goes instead.
    chain
        Of a weight: show the whole way from the loss through every gradient to its change in one step.
    optimizer
        Rule of that step.
    lr
        Its learning rate.
    momentum
        Its momentum, of sgd.
    weight_decay
        Its L2 penalty (decoupled with adamw).
    device
        Where to compute: cpu, or cuda for an NVIDIA GPU (minidl doctor says whether there is one that works).
    json
        Print for programs.
    """
    at_least(1, terms=terms)
    if scatter and chain:
        raise OptionError("--scatter and --chain are two questions: ask one after the other")
    from minidl import see
    from minidl.see import text
    from minidl.see.inputs import open_model

    subject = open_model(model, weights, options, device)
    subject.model.train(train)
    x, label = subject.input(input)
    backward = scatter or chain or any(".grad" in a or a.startswith("loss") for a in at)
    run = subject.trace(x, (label or 0 if target is None else target) if backward else None)
    if chain:
        rule = first_step(subject.model, optimizer, lr, momentum, weight_decay)
        answers: list[Any] = [see.chain(run, a, rule) for a in at]
    else:
        answers = [see.scatter(run, a) if scatter else see.explain(run, a) for a in at]
    if json:
        import json as encoder

        print(encoder.dumps([a.to_dict(terms) for a in answers], indent=2))
    else:
        show: Any = text.chained if chain else text.scattered if scatter else text.explanation
        print("\n\n".join(show(a, terms) for a in answers))
    return 0 if scatter or all(a.exact for a in answers) else 1
