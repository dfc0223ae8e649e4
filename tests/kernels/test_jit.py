"""The house's njit: its defaults, its cache (finding 7 of ECOSYSTEM: a stale callee), its guards."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import minidl.kernels
from minidl.kernels import jit

ROOT = Path(__file__).parents[2]
KERNELS = Path(minidl.kernels.__file__).resolve().parent
needs_numba = pytest.mark.skipif(not jit.HAVE_NUMBA, reason="needs Numba")


def run(code: str, path: Path = ROOT, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python that finds minidl in `path`; None removes an environment variable."""
    env = dict(os.environ, PYTHONPATH=str(path), PYTHONDONTWRITEBYTECODE="1")
    for name, value in environment.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env, cwd=path, timeout=300
    )


@pytest.fixture
def floor(tmp_path: Path) -> Path:
    """A copy of the kernels floor, alone in a package called minidl, with two small kernel modules."""
    package = tmp_path / "site" / "minidl"
    (package / "kernels").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name in ("__init__.py", "jit.py", "threads.py"):
        shutil.copy(KERNELS / name, package / "kernels" / name)
    (package / "kernels" / "callee.py").write_text("from .jit import njit\n\n@njit\ndef half(x):\n    return x / 2\n")
    (package / "kernels" / "caller.py").write_text(
        "from .callee import half\nfrom .jit import njit\n\n"
        "@njit\ndef quarter(x):\n    return half(half(x))\n\n"
        "def hits():\n    return sum(quarter.stats.cache_hits.values())\n"
    )
    return tmp_path / "site"


CALL = "from minidl.kernels.caller import quarter, hits; print(quarter(12.0), hits())"


def test_have_numba_and_the_import_of_jit_do_not_import_numba() -> None:
    code = """
        import sys
        from importlib.util import find_spec
        from minidl.kernels import jit
        print(jit.HAVE_NUMBA == (find_spec("numba") is not None), "numba" in sys.modules)
    """
    done = run(code)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_without_numba_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "HAVE_NUMBA", False)
    jit.require_numba.cache_clear()
    with pytest.raises(ImportError, match=r"not installed: python -m pip install numba"):
        jit.njit(lambda x: x)


@needs_numba
def test_defaults() -> None:
    @jit.njit
    def f(x: float) -> float:
        return 1.0 / x

    options = f.targetoptions
    assert options["nogil"] is True
    assert options["fastmath"] == {"reassoc", "contract"}
    assert f(0.0) == np.inf  # error_model="numpy"; Python's would raise ZeroDivisionError
    assert np.isnan(f(np.nan))  # the two fastmath flags keep NaN


@needs_numba
def test_options_override_defaults() -> None:
    @jit.njit(error_model="python", fastmath=False, cache=False)
    def f(x: float) -> float:
        return 1.0 / x

    assert f.targetoptions["fastmath"] is False
    with pytest.raises(ZeroDivisionError):
        f(0.0)


@needs_numba
def test_the_users_own_cache_setting_survives() -> None:
    import numba

    before = numba.config.CACHE_DIR
    jit.njit(lambda x: x)
    assert before == numba.config.CACHE_DIR


# The cache -----------------------------------------------------------------------------------------------


@needs_numba
def test_the_second_process_takes_compiled_code_from_the_cache(floor: Path) -> None:
    assert run(CALL, floor).stdout.split() == ["3.0", "0"]
    assert run(CALL, floor).stdout.split() == ["3.0", "1"]
    assert (floor / "minidl" / "kernels" / "__pycache__" / "numba").is_dir()


@needs_numba
def test_a_changed_callee_in_another_file_is_not_answered_from_the_cache(floor: Path) -> None:
    assert run(CALL, floor).stdout.split() == ["3.0", "0"]
    callee = floor / "minidl" / "kernels" / "callee.py"
    callee.write_text(callee.read_text().replace("x / 2", "x / 4"))
    assert run(CALL, floor).stdout.split() == ["0.75", "0"]


def test_the_hash_follows_imports_only(floor: Path) -> None:
    kernels = floor / "minidl" / "kernels"

    def hash_now() -> str:
        jit.source_hash.cache_clear()
        return jit.source_hash(kernels / "caller.py")

    first = hash_now()
    (kernels / "unrelated.py").write_text("x = 1\n")
    assert hash_now() == first
    (kernels / "callee.py").write_text("from .third import y\n")
    second = hash_now()
    (kernels / "third.py").write_text("y = 1\n")
    third = hash_now()
    (kernels / "third.py").write_text("y = 2\n")
    assert len({first, second, third, hash_now()}) == 4


@pytest.mark.parametrize(
    "statement", ["from . import shared", "from .shared import y", "from ..kernels.shared import y"]
)
def test_every_way_to_import_counts(floor: Path, statement: str) -> None:
    kernels = floor / "minidl" / "kernels"
    (kernels / "shared.py").write_text("y = 1\n")
    (kernels / "user.py").write_text(statement + "\n")
    assert kernels / "shared.py" in {path.resolve() for path in jit._imported_files(kernels / "user.py")}


def test_an_absolute_import_of_the_floor_counts(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text("import os\nfrom os import path\nfrom minidl.kernels.threads import x\n")
    assert jit._imported_files(tmp_path / "user.py") == {tmp_path / "user.py", KERNELS / "threads.py"}


@needs_numba
def test_the_users_cache_folder_is_used(floor: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    assert run(CALL, floor, NUMBA_CACHE_DIR=str(chosen)).stdout.split() == ["3.0", "0"]
    assert {f.name.partition("-")[0] for f in (chosen / "minidl").iterdir()} == {"kernels.caller", "kernels.callee"}
    assert not (floor / "minidl" / "kernels" / "__pycache__").exists()


@needs_numba
def test_the_users_home_is_used_when_the_install_is_read_only(floor: Path, tmp_path: Path) -> None:
    # a file where the folder should be: nobody, root included, can create it
    (floor / "minidl" / "kernels" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.mkdir()
    done = run(CALL, floor, HOME=str(home), LOCALAPPDATA=str(home), XDG_CACHE_HOME=None, NUMBA_CACHE_DIR=None)
    assert done.stdout.split() == ["3.0", "0"], done.stderr
    assert list(home.rglob("kernels.caller-*"))


@needs_numba
def test_it_computes_without_a_cache_when_nothing_is_writable(floor: Path) -> None:
    blocked = floor / "minidl" / "kernels" / "__pycache__"
    blocked.write_text("")
    nowhere = str(blocked / "below a file")
    code = CALL + "; from minidl.kernels import caller, jit; print(jit.cache_base(), caller.quarter.stats.cache_path)"
    done = run(code, floor, HOME=nowhere, LOCALAPPDATA=nowhere, XDG_CACHE_HOME=nowhere, NUMBA_CACHE_DIR=None)
    assert done.stdout.split() == ["3.0", "0", "None", "None"], done.stderr


def test_old_generations_are_removed_and_other_modules_stay(tmp_path: Path) -> None:
    for age in range(6):
        folder = tmp_path / f"cpu.direct-{age}"
        folder.mkdir()
        os.utime(folder, (1e9 - age, 1e9 - age))
    (tmp_path / "cpu.fft-0").mkdir()
    jit._remove_old_generations(tmp_path, "cpu.direct")
    left = {"cpu.direct-0", "cpu.direct-1", "cpu.direct-2", "cpu.fft-0"}
    assert {folder.name for folder in tmp_path.iterdir()} == left
