"""``kernels.cpu.few_rows``: any shapes and strides, every machine's tiles, bits that threads do not change."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import jit

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import few_rows
from tests.checks import few_rows as checks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("check", checks.CHECKS)
def test_on_this_machine(check, dtype) -> None:
    check(dtype)


def test_tiles_of_other_machines(host) -> None:
    checks.any_shape("float32")


def test_what_is_supported() -> None:
    b = np.ones((3, 64), "float32")
    assert few_rows.supports(b) and few_rows.supports(b[::-1])
    assert not few_rows.supports(b.T.copy().T)  # columns lie side by side
    assert not few_rows.supports(b[:, :3])  # not as wide as a register tile
