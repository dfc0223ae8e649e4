"""``minidl gradcheck``."""

from typing import TYPE_CHECKING

from ._checks import at_least

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(gradcheck)


def gradcheck(*names: str, all: bool = False, list: bool = False, seed: int = 0, device: str = "cpu") -> int:
    """Compare the derivatives of operations with numerical ones, and say what is wrong with those that differ.

    First and second derivatives, random upstream gradients, complex step where the operation is analytic.  The exit
    code is 1 when one is wrong.

    Parameters
    ----------
    names
        Operations, as in `minidl gradcheck conv2d matmul`.
    all
        Check every operation.
    list
        Only print the names of the operations that can be checked.
    seed
        For the random arguments and upstream gradients.
    device
        Where the operations compute: cpu, cuda or cuda:1.
    """
    at_least(0, seed=seed)
    from minidl.autograd import examples

    if list:
        print("\n".join(examples.names()))
        return 0
    chosen = examples.names() if all else names
    if not chosen:
        print("name an operation (minidl gradcheck conv2d), or --all; --list shows the names")
        return 2
    width = max(len(name) for name in chosen)
    wrong = []
    for number, name in enumerate(chosen):
        first, second = examples.check_named(name, seed, device)
        if number == 0:  # not above the error about an unknown name
            print(f"{'':{width}}  {'first derivative':36}  second derivative")
        print(f"{name:{width}}  {_cell(first):36}  {_cell(second)}", flush=True)
        for order, report in (("first", first), ("second", second)):
            if report is not None and not report.ok:
                wrong.append(name)
                print("\n".join(f"  {line}" for line in f"{order} derivative {report}".splitlines()))
    right = len(chosen) - len(set(wrong))
    print(f"{right} of {len(chosen)} right" + (f"; wrong: {', '.join(wrong)}" if wrong else ""))
    return 1 if wrong else 0


def _cell(report: object) -> str:
    """One report in a few words: the relative error and how the numbers came about."""
    from minidl.autograd.checking import Report

    if not isinstance(report, Report):
        return "not checked"
    return f"{'right' if report.ok else 'WRONG'}  {report.error:.0e}  {report.method}"
