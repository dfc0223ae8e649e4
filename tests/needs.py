"""What a test needs beside minidl: where it is missing the test is skipped and says why, but not in .ci/run."""

import os

import pytest


def needs(missing: str | None) -> None:
    """Skip for the reason ``missing``; None: nothing is missing.

    With ``MINIDL_TEST_EVERYTHING=1``, as in .ci/run, the test fails instead: there it has to run.
    """
    if missing is not None:
        (pytest.fail if os.environ.get("MINIDL_TEST_EVERYTHING") else pytest.skip)(missing)
