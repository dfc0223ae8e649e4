"""Packages from elsewhere that do not load: which one it is, and the one command that mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import traceback

PIP = "python -m pip install"

# what pip calls each of them, by the name under which it is imported
DISTRIBUTIONS = {
    "threadpoolctl": "threadpoolctl",
    "safetensors": "safetensors",
    "PIL": "pillow",
    "cyclopts": "cyclopts",
    "rich": "rich",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
    "ml_dtypes": "ml-dtypes",
}


def version(distribution: str) -> str | None:
    """The installed version by the package's own record, None where it is not installed.

    >>> version("numpy") is not None, version("no-such-package-here")
    (True, None)
    """
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def trouble(module: str) -> Exception | None:
    """What goes wrong when ``module`` is imported; None where nothing does.

    >>> trouble("json"), trouble("no_such_module_here")
    (None, ModuleNotFoundError("No module named 'no_such_module_here'"))
    """
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken or mismatched install raises anything
        return error
    return None


def repair(distribution: str) -> str:
    """The command that installs a package, or one that is there but broken anew."""
    return f"{PIP} {'--force-reinstall ' if version(distribution) else ''}{distribution}"


def explain(error: ImportError) -> str | None:
    """A sentence for a package of `DISTRIBUTIONS` that could not be imported; None where the error is of another kind.

    >>> explain(ImportError("no picture", name="json"))
    """
    distribution = culprit(error)
    if distribution is None:
        return None
    state = f"installed but fails to import ({error})" if version(distribution) else "not installed"
    return f"this needs the package {distribution}, which is {state}: {repair(distribution)}"


def culprit(error: Exception) -> str | None:
    """The package that was asked for, or else the innermost one in whose files the import failed."""
    asked = (getattr(error, "name", None) or "").partition(".")[0]
    frames = reversed(list(traceback.walk_tb(error.__traceback__)))
    importing = (frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames)
    return next((DISTRIBUTIONS[name] for name in (asked, *importing) if name in DISTRIBUTIONS), None)
