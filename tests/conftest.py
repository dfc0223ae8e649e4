"""Fixtures for all tests.

``MINIDL_TEST_WITHOUT=numba,llvmlite,torch python -m pytest tests/kernels`` runs as on a machine without these packages.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: a second thread would spin and wait for the other worker
    for library in ("OPENBLAS", "MKL"):  # NumPy's, and that of PyTorch, which follows it
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

sys.modules.update(dict.fromkeys(filter(None, os.environ.get("MINIDL_TEST_WITHOUT", "").split(","))))  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers inherit it: what one has compiled the others take
        folder = tempfile.TemporaryDirectory(prefix="minidl-emulated-")
        os.environ["MINIDL_EMULATED"] = folder.name
        config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets and weights beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder ../shared/data with real data beside the checkout")
    return folder
