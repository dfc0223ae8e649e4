"""Words of the command lines: what cannot be is said in one line, before anything has been measured.

For ``type=`` of argparse, which prints the line behind the usage and ends the program with exit code 2.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from minidl.kernels import threads as _threads

THREADS = min(2, _threads.available_cpus())
"""Where no number is given."""


def threads(word: str) -> int:
    """A number of threads that minidl can compute with.

    >>> threads("1")
    1
    """
    before = _threads.get_num_threads()
    try:
        _threads.set_num_threads(int(word))
    except ValueError as error:  # int says which word is no number, set_num_threads how many there can be
        raise argparse.ArgumentTypeError(str(error)) from None
    _threads.set_num_threads(before)
    return int(word)


def seconds(word: str) -> float:
    """A time to measure for; 0 takes the fewest rounds.

    >>> seconds("2.5")
    2.5
    """
    return _time("seconds", word)


def minutes(word: str) -> float:
    """A time after which nothing more is begun.

    >>> minutes("20")
    20.0
    """
    return _time("minutes", word)


def _time(unit: str, word: str) -> float:
    try:
        time = float(word)
    except ValueError:
        time = math.nan
    if not 0 <= time < math.inf:
        raise argparse.ArgumentTypeError(f"{unit} to measure for are a number, 0 or more, not {word}")
    return time


def file(word: str) -> Path:
    """A file that results can be written to.

    >>> file("results.json").name
    'results.json'
    """
    path = Path(word)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"results are written to a file, and {path} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"results cannot be written to {path}: there is no folder {path.parent}")
    return path


def folder(word: str) -> Path:
    """A folder that results can be written to; made now, so that what forbids it is said now.

    >>> folder(".").name
    ''
    """
    try:
        Path(word).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"results cannot be written to the folder {word}: {error}") from None
    return Path(word)
