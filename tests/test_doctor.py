"""The doctor: what it reports here, and on machines put together from pieces that are missing or wrong."""

import importlib
import io
import json
import os
import pathlib
import sys
import types
from typing import Any

import pytest

from minidl import doctor, packages
from minidl.doctor import Finding, Report
from minidl.kernels import jit, memory, threads


def only(probe: Any, name: str) -> Finding:
    """The finding of that name from one probe."""
    (finding,) = [finding for finding in probe() if finding.name == name]
    return finding


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "name", os.name)  # restored by the fixture where a test changes it


# The report ----------------------------------------------------------------------------------------------


def test_collect_runs_on_this_machine() -> None:
    report = doctor.collect()
    assert {f.topic for f in report.findings} == {"Python", "Packages", "CPU", "Numba", "Memory", "GPU", "Optional"}
    names = [f.name for f in report.findings]
    assert {"Python", "NumPy", "model", "vector units", "threads", "Numba", "allocator", "CuPy"} <= set(names)
    for finding in report.findings:
        assert finding.value
        if finding.status == "problem":
            assert finding.why and finding.remedy
    assert json.loads(json.dumps(report.as_dict()))["ok"] == (not report.problems)


REPORT = Report(
    (
        Finding("CPU", "model", "a CPU"),
        Finding("CPU", "BLAS", "slow [x]", "problem", "it is slow.", "unset [THAT]"),
        Finding("GPU", "CuPy", "missing", "note", "it would be faster.", "python -m pip install cupy"),
    )
)


def test_the_table_shows_each_finding_its_reason_and_its_remedy() -> None:
    console = pytest.importorskip("rich.console").Console(width=100, record=True, file=io.StringIO())
    console.print(REPORT)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert [line.split() for line in str(REPORT).splitlines()] == [line.split() for line in lines]
    assert lines[0].split() == ["CPU", "ok", "model", "a", "CPU"]
    assert lines[1].split() == ["problem", "BLAS", "slow", "[x]"]  # the topic once; brackets are no markup
    text = "\n".join(lines)
    assert "BLAS: it is slow.\n    unset [THAT]\n" in text
    assert "CuPy: it would be faster.\n    python -m pip install cupy\n" in text
    assert lines[-1] == "1 problem"


def test_dictionary_and_problems() -> None:
    assert [f.name for f in REPORT.problems] == ["BLAS"]
    table = REPORT.as_dict()
    assert table["ok"] is False
    assert table["findings"][0] == {
        "topic": "CPU",
        "name": "model",
        "value": "a CPU",
        "status": "ok",
        "why": "",
        "remedy": "",
    }
    assert Report(REPORT.findings[:1]).as_dict()["ok"] is True


# Packages ------------------------------------------------------------------------------------------------


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "version", lambda name: None)
    for finding in list(doctor._packages())[1:]:
        assert finding.status == "problem" and finding.remedy == f"python -m pip install {finding.name}"
        assert finding.why.startswith("it is not installed, so ")
    for finding in doctor._optional():
        assert finding.status == "note" and finding.remedy == f"python -m pip install {finding.name}"
    assert {f.name for f in doctor._optional()} >= {"scikit-learn", "matplotlib", "torch"}


def test_versions_of_packages() -> None:
    assert packages.version("numpy") == sys.modules["numpy"].__version__
    assert packages.version("no-such-package-here") is None


@pytest.mark.parametrize("module, name", [("PIL", "pillow"), ("safetensors", "safetensors"), ("rich", "rich")])
def test_a_package_that_is_installed_and_does_not_load(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(packages, "version", lambda name: "1.2")
    found = only(doctor._packages, name)
    assert (found.value, found.status) == ("1.2, broken", "problem")
    assert found.why.startswith("installed but fails to import: ModuleNotFoundError: import of")
    assert found.remedy == f"python -m pip install --force-reinstall {name}"


def test_the_remedy_is_for_the_package_below_that_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "ml_dtypes.py").write_text("from PIL import Image\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ml_dtypes", raising=False)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr(packages, "version", lambda name: "1.2")
    found = only(doctor._optional, "ml-dtypes")
    assert found.status == "problem" and found.remedy == "python -m pip install --force-reinstall pillow"
    (tmp_path / "ml_dtypes.py").write_text("raise AttributeError('built for another NumPy')\n")
    importlib.invalidate_caches()
    found = only(doctor._optional, "ml-dtypes")
    assert found.why == "installed but fails to import: AttributeError: built for another NumPy."
    assert found.remedy == "python -m pip install --force-reinstall ml-dtypes"


