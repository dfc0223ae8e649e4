"""`import minidl` needs NumPy only and loads nothing heavy; without Numba everything is still computed."""

import ast
import functools
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


FLOORS = ("minidl.kernels", "minidl", "minidl.models", "what people run")
"""From below; a module imports its own floor and those below."""

TOP = {
    "minidl.__main__", "minidl.cli", "minidl.predict", "minidl.predict.classify", "minidl.predict.load",
    "minidl.predict.score", "minidl.see.inputs",
}  # fmt: skip
"""What puts the networks to work by their names: it stands above them, and nothing below may import it."""


def floor_of(module: str) -> int:
    def inside(package: str) -> bool:
        return module == package or module.startswith(package + ".")

    if module in TOP or inside("minidl.cli"):
        return 3
    return 0 if inside("minidl.kernels") else 2 if inside("minidl.models") else 1


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package by name; the links inside minidl/ lead to folders that are walked anyway."""
    found = {}
    for folder, prefix in (("kernels", "minidl.kernels"), ("models", "minidl.models"), ("minidl", "minidl")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "minidl" and parts[0] in ("kernels", "models"):
                continue
            found[".".join((prefix, *(p for p in parts if p != "__init__")))] = path
    return found


def imported_names(source: str, module: str, is_package: bool) -> set[str]:
    """The modules that a module imports (for types only or inside a function too) or takes from ``minidl`` by a dot."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: None if is_package else -1]
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            names |= {".".join([*base, alias.name]) for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "minidl":
            names.add(f"minidl.{node.attr}")
    return {_home(name) for name in names if name.partition(".")[0] == "minidl"}


def _home(name: str) -> str:
    """The module that a name is in, or is."""
    found = modules()
    while name not in found and "." in name:
        name = name.rpartition(".")[0]
    return name


def test_imports_go_down_only() -> None:
    found = modules()
    assert len(found) > 150 and {floor_of(name) for name in found} == {0, 1, 2, 3}
    upward = [
        f"{module} ({FLOORS[floor_of(module)]}) imports {name} ({FLOORS[floor_of(name)]})"
        for module, path in found.items()
        for name in imported_names(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        if floor_of(name) > floor_of(module)
    ]
    assert not upward, "imports go down only:\n" + "\n".join(upward)


def test_an_upward_import_is_found_however_it_is_written() -> None:
    ways = ["import minidl.models", "from minidl import models", "from .. import models", "from ..models import a"]
    ways += ["import minidl\nminidl.models.info('a')", "def f():\n    from ..models.lenet import b"]
    for source in ways:
        names = imported_names(source, "minidl.train.run", False)
        assert max(map(floor_of, names)) == 2, source
    assert floor_of(imported_names("from .cli import x", "minidl", True).pop()) == 3
    assert imported_names("import numpy\nfrom ..kernels import conv", "minidl.ops.conv", False) == {
        "minidl.kernels.conv"
    }
    assert floor_of(imported_names("from ..predict import Classifier", "minidl.train.run", False).pop()) == 3


def test_the_list_of_models_is_empty_until_the_models_are_imported() -> None:
    code = """
        from minidl import registry
        try:
            registry.info("lenet5")
        except registry.UnknownModelError as error:
            print(error)
        import minidl.models
        print(registry.info("lenet5").name)
    """
    done = run(code)
    said = "there is no model 'lenet5': none is known yet. `import minidl.models` brings the networks of the papers"
    assert done.stdout.splitlines() == [said, "lenet5"], done.stderr
