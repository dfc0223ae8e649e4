"""The fixture ``cupy``: the stand-in on every machine, and a second leg, marked gpu, with CuPy on a real device.

``pytest -m gpu`` asks for the second leg; without a device it fails, it does not skip.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from minidl import backend
from minidl.kernels import catalogue, choice, pooling
from tests.needs import needs
from tests.standin import emulated, modules


@functools.cache
def _real() -> Any:
    """CuPy where it finds a device, else the reason why not."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    try:
        import cupy

        return cupy if cupy.cuda.is_available() else "CuPy finds no device"
    except Exception as error:
        return f"CuPy does not load: {error}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cupy" in metafunc.fixturenames:
        legs: list[Any] = ["standin"]
        if "gpu" in (metafunc.config.option.markexpr or "") or not isinstance(_real(), str):
            legs.append(pytest.param("gpu", marks=pytest.mark.gpu))
        metafunc.parametrize("cupy", legs, indirect=True)


@pytest.fixture
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module behind ``minidl.Tensor`` on "cuda"; ``cupy.__version__`` ends in "standin" where it is none."""
    if request.param == "gpu":
        real = _real()
        assert not isinstance(real, str), f"{real}: the tests marked gpu need a CUDA device"
        yield real
        return
    for name in [n for n in sys.modules if n.partition(".")[0] in ("cupy", "cupyx")]:
        monkeypatch.delitem(sys.modules, name)
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    if getattr(request.module, "EMULATED", False):
        needs(emulated.missing())
    else:
        # the planner does not know of kernels written in CUDA: to emulate them takes a C++ compiler, and time
        for pass_ in ("forward", "input_grad", "weight_grad"):
            rows = [k for k in catalogue.kernels("conv", pass_, "cuda") if not k.module.startswith(".cuda.")]
            monkeypatch.setitem(catalogue._table, ("conv", pass_, "cuda"), rows)
        monkeypatch.setitem(pooling.MODULES, "cuda", {"arrays": ".arrays.pooling"})
        monkeypatch.setattr(choice, "CUDA", {})
    for cached in (backend._cupy, catalogue._choose):
        cached.cache_clear()
    yield sys.modules["cupy"]
    for cached in (backend._cupy, catalogue._choose):
        cached.cache_clear()
