"""The exception of this package, and the check of numbers that raises it."""


class SeeError(ValueError):
    """A question about a run that cannot be answered as asked; the message says what to change."""


def check_least(**least: tuple[float, float]) -> None:
    """Each named (value, bound): the value must be the bound or more; NaN is not.

    >>> check_least(steps=(0, 1))
    Traceback (most recent call last):
        ...
    minidl.see.errors.SeeError: steps is 1 at least, not 0
    """
    for name, (value, low) in least.items():
        if not value >= low:
            raise SeeError(f"{name} is {low:g} at least, not {value:g}")
