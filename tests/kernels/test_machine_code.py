"""Object files of pieces of work: found by the next process, and never trusted where they do not fit."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from numba import types

from minidl.kernels import jit, machine_code
from minidl.kernels.cpu.simd import Lanes, load, store

WHOLE = types.int64


@jit.native
def _doubled(x):
    return x + x


@jit.native
def _store_eight_times(lanes, target, value):
    for _ in range(3):
        value = _doubled(value)
    store(target, load(lanes, value))


@jit.native
def _eight_times(x):
    return _doubled(_doubled(_doubled(x)))


def run(address: int, x: int) -> int:
    """The result of a compiled function of one integer: (result, exception, argument) -> status."""
    result = (ctypes.c_int64 * 2)()
    place = ctypes.addressof(result)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    assert kind(address)(place, place + 8, x) == 0
    return result[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jit, "cache_folder", lambda source: tmp_path)
    return tmp_path


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that are compiled."""
    names, compiled = [], machine_code.compiled

    def counted(function, signature):
        names.append(function.__name__)
        return compiled(function, signature)

    monkeypatch.setattr(machine_code, "compiled", counted)
    return names


def test_machine_code_is_stored_and_found_again(folder: Path, compilations: list[str]) -> None:
    for _ in range(3):
        assert run(machine_code.address(_eight_times, (WHOLE,)), 5) == 40
    assert compilations == ["_eight_times"]
    assert [path.suffix for path in folder.iterdir()] == [".o"]


DAMAGES = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one bit": lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:],
    "no checksum": lambda data: data[machine_code.CHECKSUM :],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_compiled_anew(damage: str, folder: Path, compilations: list[str]) -> None:
    machine_code.address(_eight_times, (WHOLE,))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    assert machine_code.read(path) is None
    assert run(machine_code.address(_eight_times, (WHOLE,)), 7) == 56
    assert compilations == ["_eight_times"] * 2
    assert machine_code.read(path) is not None


def test_code_of_other_types_or_another_processor_is_another_file(folder: Path, monkeypatch) -> None:
    paths = {machine_code._path(_eight_times, (kind,)) for kind in (types.int64, types.int32)}
    for lanes in (4, 8):
        paths.add(machine_code._path(_store_eight_times, (Lanes("float32", lanes)._numba_type_, WHOLE, WHOLE)))
    here = machine_code._target()
    assert here[-3:] == machine_code.cpu_target.target_context.codegen().magic_tuple()
    for i in range(len(here)):
        changed = (*here[:i], here[i] + "+", *here[i + 1 :])
        monkeypatch.setattr(machine_code, "_target", lambda changed=changed: changed)
        paths.add(machine_code._path(_eight_times, (WHOLE,)))
    assert len(paths) == 4 + len(here)


@pytest.mark.parametrize("where", ["nowhere", "below a file"])
def test_without_a_folder_it_computes_too(where: str, tmp_path: Path, monkeypatch, compilations: list[str]) -> None:
    (tmp_path / "file").write_text("")
    chosen = None if where == "nowhere" else tmp_path / "file" / "below"
    monkeypatch.setattr(jit, "cache_folder", lambda source: chosen)
    for _ in range(2):
        assert run(machine_code.address(_eight_times, (WHOLE,)), 3) == 24
    assert compilations == ["_eight_times"] * 2


def test_only_compiled_code_calls_a_native_function() -> None:
    with pytest.raises(TypeError, match="_doubled is called by compiled functions only"):
        _doubled(2)


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """Nor does it wake Numba's compiler: the rules for all that it knows are not there."""
    code = (
        "import sys, numpy as np; from minidl.kernels.cpu import gemm, packing, pieces, products;"
        "assert (gemm.matmul(np.ones((4, 3)), np.ones((3, 5))) == 3).all();"
        "parts = products._rows_piece, packing._pack_piece, pieces._loop;"
        "print(*('dispatcher' in vars(part) for part in parts), 'numba.np.arrayobj' in sys.modules)"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs == ["True True True True\n", "False False False False\n"]
