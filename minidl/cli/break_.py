"""``minidl break``."""

from typing import TYPE_CHECKING

from ._checks import at_least

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(break_, name="break")


def break_(
    *names: str, all: bool = False, list: bool = False, steps: int = 150, seed: int = 0, json: bool = False
) -> int:
    """Switch on a classic bug and see which check finds it, and what it does to a training on digits.

    Nothing is changed on the disk. The exit code is 1 when no check finds a bug.

    Parameters
    ----------
    names
        Bugs, as in minidl break no-flip.
    all
        Try every bug.
    list
        Show the bugs that can be switched on.
    steps
        Steps of the training; 0 for none.
    seed
        Of weights, batches and checks.
    json
        Print for programs.
    """
    at_least(0, steps=steps, seed=seed)
    from minidl.see import break_it, bugs

    known = bugs()
    if list or not (names or all):
        width = max(len(name) for name in known)
        print("\n".join(f"{name:{width}}  {bug.title}" for name, bug in known.items()))
        return 0
    reports = [break_it(name, steps=steps, seed=seed) for name in (known if all else names)]
    if json:
        import json as encoder

        print(encoder.dumps([r.to_dict() for r in reports], indent=2))
    else:
        print("\n\n".join(map(str, reports)))
    return 0 if min(any(f.found for f in r.findings) for r in reports) else 1
