"""``minidl doctor``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(doctor)


def doctor(*, json: bool = False) -> int:
    """Look at this machine: what minidl found, what is wrong, and the command that mends it.

    The exit code is 1 when there is a problem.

    Parameters
    ----------
    json
        Print the findings as JSON for programs.
    """
    from minidl.doctor import collect

    report = collect()
    if json:
        import json as encoder

        print(encoder.dumps(report.as_dict(), indent=2))
    else:
        try:
            import rich
        except Exception:  # the report says what is wrong with it
            print(report)
        else:
            rich.print(report)
    return 1 if report.problems else 0
