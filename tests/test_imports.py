"""`import minidl` needs NumPy only and loads nothing heavy; without Numba everything is still computed."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ["numba", "llvmlite", "cupy", "matplotlib", "PIL", "rich", "cyclopts", "safetensors", "sklearn", "scipy"]
HEAVY += ["torch", "onnx", "threadpoolctl", "ml_dtypes", "pytest"]


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, *options, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=300)


BLOCK = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"  # as if they were not installed


def test_a_bare_import_loads_numpy_and_nothing_else_that_is_installed() -> None:
    code = """
        import sys
        import minidl
        x = minidl.tensor([1.0, 2.0], requires_grad=True)
        (x * x).sum().backward()
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    assert {"numpy", "minidl"} <= loaded
    assert not loaded & set(HEAVY)


def test_it_works_where_only_numpy_is_installed() -> None:
    code = """
        import minidl
        x = minidl.tensor([1.0, 2.0], requires_grad=True)
        (x * x).sum().backward()
        print(x.grad.numpy().tolist())
    """
    done = run(BLOCK + textwrap.dedent(code))
    assert done.stdout.strip() == "[2.0, 4.0]", done.stderr


def test_convolution_without_numba_agrees_with_convolution_with_it() -> None:
    code = """
        import numpy as np
        import minidl
        from minidl.nn import functional as F
        rng = np.random.default_rng(7)
        x = minidl.tensor(rng.standard_normal((2, 3, 7, 6)), requires_grad=True)
        w = minidl.tensor(rng.standard_normal((4, 3, 3, 2)), requires_grad=True)
        g = minidl.tensor(rng.standard_normal((2, 4, 4, 4)))
        y = F.conv2d(x, w, stride=(2, 1), padding=(1, 0), dilation=(1, 2))
        (y * g).sum().backward()
        for array in (y.detach(), x.grad, w.grad):
            print(*array.numpy().ravel().tolist())
    """
    results = []
    for prefix in ("", BLOCK):
        done = run(prefix + textwrap.dedent(code))
        assert done.returncode == 0, done.stderr
        results.append([[float(word) for word in line.split()] for line in done.stdout.splitlines()])
    for with_numba, without in zip(*results, strict=True):
        assert with_numba == pytest.approx(without, rel=1e-12, abs=1e-12)


def test_the_lazy_parts_load_when_they_are_named() -> None:
    code = """
        import sys, minidl
        before = "minidl.nn" in sys.modules, "minidl.io" in sys.modules
        minidl.nn, minidl.io.save_safetensors, minidl.kernels
        print(before, "minidl.nn" in sys.modules, "numba" in sys.modules)
    """
    done = run(code)
    assert done.stdout.strip() == "(False, False) True False", done.stderr