# BLAS and threads ----------------------------------------------------------------------------------------


def blas(monkeypatch: pytest.MonkeyPatch, architecture: str, features: set[str], num_threads: int = 1) -> None:
    info = {
        "user_api": "blas",
        "internal_api": "openblas",
        "version": "0.3",
        "architecture": architecture,
        "num_threads": num_threads,
    }
    monkeypatch.setattr(doctor, "_blas_libraries", lambda: [info])
    monkeypatch.setattr(doctor, "_cpu_features", lambda: features)


def test_a_pinned_blas_on_a_cpu_with_avx512_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    blas(monkeypatch, "Haswell", {"avx2", "avx512f"})
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    finding = only(doctor._blas, "BLAS")
    assert finding.status == "problem" and finding.value == "openblas 0.3, kernels for Haswell"
    assert "OPENBLAS_CORETYPE=Haswell keeps NumPy's matrix products from the AVX-512 units" in finding.why
    assert "about half the speed" in finding.why
    assert finding.remedy.endswith("OPENBLAS_CORETYPE")


@pytest.mark.parametrize(
    ("architecture", "features", "pinned", "status", "remedy"),
    [
        ("Haswell", {"avx2", "avx512f"}, None, "note", "SkylakeX"),
        ("Haswell", {"avx2"}, None, "ok", ""),
        ("Haswell", {"avx2"}, "Haswell", "note", "OPENBLAS_CORETYPE"),
        ("SkylakeX", {"avx512f"}, None, "ok", ""),
        ("SkylakeX", {"avx512f"}, "SkylakeX", "note", "OPENBLAS_CORETYPE"),
    ],
)
def test_blas_kernels(
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    features: set[str],
    pinned: str | None,
    status: str,
    remedy: str,
) -> None:
    blas(monkeypatch, architecture, features)
    if pinned:
        monkeypatch.setenv("OPENBLAS_CORETYPE", pinned)
    finding = only(doctor._blas, "BLAS")
    assert finding.status == status and remedy in finding.remedy and bool(remedy) == bool(finding.remedy)


def test_blas_with_more_threads_than_cpus_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    blas(monkeypatch, "Haswell", set(), num_threads=64)
    monkeypatch.setattr(threads, "available_cpus", lambda: 2)
    finding = only(doctor._threads, "BLAS threads")
    assert finding.status == "problem" and "it starts 64 threads, but this process has 2 CPUs" in finding.why
    assert "OPENBLAS_NUM_THREADS" in finding.remedy and "2" in finding.remedy


def test_idle_cpus_are_noted_with_their_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    blas(monkeypatch, "Haswell", set())
    monkeypatch.setattr(threads, "available_cpus", lambda: 8)
    monkeypatch.setattr(threads, "get_num_threads", lambda: 2)
    assert only(doctor._threads, "threads").status == "ok"  # set by the program itself
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    finding = only(doctor._threads, "threads")
    assert (finding.status, finding.value) == ("note", "2 of 8 available CPUs")
    assert finding.why == "OMP_NUM_THREADS=2 keeps 6 of 8 CPUs idle."


def test_without_threadpoolctl_there_is_nothing_to_say_about_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert list(doctor._blas()) == []


def test_cpu_features_without_llvm_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    with_llvm = doctor._cpu_features()
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    for name in ("avx2", "fma", "avx512f"):
        assert (name in doctor._cpu_features()) == (name in with_llvm)


def test_commands_in_the_language_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "name", "posix")
    assert (doctor._unset("A"), doctor._export("A", "1")) == ("unset A", "export A=1")
    monkeypatch.setattr(doctor.os, "name", "nt")
    assert (doctor._unset("A"), doctor._export("A", "1")) == ("Remove-Item Env:A", '$Env:A = "1"')


