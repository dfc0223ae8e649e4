"""Numbers of the command line that are looked at before anything is read, built or written."""


class OptionError(ValueError):
    """An option whose value cannot be meant."""


def at_least(least: float, **options: float) -> None:
    """Every option must be ``least`` or more; NaN is not.

    >>> at_least(0, save_every=60.0, workers=-1)
    Traceback (most recent call last):
        ...
    minidl.cli._checks.OptionError: --workers must be at least 0, not -1
    """
    for name, value in options.items():
        if not value >= least:
            raise OptionError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
