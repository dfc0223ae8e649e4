"""What minidl finds on this machine, what is wrong with it, and the one command that mends each thing.

>>> from minidl import doctor
>>> report = doctor.collect()
>>> {finding.status for finding in report.findings} <= {"ok", "note", "problem"}
True

On a command line: ``minidl doctor`` (``--json`` for programs).
"""

import contextlib
import glob
import importlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "note", "problem"]

_COLOURS: dict[Status, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}
_PIP = "python -m pip install"
_AVX512_CORES = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's kernels with 512-bit vectors


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    `status` is "ok", "note" (works, could be better or is optional) or "problem"; `why` says in a sentence
    what follows from it and `remedy` is the command that changes it.
    """

    topic: str
    name: str
    value: str
    status: Status = "ok"
    why: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All findings on this machine."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that need mending."""
        return tuple(finding for finding in self.findings if finding.status == "problem")

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON: ``{"ok": bool, "findings": [...]}``."""
        return {"ok": not self.problems, "findings": [asdict(finding) for finding in self.findings]}

    def __rich__(self) -> Any:
        """Tables for ``rich.print``: what there is, then what to do about it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        topic = ""
        for finding in self.findings:
            heading = finding.topic if finding.topic != topic else ""
            topic = finding.topic
            mark = Text(finding.status, style=_COLOURS[finding.status])
            table.add_row(Text(heading, style="bold"), mark, Text(finding.name), Text(finding.value))
        parts: list[Any] = [table]
        for finding in self.findings:
            if finding.why:
                parts += ["", Text(f"{finding.name}: {finding.why}", style=_COLOURS[finding.status])]
                if finding.remedy:
                    parts.append(Text(f"    {finding.remedy}"))
        count = len(self.problems)
        verdict = f"{count} problem{'s' * (count != 1)}" if count else "No problems."
        return Group(*parts, "", Text(verdict, style=_COLOURS["problem" if count else "ok"]))


def collect() -> Report:
    """Look at Python, NumPy and its BLAS, the CPU, Numba, memory, the GPU and the optional packages.

    Takes about a second: Numba and CuPy are imported where they are installed.  Never raises for what is
    missing or broken; that is what the findings are for.
    """
    probes = (_python, _packages, _cpu, _blas, _threads, _numba, _memory, _gpu, _optional)
    return Report(tuple(finding for probe in probes for finding in probe()))


# Python and packages -----------------------------------------------------------------------------------


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python", "Python", f"{version} ({platform.system()} {platform.machine()})")


_REQUIRED = {
    "threadpoolctl": "BLAS and Numba cannot be given their threads together",
    "safetensors": "weights cannot be saved",
    "pillow": "images cannot be read",
    "cyclopts": "the command line does not start",
    "rich": "progress and tables cannot be shown",
}


def _packages() -> Iterator[Finding]:
    import numpy

    yield Finding("Packages", "NumPy", numpy.__version__)
    for name, consequence in _REQUIRED.items():
        if version := _version(name):
            yield Finding("Packages", name, version)
        else:
            why = f"it is not installed, so {consequence}."
            yield Finding("Packages", name, "missing", "problem", why, f"{_PIP} {name}")


_OPTIONAL = {
    "scikit-learn": "the bundled digits (--data digits)",
    "matplotlib": "plots",
    "ml-dtypes": "bfloat16 weights",
    "torch": "an oracle for the tests, not used otherwise",
}


def _optional() -> Iterator[Finding]:
    for name, purpose in _OPTIONAL.items():
        if version := _version(name):
            yield Finding("Optional", name, version)
        else:
            why = f"not installed; it gives {purpose}."
            yield Finding("Optional", name, "missing", "note", why, f"{_PIP} {name}")


# CPU, BLAS, threads ------------------------------------------------------------------------------------


def _cpu() -> Iterator[Finding]:
    features = _cpu_features()
    widest = [name for name in ("avx2", "fma", "avx512f", "neon", "sve") if name in features]
    yield Finding("CPU", "model", _cpu_name())
    yield Finding("CPU", "vector units", " ".join(widest) or "unknown")


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        if sys.platform.startswith("linux"):
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith("model name"):
                        return line.partition(":")[2].strip()
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    return platform.processor() or platform.machine()


def _cpu_features() -> set[str]:
    """Lower-case names of the vector extensions, from LLVM where Numba is installed."""
    try:
        from llvmlite import binding

        return {name for name, present in binding.get_host_cpu_features().items() if present}
    except (ImportError, OSError, RuntimeError):
        core = importlib.import_module("numpy._core._multiarray_umath")  # private, hence the default
        found = getattr(core, "__cpu_features__", {})
        return {{"fma3": "fma"}.get(name.lower(), name.lower()) for name, present in found.items() if present}


def _blas_libraries() -> list[dict[str, Any]]:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return [info for info in threadpool_info() if info["user_api"] == "blas"]