# Numba and memory ----------------------------------------------------------------------------------------


def test_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "HAVE_NUMBA", False)
    (finding,) = doctor._numba()
    assert (finding.status, finding.remedy) == ("problem", "python -m pip install numba")


def test_numba_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("Numba needs NumPy 2.5 or less")

    monkeypatch.setattr(jit, "HAVE_NUMBA", True)
    monkeypatch.setattr(jit, "require_numba", broken)
    (finding,) = doctor._numba()
    assert (finding.status, finding.value) == ("problem", "broken")
    assert finding.why == "it is installed but does not load: Numba needs NumPy 2.5 or less"


class FakeNumba:
    __version__ = "0.99"


def test_no_folder_for_the_compile_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "HAVE_NUMBA", True)
    monkeypatch.setattr(jit, "require_numba", FakeNumba)
    monkeypatch.setattr(jit, "cache_base", lambda: None)
    finding = only(doctor._numba, "compile cache")
    assert finding.status == "problem" and "compiles its kernels again" in finding.why
    assert "NUMBA_CACHE_DIR" in finding.remedy


@pytest.mark.parametrize(
    ("tuned", "users", "value"),
    [(True, False, "freed memory is kept"), (False, True, "as set in the env"), (False, False, "the system's own")],
)
def test_allocator(monkeypatch: pytest.MonkeyPatch, tuned: bool, users: bool, value: str) -> None:
    monkeypatch.setattr(memory, "allocator_tuned", lambda: tuned)
    monkeypatch.setattr(memory, "user_tuned_malloc", lambda: users)
    (finding,) = doctor._memory()
    assert finding.value.startswith(value)


# GPU -----------------------------------------------------------------------------------------------------


class FakeCupy(types.ModuleType):
    """As much of CuPy as the doctor asks for."""

    __version__ = "14.2.0"

    def __init__(self, devices: int | Exception = 1, total: int | Exception = 14) -> None:
        super().__init__("cupy")
        self.devices, self.total = devices, total
        self.cuda = types.SimpleNamespace(runtime=self)

    def getDeviceCount(self) -> int:
        if isinstance(self.devices, Exception):
            raise self.devices
        return self.devices

    def getDeviceProperties(self, index: int) -> dict[str, Any]:
        return {"name": b"GPU X", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30}

    def arange(self, n: int) -> Any:
        assert n == 4
        return self

    def __pow__(self, exponent: int) -> Any:
        assert exponent == 2
        return self

    def sum(self) -> int:
        if isinstance(self.total, Exception):
            raise self.total
        return self.total


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(driver: int | None, packages: tuple[str, ...] = (), cupy: Any = None) -> list[Finding]:
        monkeypatch.setattr(doctor, "_cuda_driver", lambda: driver)
        monkeypatch.setattr(doctor, "_nvidia_hardware", lambda: False)
        monkeypatch.setattr(
            doctor.importlib.metadata, "packages_distributions", lambda: {"cupy": list(packages)} if packages else {}
        )
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        return list(doctor._gpu())

    return install


def test_no_gpu_and_no_cupy_is_fine(gpu: Any) -> None:
    assert [(f.value, f.status) for f in gpu(None)] == [("no NVIDIA driver", "ok"), ("missing", "ok")]


@pytest.mark.parametrize(("driver", "package"), [(13010, "cupy-cuda13x[ctk]"), (12080, "cupy-cuda12x[ctk]")])
def test_a_driver_without_cupy_names_the_package_for_it(gpu: Any, driver: int, package: str) -> None:
    first, second = gpu(driver)
    assert first.value == f"for CUDA {driver // 1000}.{driver % 1000 // 10}"
    assert (second.status, second.remedy) == ("note", f'python -m pip install "{package}" ml-dtypes')


