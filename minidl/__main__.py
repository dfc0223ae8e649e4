"""``python -m minidl`` and the command ``minidl``."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default the process's own) and return the exit code."""
    from minidl.cli._app import run

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without × or · shows a question mark
            stream.reconfigure(errors="replace")
    return run(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
