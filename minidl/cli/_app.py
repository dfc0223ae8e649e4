"""Builds the command line from the modules of this folder and turns errors into messages and exit codes.

A command is a module here whose ``register(app)`` adds one or more functions to the cyclopts App; modules
with a leading underscore are none.  They are all imported for each call, so what takes time (Numba,
matplotlib, ``minidl.nn``) is imported inside their functions.  A function may return an exit code.
"""

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minidl import packages

if TYPE_CHECKING:
    import cyclopts

USER_ERROR = 2  # exit code for what the user can mend
INTERRUPTED = 130  # 128 + SIGINT, as shells count

HELP = """See, trust and run convolutional networks on NumPy, Numba and CuPy.

Errors print one message; add --debug for the whole traceback.
"""


def build_app() -> "cyclopts.App":
    """The cyclopts App with all commands of this folder."""
    from cyclopts import App, Parameter

    import minidl

    app = App(
        name="minidl",
        help=HELP,
        version=minidl.__version__,
        default_parameter=Parameter(negative_iterable=()),  # nobody asks for an empty list by --empty-NAME
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    package = importlib.import_module("minidl.cli")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"minidl.cli.{module.name}").register(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0, what the command returned, or 2 for a user's error."""
    arguments = list(arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        from cyclopts import CycloptsError
    except ImportError:
        print("the command line needs cyclopts: python -m pip install cyclopts rich", file=sys.stderr)
        return USER_ERROR
    try:
        result = build_app()(arguments, exit_on_error=False, print_error=True)
        sys.stdout.flush()  # a closed pipe shows here, not when Python exits
    except CycloptsError:  # a wrong word or option, explained already
        return USER_ERROR
    except KeyboardInterrupt as stop:  # a training run says how to go on
        print(str(stop) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        _discard_output()
        return 0
    except Exception as error:
        missing = packages.explain(error) if isinstance(error, ImportError) else None
        if debug or not (missing or is_user_error(error)):
            raise
        print(f"minidl: {missing or _text(error)}", file=sys.stderr)
        return USER_ERROR
    return result if isinstance(result, int) else 0


def is_user_error(error: Exception) -> bool:
    """Whether the message says all: our own exceptions, files, and packages that a message asks for."""
    ours = type(error).__module__.partition(".")[0] == "minidl"
    about_a_file = isinstance(error, OSError) and error.filename is not None
    asks_for_a_package = isinstance(error, ImportError) and error.name is None  # raised with a sentence by us
    return ours or about_a_file or asks_for_a_package


def _text(error: Exception) -> str:
    """The message with its notes (in which module it happened); the name of a file before what is wrong with it."""
    plain = isinstance(error, OSError) and error.filename is not None and type(error).__module__ == "builtins"
    message = f"{error.filename}: {error.strerror}" if plain else str(error)  # type: ignore[attr-defined]
    return "\n".join([message, *getattr(error, "__notes__", [])])


def _discard_output() -> None:
    """Keep Python from complaining about the closed pipe once more when it exits."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
