"""``minidl step``."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    import cyclopts

HELP = """n [COUNT]        run the next operation, or COUNT of them, at most to the end
b [COUNT]        take the last operation back
g NAME           go to just after NAME was made, forwards or backwards
p NAME           print a value or, as NAME[i,j], an element
s NAME VALUE     set a value; what follows is computed anew
e NAME[i,j]      explain a number of the run as it is now
l                list the next operations
r                back to the beginning, edits forgotten
q                quit"""


def register(app: "cyclopts.App") -> None:
    app.command(step)


def step(
    model: str,
    *,
    input: str = "random:0",
    weights: Path | None = None,
    target: int | None = None,
    do: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    options: Annotated[dict[str, Any] | None, Parameter(help="Of the model, as --options.activation relu.")] = None,
) -> int:
    """Walk through a network operation by operation, forward and backward; go back, change a value, run on.

    Commands are read from the terminal: n next, b back, g NAME go, p NAME print, s NAME VALUE set, e NAME explain,
    l list, r restart, q quit, h help.

    Parameters
    ----------
    model
        Name of a model, or the folder of a training run.
    input
        random:SEED, digits:NUMBER, an .npy file or an image; of a run also test:NUMBER and train:NUMBER.
    weights
        File of weights; without one they are random.
    target
        Class for the loss; with it the backward pass is stepped through too.
    do
        Commands to run instead of reading them, as --do "n 3" "p conv1[0,0,0,0]".
    """
    from minidl import see
    from minidl.see.inputs import open_model

    subject = open_model(model, weights, options)
    x, _ = subject.input(input)
    stepper = see.Stepper(subject.trace(x, target))
    total = len(stepper.recorded.records)
    print(f"{total} operations; h shows the commands")
    failed = 0
    for line in do if do is not None else _typed(lambda: f"{stepper.position}/{total}> "):
        if line.strip() in ("q", "quit", "exit"):
            break
        try:
            answer = command(stepper, line)
        except see.SeeError as error:  # a slip of the finger ends no session
            answer, failed = str(error), 2
        if answer:
            print(answer)
    return failed if do is not None else 0


def _typed(prompt: Callable[[], str]) -> Any:
    """Lines from the terminal or a pipe."""
    while True:
        if sys.stdin.isatty():
            print(prompt(), end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line


def command(stepper: Any, line: str) -> str:
    """Carry out one line; returns what to print."""
    from minidl import see
    from minidl.see.text import summary

    word, *rest = line.split()[:1] + line.split()[1:] or [""]
    argument = " ".join(rest)
    if word in ("g", "p", "e") and not argument:
        raise see.SeeError(f"{word} NAME: which? As {word} conv1[0,0,3,3]")
    if word == "n":
        left = len(stepper.recorded.records) - stepper.position
        return "\n".join(str(stepper.next()) for _ in range(min(_count(argument), max(left, 1))))
    if word == "b":
        upcoming = stepper.back(_count(argument))
        return f"next is {upcoming.label}"
    if word == "g":
        stepper.goto(argument)
        return f"{stepper.position} operations have run"
    if word == "p":
        value = stepper.value(argument)
        return f"{argument} = {value:.9g}" if not getattr(value, "shape", ()) else f"{argument} {summary(value)}"
    if word == "s":
        try:
            name, value = rest
            new = float(value)
        except ValueError:
            raise see.SeeError(f"s NAME VALUE sets a number, as s conv1[0,0,3,3] 5, not {argument!r}") from None
        stepper.set(name, new)
        return f"{name} is {new:g}; {stepper.position} operations have run"
    if word == "e":
        return str(see.explain(stepper.trace(), argument))
    if word == "l":
        near = stepper.recorded.records[stepper.position : stepper.position + 10]
        return "\n".join(f"#{r.number} {r.phase:<8} {r.label}" for r in near)
    if word == "r":
        stepper.reset()
        return "at the beginning"
    if word and word not in ("h", "help", "?"):
        raise see.SeeError(f"no command is called {word!r}\n{HELP}")
    return HELP if word else ""


def _count(text: str) -> int:
    from minidl import see

    if text and not text.isdigit():
        raise see.SeeError(f"how many operations? {text!r} is not a whole number")
    return int(text or 1)
