"""Carries out one parity case in both libraries and compares forward, first and second gradients."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

import minidl
from tests.parity.cases import Case, inputs_of, replaced

# float64: the promise of 1e-10.  float32: a few hundred roundings of what is at most a few hundred additions.
TOLERANCE = {"float64": 1e-10, "float32": 300 * float(np.finfo(np.float32).eps)}


def flat(result: Any) -> list[Any]:
    """The results of a call as a list, whatever it returned."""
    if isinstance(result, (list, tuple)):
        return [leaf for r in result for leaf in flat(r)]
    return [result]


def close(ours: Any, theirs: np.ndarray, tolerance: float, what: str, least: float = 1e-2) -> None:
    """Equal shapes, and values within ``tolerance`` of the largest value (of ``least``, where all are smaller);
    infinities and NaN in the same places."""
    ours = np.asarray(ours, dtype=theirs.dtype)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, PyTorch has {theirs.shape}"
    if not theirs.size:
        return
    finite = np.isfinite(theirs)
    np.testing.assert_array_equal(ours[~finite], theirs[~finite], err_msg=f"{what}: infinities and NaN")
    scale = max(least, float(np.abs(theirs[finite]).max(initial=0.0)))
    with np.errstate(invalid="ignore"):
        error = np.where(finite, np.abs(ours - np.where(finite, theirs, 0)), 0)
    worst = np.unravel_index(error.argmax(), error.shape)
    assert error[worst] <= tolerance * scale, (
        f"{what}: at {tuple(int(i) for i in worst)} {ours[worst]!r}, PyTorch {theirs[worst]!r}, "
        f"error {error[worst]:.2e} above {tolerance * scale:.2e}"
    )


class Run:
    """One case in one dtype: the same drawn numbers as tensors of both libraries.

    PyTorch computes in float64 also where minidl computes in float32, so that only our rounding counts.
    """

    def __init__(self, case: Case, dtype: str, torch: Any) -> None:
        self.case, self.dtype, self.torch = case, dtype, torch
        self.rng = np.random.default_rng(zlib.crc32(case.id.encode()))
        coarse = dtype == "float32" or any(spec.dtype in ("float32", "float16") for spec in inputs_of(case.args))
        factor = min(case.factor, 50.0) if coarse else case.factor  # more would let float32 be wrong by percents
        self.tolerance = TOLERANCE["float32" if coarse else "float64"] * factor
        specs = list(inputs_of((case.args, case.kwargs)))
        arrays = [spec.draw(self.rng, dtype) for spec in specs]
        self.ours = [minidl.from_numpy(a) for a in arrays]
        self.theirs = [torch.tensor(a.astype("float64") if a.dtype == np.float32 else a.copy()) for a in arrays]
        self.exact = [torch.tensor(a.copy()) for a in arrays]  # in the dtypes under test, for the resulting dtypes
        self.wanted = [i for i, spec in enumerate(specs) if spec.differentiable and case.first]
        for i in self.wanted:
            self.ours[i].requires_grad_()
            self.theirs[i].requires_grad_()

    def outputs(self) -> tuple[list[Any], list[Any]]:
        return flat(self._call(minidl, self.ours)), flat(self._call(self.torch, self.theirs))

    def _call(self, module: Any, tensors: list[Any]) -> Any:
        args, kwargs = replaced((list(self.case.args), self.case.kwargs), iter(tensors))
        return self.case.run(module, args, kwargs)

    def check_forward(self, ours: list[Any], theirs: list[Any]) -> None:
        typed = flat(self._call(self.torch, self.exact))
        assert len(ours) == len(theirs)
        for i, (a, b, t) in enumerate(zip(ours, theirs, typed)):
            if not isinstance(a, minidl.Tensor):
                assert a == b, f"result {i}: {a!r}, PyTorch {b!r}"
                continue
            dtype = str(t.dtype).removeprefix("torch.")
            assert str(a.dtype) == dtype, f"result {i} is {a.dtype}, PyTorch's is {dtype}"
            tolerance = max(self.tolerance, TOLERANCE.get(str(a.dtype), 0))
            close(a.detach().numpy(), b.numpy(force=True), tolerance, f"result {i}")

    def check_gradients(self, ours: list[Any], theirs: list[Any]) -> None:
        torch = self.torch
        pairs = [(a, b) for a, b in zip(ours, theirs) if isinstance(a, minidl.Tensor)]
        for a, b in pairs:
            assert a.requires_grad == b.requires_grad, "one library differentiates this result, the other does not"
        pairs = [(a, b) for a, b in pairs if b.requires_grad]
        if not pairs:
            return
        seeds = [self._random(tuple(b.shape)) for _, b in pairs]
        g_ours = [minidl.from_numpy(s.astype(self.dtype)).requires_grad_() for s in seeds]
        g_theirs = [torch.tensor(s).requires_grad_() for s in seeds]
        x_ours, x_theirs = [self.ours[i] for i in self.wanted], [self.theirs[i] for i in self.wanted]
        options: dict[str, Any] = {"create_graph": self.case.second, "allow_unused": True}
        first_ours = minidl.autograd.grad([a for a, _ in pairs], x_ours, g_ours, **options)
        first_theirs = torch.autograd.grad([b for _, b in pairs], x_theirs, g_theirs, **options)
        self._compare(first_ours, first_theirs, x_ours, "gradient")
        if self.case.second:
            self._check_second(first_ours, first_theirs, [*x_ours, *g_ours], [*x_theirs, *g_theirs])

    def _check_second(self, ours: Any, theirs: Any, x_ours: list[Any], x_theirs: list[Any]) -> None:
        pairs = [(a, b) for a, b in zip(ours, theirs) if b is not None and b.requires_grad]
        if not pairs:
            return
        seeds = [self._random(tuple(b.shape)) for _, b in pairs]
        second_theirs = self.torch.autograd.grad(
            [b for _, b in pairs], x_theirs, [self.torch.tensor(s) for s in seeds], allow_unused=True
        )
        pairs = [(a, s) for (a, _), s in zip(pairs, seeds) if a is not None and a.requires_grad]
        second_ours = minidl.autograd.grad(
            [a for a, _ in pairs],
            x_ours,
            [minidl.from_numpy(s.astype(self.dtype)) for _, s in pairs],
            allow_unused=True,
        )
        self._compare(second_ours, second_theirs, x_ours, "second gradient")

    def _compare(self, ours: Any, theirs: Any, inputs: list[Any], what: str) -> None:
        for i, (a, b, x) in enumerate(zip(ours, theirs, inputs)):
            zero = np.zeros(x.shape)
            # "does not depend" and "a gradient of zeros" are the same answer
            got = zero if a is None else a.detach().numpy()
            expected = zero if b is None else b.numpy(force=True)  # PyTorch's lazy zeros too
            assert a is None or a.dtype == x.dtype, f"{what} {i} is {a.dtype} for an input of {x.dtype}"
            # a second gradient is a sum of terms near 1, which often cancel
            close(got, expected, self.tolerance, f"{what} {i}", least=1.0 if what == "second gradient" else 1e-2)

    def _random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(self.rng.standard_normal(shape)).astype(np.float32).astype(np.float64)
