"""One call carried out on the CPU and on the device with the same numbers, and compared."""

from __future__ import annotations

import functools
import zlib
from typing import Any

import numpy as np

import minidl
from tests.parity.cases import Case, Input, inputs_of, replaced
from tests.parity.harness import TOLERANCE, close, flat
from tests.standin.offered import words

CREATING = words("tensor zeros ones empty full arange linspace eye rand randn randint randperm as_tensor")


class OnDevice:
    """``minidl`` for cases that make tensors of their own: on the device, as their arguments are."""

    def __init__(self, module: Any, device: str) -> None:
        self.module, self.device = module, device

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        if name in CREATING:
            return functools.partial(found, device=self.device)
        if name.startswith("conv"):  # the algorithms that cases name are the CPU's
            return lambda *args, algorithm=None, **options: found(*args, **options)
        return OnDevice(found, self.device) if name in ("nn", "functional") else found


def on_device(array: np.ndarray, spec: Input, cupy: Any) -> minidl.Tensor:
    """``array`` uploaded with its layout in memory."""
    if spec.layout == "strided":
        return minidl.from_numpy(cupy.asarray(array.base)[..., ::2])
    return minidl.from_numpy(cupy.asarray(array))


class Both:
    """One parity case in one dtype; ``compare`` raises where the device and the CPU disagree."""

    def __init__(self, case: Case, dtype: str, cupy: Any) -> None:
        self.case, self.dtype, self.cupy = case, dtype, cupy
        self.rng = np.random.default_rng(zlib.crc32(case.id.encode()))
        specs = list(inputs_of((case.args, case.kwargs)))
        arrays = [spec.draw(self.rng, dtype) for spec in specs]
        self.tensors = {
            "cpu": [minidl.from_numpy(a.copy()) for a in arrays],
            "cuda": [on_device(a, s, cupy) for a, s in zip(arrays, specs)],
        }
        self.wanted = [i for i, s in enumerate(specs) if s.differentiable and case.first]
        for tensors in self.tensors.values():
            for i in self.wanted:
                tensors[i].requires_grad_()
        coarse = dtype == "float32" or any(s.dtype in ("float32", "float16") for s in specs)
        self.tolerance = 2 * TOLERANCE["float32" if coarse else "float64"] * case.factor

    def outputs(self, device: str) -> list[Any]:
        args, kwargs = replaced((list(self.case.args), self.case.kwargs), iter(self.tensors[device]))
        return flat(self.case.run(OnDevice(minidl, device), args, kwargs))

    def compare(self) -> None:
        host, device = self.outputs("cpu"), self.outputs("cuda")
        self.same(host, device, "result")
        seeds, roots = self._seeds(host), [i for i, y in enumerate(host) if self._differentiable(y)]
        if not roots or not self.wanted:
            return
        first = {}
        for where, ys in (("cpu", host), ("cuda", device)):
            xs = [self.tensors[where][i] for i in self.wanted]
            g = [minidl.from_numpy(s).to(where) for s in seeds]
            options: dict[str, Any] = {"create_graph": self.case.second, "allow_unused": True}
            first[where] = minidl.autograd.grad([ys[i] for i in roots], xs, g, **options)
        self.same(first["cpu"], first["cuda"], "gradient")
        if self.case.second:
            self._compare_second(first)

    def _compare_second(self, first: dict[str, Any]) -> None:
        roots = [i for i, y in enumerate(first["cpu"]) if self._differentiable(y)]
        if not roots:
            return
        seeds = self._seeds([first["cpu"][i] for i in roots])
        second = {}
        for where, ys in first.items():
            xs = [self.tensors[where][i] for i in self.wanted]
            g = [minidl.from_numpy(s).to(where) for s in seeds]
            second[where] = minidl.autograd.grad([ys[i] for i in roots], xs, g, allow_unused=True)
        self.same(second["cpu"], second["cuda"], "second gradient")

    def same(self, host: Any, device: Any, what: str) -> None:
        assert len(host) == len(device)
        for i, (a, b) in enumerate(zip(host, device)):
            if not isinstance(a, minidl.Tensor):
                assert a == b, f"{what} {i}: {b!r}, on the CPU {a!r}"
                continue
            assert b.device == "cuda:0" and type(b._array) is self.cupy.ndarray, f"{what} {i} left the device"
            assert a.dtype == b.dtype, f"{what} {i} is {b.dtype}, on the CPU {a.dtype}"
            assert a.requires_grad == b.requires_grad
            tolerance = max(self.tolerance, TOLERANCE.get(str(a.dtype), 0))
            close(b.detach().numpy(), a.detach().numpy(), tolerance, f"{what} {i} on the device")

    def _seeds(self, ys: list[Any]) -> list[np.ndarray]:
        return [np.asarray(self.rng.standard_normal(y.shape)).astype(y.dtype) for y in ys if self._differentiable(y)]

    @staticmethod
    def _differentiable(y: Any) -> bool:
        return isinstance(y, minidl.Tensor) and y.requires_grad
