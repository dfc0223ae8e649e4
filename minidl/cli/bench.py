"""``minidl bench``: the programs of benchmarks/, which stand beside the package in a checkout and are not installed."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    import cyclopts

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "figures": "All figures: layers, networks, memory, planner, first calls; writes a page and pictures.",
    "conv": "Convolution layers against PyTorch, in turns.",
    "steps": "Training steps, inference and memory of whole networks against PyTorch.",
    "plan": "For each layer what the planner chooses, what is best, and the regret.",
    "first-call": "How long the first call of a kernel takes, with nothing compiled and with everything compiled.",
    "gpu": "All of a CUDA card: ceilings, promises, norms, losses and updates, training steps, layers.",
    "peak": "Multiply-adds and bytes a second that this machine can do.",
}


class NoCheckoutError(RuntimeError):
    """The benchmarks are not here."""


def register(app: "cyclopts.App") -> None:
    from cyclopts import App

    bench = App(name="bench", help="Measure speed on this machine: programs of a checkout's benchmarks/ folder.")
    for name, text in PROGRAMS.items():
        bench.command(_command(name), name=name, help=text, help_flags=[])  # its own --help
    app.command(bench)


def _command(name: str) -> Callable[..., int]:
    def run(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
        try:
            program(name).main(list(words))
        except SystemExit as end:  # argparse, after --help (0) or about a wrong word, which it has explained (2)
            return int(end.code or 0)
        return 0

    return run


def program(name: str) -> Any:
    """The module benchmarks.NAME.  NoCheckoutError where minidl was installed without the repository around it."""
    if not (ROOT / "benchmarks" / "__init__.py").is_file():
        raise NoCheckoutError(
            "minidl bench runs the programs of the folder benchmarks/, which is not installed: clone the repository, "
            "python -m pip install -e . in it, and run minidl bench there"
        )
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
