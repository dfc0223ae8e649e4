"""What is installed: minidl and nothing else, with kernels/ and models/ inside it, however it is built."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import minidl

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPING: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
LINKS = ("minidl/kernels", "minidl/models")


def folders() -> dict[str, Path]:
    """Each package by its installed name, as the folders say."""
    found = {}
    for name, folder in MAPPING.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            relative = init.parent.relative_to(ROOT / folder)
            if name != "minidl" or relative.parts[:1] not in (("kernels",), ("models",)):  # not through the links
                found[".".join((name, *relative.parts))] = init.parent
    return found


def test_the_package_list_is_complete() -> None:
    """A package missing from the list works in a checkout and is absent from the wheel."""
    assert set(folders()) == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_version_is_the_same_in_both_places() -> None:
    assert PROJECT["project"]["version"] == minidl.__version__


def test_the_guards_refuse_the_bare_names(tree: Path) -> None:
    for name in ("kernels", "models"):
        done = python(sys.executable, f"import {name}", cwd=tree)
        assert f"ImportError: import minidl.{name}, not {name}" in done.stderr


# Builds ------------------------------------------------------------------------------------------------


def python(executable: str | Path, code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources, as a clean checkout has them."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("minidl", "kernels", "models", "tests"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def without_links(tree: Path) -> None:
    """Make the tree a clone with core.symlinks=false: the links are small text files."""
    for link in LINKS:
        path = tree / link
        target = os.readlink(path)
        path.unlink()
        path.write_text(target)


def build(kind: str, tree: Path) -> Path:
    """Build a "wheel", "editable" or "sdist" with the backend itself, hence without pip or a network."""
    pytest.importorskip("setuptools", minversion="80")
    out = tree.parent / kind
    out.mkdir(exist_ok=True)
    code = f"import setuptools.build_meta as b; b.build_{kind}({str(out)!r})"
    done = python(sys.executable, code, cwd=tree)
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


def install(wheel: Path, folder: Path) -> Path:
    """Unpack a wheel into a new environment that sees this one's packages, but not its minidl."""
    venv.create(folder, with_pip=False)
    bin_folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    executable = folder / bin_folder / f"python{suffix}"
    paths = python(executable, "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    site = Path(paths.stdout.strip())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # a path from a .pth file does not run the .pth files in it, so an editable minidl there stays unseen
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return executable


CHECK = """
import minidl, minidl.kernels.geometry, minidl.models
x = minidl.tensor([1.0, 2.0], requires_grad=True)
(x * x).sum().backward()
print(x.grad.numpy().tolist(), minidl.kernels.geometry.__name__, minidl.kernels.geometry.__file__)
for name in ("kernels", "models", "tests"):
    try:
        __import__(name)
    except ImportError:
        pass
    else:
        print("a global package", name)
"""


def check(executable: Path, tmp_path: Path) -> Path:
    """Run minidl there, from an empty folder; returns the file of minidl.kernels.geometry."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = python(executable, CHECK, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    numbers, name, file = done.stdout.strip().rsplit(" ", 2)
    assert (numbers, name) == ("[2.0, 4.0]", "minidl.kernels.geometry"), done.stdout
    return Path(file)


def expected_modules() -> set[str]:
    return {
        "/".join((*package.split("."), module.name))
        for package, folder in folders().items()
        for module in folder.glob("*.py")
    }


@pytest.mark.parametrize("links", [True, False], ids=["links", "links as text files"])
def test_wheel(tree: Path, tmp_path: Path, links: bool) -> None:
    if not links:
        without_links(tree)
    wheel = build("wheel", tree)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"minidl", f"minidl-{minidl.__version__}.dist-info"}
    assert {name for name in names if name.endswith(".py")} == expected_modules()
    assert {"minidl/models/weights.toml", "minidl/models/imagenet_classes.txt"} <= set(names)
    kernels = {f"minidl/kernels/cuda/{path.name}" for path in (ROOT / "kernels/cuda").glob("*.cu*")}
    assert kernels and kernels <= set(names)
    assert "minidl/py.typed" in names and len(names) == len(set(names))
    site = check(install(wheel, tmp_path / "env"), tmp_path)
    assert tmp_path / "env" in site.parents


def test_sdist_builds_the_same_wheel(tree: Path, tmp_path: Path) -> None:
    sdist = build("sdist", tree)
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    shutil.rmtree(tree)
    with zipfile.ZipFile(build("wheel", unpacked)) as archive:
        assert {name for name in archive.namelist() if name.endswith(".py")} == expected_modules()


@pytest.mark.parametrize("links", [True, False], ids=["links", "links as text files"])
def test_editable_install(tree: Path, tmp_path: Path, links: bool) -> None:
    if not links:
        without_links(tree)
    executable = install(build("editable", tree), tmp_path / "env")
    assert check(executable, tmp_path).resolve() == (tree / "kernels" / "geometry.py").resolve()

    (tree / "kernels" / "added.py").write_text("answer = 42\n")  # seen without installing again
    done = python(executable, "import minidl.kernels.added as a; print(a.answer)", cwd=tmp_path)
    assert done.stdout.strip() == "42", done.stderr


# One test command ----------------------------------------------------------------------------------------


def test_the_ci_script_runs_the_readmes_test_command_last() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    command = [line for line in lines if line.strip() and not line.lstrip().startswith("#")][-1]
    assert "-m pytest" in command
    assert command in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
