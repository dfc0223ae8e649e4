"""``minidl diff``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ._checks import at_least

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(diff)


def diff(
    model: str,
    *,
    input: str = "random:0",
    input_b: str | None = None,
    weights: Path | None = None,
    weights_b: Path | None = None,
    set: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    target: int | None = None,
    rtol: float = 0.0,
    json: bool = False,
    options: Annotated[dict[str, Any] | None, Parameter(help="Of the model, as --options.activation relu.")] = None,
) -> int:
    """Compare two runs of a model value by value and show the first place where they part; exit code 1 if they do.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, an .npy file or an image.
    input_b
        Input of the second run; the same by default.
    weights
        File of weights; without one they are random.
    weights_b
        Weights of the second run; the same by default.
    set
        Values to change in the second run, as "conv1[0,0,3,3]=5".
    target
        Class for the loss; with it the backward passes are compared too.
    rtol
        Let pass differences below this part of a value's largest element.
    json
        Print for programs.
    """
    at_least(0, rtol=rtol)
    from minidl import see
    from minidl.see.inputs import open_model

    runs = []
    for text, file in ((input, weights), (input_b or input, weights_b or weights)):
        subject = open_model(model, file, options)
        x, _ = subject.input(text)
        runs.append(subject.trace(x, target))
    if set:
        stepper = see.Stepper(runs[1])
        for change in set:
            name, _, value = change.partition("=")
            try:
                number = float(value)
            except ValueError:
                raise see.SeeError(f"--set {change}: write NAME[i,j]=NUMBER") from None
            stepper.goto(name)
            stepper.set(name, number)
        runs[1] = stepper.trace()
    found = see.diff(runs[0], runs[1], rtol=rtol)
    if json:
        import json as encoder

        print(encoder.dumps(found.to_dict(), indent=2))
    else:
        print(found)
    return 0 if found.same else 1