def test_a_gpu_without_a_driver_is_a_note(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(None)
    monkeypatch.setattr(doctor, "_nvidia_hardware", lambda: True)
    first, second = doctor._gpu()
    assert first.status == "note" and "an NVIDIA GPU is built in, but its driver is not installed" in first.why
    assert first.remedy.startswith("nvidia-smi") and second.status == "ok"


def test_a_driver_that_is_too_old(gpu: Any) -> None:
    first, second = gpu(11080)
    assert first.why == "CuPy needs a driver for CUDA 12 or newer, this one is for 11.8: install a newer driver."
    assert second.remedy == ""


def test_the_hardware_is_read_from_the_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, vendor, kind in (("a", "0x8086", "0x030000"), ("b", "0x10de", "0x040300"), ("c", "", "")):
        (tmp_path / name).mkdir()
        if vendor:
            (tmp_path / name / "vendor").write_text(vendor + "\n")
            (tmp_path / name / "class").write_text(kind + "\n")
    monkeypatch.setattr(doctor.glob, "glob", lambda pattern: [str(p) for p in tmp_path.iterdir()])
    assert not doctor._nvidia_hardware()
    (tmp_path / "b" / "class").write_text("0x030200\n")
    assert doctor._nvidia_hardware()


def test_a_cupy_that_is_too_old(gpu: Any) -> None:
    old = FakeCupy()
    old.__version__ = "13.6.0"  # type: ignore[misc]
    finding = gpu(13000, ("cupy-cuda13x",), old)[-1]
    assert finding.status == "problem" and finding.why == "minidl needs CuPy 14 or newer."
    assert finding.remedy.startswith("python -m pip install --upgrade")


def test_two_cupy_packages_are_a_problem(gpu: Any) -> None:
    finding = gpu(13000, ("cupy-cuda12x", "cupy-cuda13x"))[-1]
    assert finding.status == "problem" and "overwrite each other's files" in finding.why
    assert finding.remedy == (
        'python -m pip uninstall -y cupy-cuda12x cupy-cuda13x && python -m pip install "cupy-cuda13x[ctk]" ml-dtypes'
    )


def test_a_cupy_that_does_not_load(gpu: Any) -> None:
    finding = gpu(13000, ("cupy-cuda13x",), None)[-1]  # None in sys.modules raises ImportError
    assert finding.status == "problem" and finding.why.startswith("it is installed but does not load: ")
    assert "--force-reinstall" in finding.remedy


def test_cupy_without_a_driver_is_a_note(gpu: Any) -> None:
    finding = gpu(None, ("cupy-cuda13x",), FakeCupy())[-1]
    assert finding.status == "note" and "there is no NVIDIA driver; computing on the CPU works" in finding.why


def test_a_driver_older_than_cupy(gpu: Any) -> None:
    finding = gpu(12040, ("cupy-cuda13x",), FakeCupy())[-1]
    assert finding.status == "problem" and finding.why == "it needs a driver for CUDA 13, this one is for 12.4."
    assert 'install "cupy-cuda12x[ctk]"' in finding.remedy


@pytest.mark.parametrize("devices", [0, RuntimeError("cudaErrorNoDevice")])
def test_no_device(gpu: Any, monkeypatch: pytest.MonkeyPatch, devices: Any) -> None:
    finding = gpu(13000, ("cupy-cuda13x",), FakeCupy(devices))[-1]
    assert (finding.name, finding.status, finding.remedy) == ("device", "problem", "nvidia-smi")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    finding = gpu(13000, ("cupy-cuda13x",), FakeCupy(devices))[-1]
    assert finding.status == "note" and "CUDA_VISIBLE_DEVICES= hides the devices." in finding.why


def test_a_working_gpu(gpu: Any) -> None:
    _, _, first, second, computing = gpu(13000, ("cupy-cuda13x",), FakeCupy(devices=2))
    assert (first.name, second.name) == ("device 0", "device 1")
    assert first.value == "GPU X, compute capability 9.0, 80 GiB"
    assert (computing.value, computing.status) == ("works", "ok")


@pytest.mark.parametrize(
    ("total", "why"),
    [(13, "0 + 1 + 4 + 9 gave 13"), (RuntimeError("no NVRTC"), "a first computation failed: no NVRTC")],
)
def test_a_gpu_that_does_not_compute(gpu: Any, total: Any, why: str) -> None:
    finding = gpu(13000, ("cupy-cuda13x",), FakeCupy(total=total))[-1]
    assert finding.status == "problem" and why in finding.why