def _blas() -> Iterator[Finding]:
    pinned = os.environ.get("OPENBLAS_CORETYPE")
    has_avx512 = "avx512f" in _cpu_features()
    for info in _blas_libraries():
        architecture = info.get("architecture") or "unknown"
        value = f"{info['internal_api']} {info.get('version')}, kernels for {architecture}"
        slow = has_avx512 and info["internal_api"] == "openblas" and architecture not in _AVX512_CORES
        if slow and pinned:
            why = (
                f"OPENBLAS_CORETYPE={pinned} keeps matrix products from the AVX-512 units of this CPU: about half "
                "the speed (120 instead of 240 GFLOP/s on one core where it was measured)."
            )
            yield Finding("CPU", "BLAS", value, "problem", why, _unset("OPENBLAS_CORETYPE"))
        elif slow:
            why = "this CPU has AVX-512, for which OpenBLAS has faster kernels; try them and measure."
            yield Finding("CPU", "BLAS", value, "note", why, _export("OPENBLAS_CORETYPE", "SkylakeX"))
        elif pinned:
            why = f"OPENBLAS_CORETYPE={pinned} decides which kernels BLAS uses, on every machine alike."
            yield Finding("CPU", "BLAS", value, "note", why, _unset("OPENBLAS_CORETYPE"))
        else:
            yield Finding("CPU", "BLAS", value)


def _threads() -> Iterator[Finding]:
    from minidl.kernels import threads

    cpus, used = threads.available_cpus(), threads.get_num_threads()
    value = f"{used} of {cpus} available CPUs"
    set_by = [name for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if name in os.environ]
    if used < cpus and set_by:
        why = f"{set_by[0]}={os.environ[set_by[0]]} keeps {cpus - used} of {cpus} CPUs idle."
        yield Finding("CPU", "threads", value, "note", why, _unset(set_by[0]))
    else:
        yield Finding("CPU", "threads", value)
    for info in _blas_libraries():
        if info["num_threads"] > cpus:
            why = (
                f"it starts {info['num_threads']} threads, but this process has {cpus} CPUs; they wait for one another."
            )
            remedy = _export("OPENBLAS_NUM_THREADS", str(cpus))
            yield Finding("CPU", "BLAS threads", str(info["num_threads"]), "problem", why, remedy)


def _unset(name: str) -> str:
    return f"Remove-Item Env:{name}" if os.name == "nt" else f"unset {name}"


def _export(name: str, value: str) -> str:
    return f'$Env:{name} = "{value}"' if os.name == "nt" else f"export {name}={value}"


# Numba, memory -----------------------------------------------------------------------------------------


def _numba() -> Iterator[Finding]:
    from minidl.kernels import jit

    if not jit.HAVE_NUMBA:
        why = "it is not installed; everything computes through the slower NumPy kernels."
        yield Finding("Numba", "Numba", "missing", "problem", why, f"{_PIP} numba")
        return
    try:
        numba = jit.require_numba()
    except Exception as error:  # whatever a broken or mismatched install raises
        why = f"it is installed but does not load: {error}"
        yield Finding("Numba", "Numba", "broken", "problem", why, f"{_PIP} --upgrade numba numpy")
        return
    yield Finding("Numba", "Numba", numba.__version__)
    yield from _threading_layer(numba)
    base = jit.cache_base()
    if base is None:
        why = "no folder can be written to, so each process compiles its kernels again."
        remedy = _export("NUMBA_CACHE_DIR", "FOLDER") + "    (any folder that you can write to)"
        yield Finding("Numba", "compile cache", "none", "problem", why, remedy)
    else:
        yield Finding("Numba", "compile cache", str(base))


def _threading_layer(numba: Any) -> Iterator[Finding]:
    try:
        numba.set_num_threads(numba.get_num_threads())  # starts the threads
        layer = numba.threading_layer()
    except Exception as error:  # a layer was asked for that cannot be loaded
        why = f"the threads of parallel kernels do not start: {error}"
        yield Finding("Numba", "threading layer", "none", "problem", why, _unset("NUMBA_THREADING_LAYER"))
        return
    policy = os.environ.get("OMP_WAIT_POLICY", "").lower()
    if layer == "omp" and policy == "active":
        why = (
            "OMP_WAIT_POLICY=active lets idle OpenMP threads spin on the CPUs that BLAS needs; a matrix product "
            "in turn with a parallel loop was measured at 50 times its time."
        )
        yield Finding("Numba", "threading layer", "omp, active", "problem", why, _unset("OMP_WAIT_POLICY"))
    elif layer == "workqueue":
        why = "Numba found no OpenMP library; its own layer starts loops more slowly and serves one thread at a time."
        remedy = "sudo apt-get install libgomp1" if sys.platform.startswith("linux") else ""
        yield Finding("Numba", "threading layer", layer, "note", why, remedy)
    else:
        yield Finding("Numba", "threading layer", layer if layer != "omp" else f"omp, {policy}")


def _memory() -> Iterator[Finding]:
    from minidl.kernels import memory

    if memory.allocator_tuned():
        value = "freed memory is kept for the next arrays"
    elif memory.user_tuned_malloc():
        value = "as set in the environment"
    else:
        value = "the system's own"
    yield Finding("Memory", "allocator", value)


# GPU ---------------------------------------------------------------------------------------------------


