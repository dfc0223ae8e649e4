"""What tests of kernels share: the machines for which kernels are written, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from minidl.kernels import jit


@pytest.fixture(params=["AVX512", "AVX2", "PORTABLE"], ids=["AVX-512", "AVX2", "portable"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The machine, not this one as a rule, in whose vectors and tiles kernels compute while the test runs.

    The test fails if it called no loop with vectors as wide as that machine's, or one with wider ones: then it tried
    another.
    """
    if not jit.HAVE_NUMBA:
        pytest.skip("needs Numba, which is not installed")
    from minidl.kernels.cpu import pieces, simd

    forced, called, code_address = getattr(simd, request.param), [], pieces.code_address

    def watched(function: Any, constant: Any) -> int:
        called.append(constant)
        return code_address(function, constant)

    monkeypatch.setattr(pieces, "code_address", watched)
    with simd.using(forced):
        yield forced
    widths = {width for constant in called for width in _widths(constant)}
    assert forced.width in widths, f"no loop had vectors of {forced.width} bytes, but of {sorted(widths)}"
    single = {width for constant in called if hasattr(constant, "lanes") for width in _widths(constant)}
    assert max(single, default=0) <= forced.width, f"vectors of {max(single)} bytes, and registers of {forced.width}"


def _widths(constant: Any) -> Iterator[int]:
    """Bytes of the vectors that a loop is compiled for; of norms also of several registers side by side."""
    if isinstance(getattr(constant, "lanes", None), int):
        yield constant.lanes * constant.itemsize
    elif is_dataclass(constant):
        for field in fields(constant):
            yield from _widths(getattr(constant, field.name))