def _gpu() -> Iterator[Finding]:
    driver = _cuda_driver()
    packages = sorted(set(importlib.metadata.packages_distributions().get("cupy", ())))
    wanted = f'"cupy-cuda{13 if (driver or 13000) >= 13000 else 12}x[ctk]" ml-dtypes'
    yield _driver_finding(driver)
    if not packages:
        why = "" if driver is None else "this machine has an NVIDIA driver, but CuPy, which computes on it, is missing."
        remedy = f"{_PIP} {wanted}" if why and (driver or 0) >= _OLDEST_DRIVER else ""
        yield Finding("GPU", "CuPy", "missing", "note" if why else "ok", why, remedy)
        return
    names = " and ".join(packages)
    if len(packages) > 1:
        why = f"{names} are installed and overwrite each other's files."
        remedy = f"python -m pip uninstall -y {' '.join(packages)} && {_PIP} {wanted}"
        yield Finding("GPU", "CuPy", names, "problem", why, remedy)
        return
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # whatever a broken install raises
        why = f"it is installed but does not load: {error}"
        yield Finding("GPU", "CuPy", names, "problem", why, f"{_PIP} --force-reinstall {wanted}")
        return
    value = f"{names} {cupy.__version__}"
    if int(cupy.__version__.split(".")[0]) < _OLDEST_CUPY:
        why = f"minidl needs CuPy {_OLDEST_CUPY} or newer."
        yield Finding("GPU", "CuPy", value, "problem", why, f"{_PIP} --upgrade {wanted}")
        return
    if driver is None:
        why = "it is installed, but there is no NVIDIA driver; computing on the CPU works."
        yield Finding("GPU", "CuPy", value, "note", why, "nvidia-smi    (comes with the driver and shows its state)")
    elif packages[0] == "cupy-cuda13x" and driver < 13000:
        why = f"it needs a driver for CUDA 13, this one is for {_dotted(driver)}."
        remedy = f"python -m pip uninstall -y cupy-cuda13x && {_PIP} {wanted}"
        yield Finding("GPU", "CuPy", value, "problem", why, remedy)
    else:
        yield Finding("GPU", "CuPy", value)
        yield from _devices(cupy, wanted)


_OLDEST_DRIVER = 12000  # of CUDA 12, whose libraries the older of CuPy's packages brings
_OLDEST_CUPY = 14


def _driver_finding(driver: int | None) -> Finding:
    if driver is None and not _nvidia_hardware():
        return Finding("GPU", "driver", "no NVIDIA driver")
    if driver is None:
        why = "an NVIDIA GPU is built in, but its driver is not installed (or not passed into this container)."
        return Finding("GPU", "driver", "missing", "note", why, "nvidia-smi    (works once the driver is installed)")
    value = f"for CUDA {_dotted(driver)}"
    if driver < _OLDEST_DRIVER:
        why = f"CuPy needs a driver for CUDA 12 or newer, this one is for {_dotted(driver)}: install a newer driver."
        return Finding("GPU", "driver", value, "note", why, "nvidia-smi    (shows the driver's version)")
    return Finding("GPU", "driver", value)


def _nvidia_hardware() -> bool:
    """Whether Linux lists a display or 3-D controller of NVIDIA's; False where it cannot be known."""
    for device in glob.glob("/sys/bus/pci/devices/*"):
        try:
            vendor, kind = (pathlib.Path(device, name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def _devices(cupy: Any, wanted: str) -> Iterator[Finding]:
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError: cudaErrorNoDevice and others
        count, reason = 0, str(error)
    else:
        reason = "the driver shows no device."
    if not count:
        if hidden := "CUDA_VISIBLE_DEVICES" in os.environ:
            reason = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']} hides the devices."
        remedy = _unset("CUDA_VISIBLE_DEVICES") if hidden else "nvidia-smi"
        yield Finding("GPU", "device", "none", "note" if hidden else "problem", reason, remedy)
        return
    for index in range(count):
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        name = properties["name"]
        name = name.decode() if isinstance(name, bytes) else name
        capability = f"{properties['major']}.{properties['minor']}"
        gib = properties["totalGlobalMem"] / 2**30
        yield Finding("GPU", f"device {index}", f"{name}, compute capability {capability}, {gib:.0f} GiB")
    try:
        total = int((cupy.arange(4) ** 2).sum())  # needs the compiler and the headers of the toolkit
    except Exception as error:
        why = f"a first computation failed: {error}"
        yield Finding("GPU", "computing", "fails", "problem", why, f"{_PIP} --upgrade {wanted}")
    else:
        right = total == 14
        why = "" if right else f"0 + 1 + 4 + 9 gave {total} on the GPU."
        yield Finding("GPU", "computing", "works" if right else "wrong", "ok" if right else "problem", why)


def _cuda_driver() -> int | None:
    """The newest CUDA version that the NVIDIA driver serves, as 1000 * major + 10 * minor; None without one."""
    try:
        import ctypes

        library = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        version = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(version)) == 0:
            return version.value
    except (AttributeError, ImportError, OSError):
        pass
    return None


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
