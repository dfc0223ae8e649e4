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

from . import packages
from .packages import PIP

Status = Literal["ok", "note", "problem"]

_COLOURS: dict[Status, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}
_AVX512_CORES = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's kernels with 512-bit vectors


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    `status` is "ok", "note" (works, could be better or is optional) or "problem"; `why` says in a sentence
    what follows from it and `remedy` is the command that changes it.

    >>> finding = Finding("Python", "version", "3.8", "problem", "minidl needs 3.11", "install a newer one")
    >>> finding.status, finding.remedy
    ('problem', 'install a newer one')
    """

    topic: str
    name: str
    value: str
    status: Status = "ok"
    why: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All findings on this machine.

    >>> Report((Finding("Python", "version", "3.13"),)).as_dict()["ok"]
    True
    """

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
        return Group(*parts, "", Text(self._verdict(), style=_COLOURS["problem" if self.problems else "ok"]))

    def __str__(self) -> str:
        """The same as plain text, for where rich does not load."""
        rows = [
            (f.topic if i == 0 or f.topic != self.findings[i - 1].topic else "", f.status, f.name, f.value)
            for i, f in enumerate(self.findings)
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = ["  ".join([*(cell.ljust(n) for cell, n in zip(row, widths)), row[3]]) for row in rows]
        for finding in self.findings:
            if finding.why:
                lines += ["", f"{finding.name}: {finding.why}"] + [f"    {finding.remedy}"] * bool(finding.remedy)
        return "\n".join([*lines, "", self._verdict()])

    def _verdict(self) -> str:
        count = len(self.problems)
        return f"{count} problem{'s' * (count != 1)}" if count else "No problems."


def collect() -> Report:
    """Look at Python, NumPy and its BLAS, the CPU, Numba, memory, the GPU and the optional packages.

    Takes a few seconds: the packages are imported where they are installed (not torch).  Never raises for what is
    missing or broken; that is what the findings are for.

    >>> report = collect()
    >>> report.findings[0].topic
    'Python'
    """
    probes = (_python, _packages, _cpu, _blas, _threads, _numba, _memory, _gpu, _optional)
    return Report(tuple(finding for probe in probes for finding in probe()))


# Python and packages -----------------------------------------------------------------------------------


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python", "Python", f"{version} ({platform.system()} {platform.machine()})")


# by the names under which they are imported; what follows where one is missing
_REQUIRED = {
    "threadpoolctl": "BLAS and Numba cannot be given their threads together",
    "safetensors": "weights cannot be saved",
    "PIL": "images cannot be read",
    "cyclopts": "the command line does not start",
    "rich": "progress and tables cannot be shown",
}
_OPTIONAL = {
    "sklearn": "the bundled digits (--data digits)",
    "matplotlib": "plots",
    "ml_dtypes": "bfloat16 weights",
}


def _packages() -> Iterator[Finding]:
    import numpy

    yield Finding("Packages", "NumPy", numpy.__version__)
    for module, consequence in _REQUIRED.items():
        name = packages.DISTRIBUTIONS[module]
        why = f"it is not installed, so {consequence}."
        yield _package("Packages", name, module, why, "problem")


def _optional() -> Iterator[Finding]:
    for module, purpose in _OPTIONAL.items():
        name = packages.DISTRIBUTIONS[module]
        yield _package("Optional", name, module, f"not installed; it gives {purpose}.", "note")
    # only the tests import it, and it takes long: what its record says is enough
    if version := packages.version("torch"):
        yield Finding("Optional", "torch", version)
    else:
        why = "not installed; it gives an oracle for the tests, not used otherwise."
        yield Finding("Optional", "torch", "missing", "note", why, packages.repair("torch"))


def _package(topic: str, name: str, module: str, missing: str, status: Status) -> Finding:
    """The version of a package that loads; otherwise whether it is missing or broken."""
    version = packages.version(name)
    if version is None:
        return Finding(topic, name, "missing", status, missing, packages.repair(name))
    if error := packages.trouble(module):
        why = f"installed but fails to import: {type(error).__name__}: {error}."
        return Finding(
            topic, name, f"{version}, broken", "problem", why, packages.repair(packages.culprit(error) or name)
        )
    return Finding(topic, name, version)


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
                f"OPENBLAS_CORETYPE={pinned} keeps NumPy's matrix products from the AVX-512 units of this CPU: about "
                "half the speed (120 instead of 240 GFLOP/s on one core where it was measured). Of minidl's own, only "
                "small ones are NumPy's."
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
        yield Finding("Numba", "Numba", "missing", "problem", why, f"{PIP} numba")
        return
    try:
        numba = jit.require_numba()
    except Exception as error:  # whatever a broken or mismatched install raises
        why = f"it is installed but does not load: {error}"
        yield Finding("Numba", "Numba", "broken", "problem", why, f"{PIP} --upgrade numba numpy")
        return
    yield Finding("Numba", "Numba", numba.__version__)
    base = jit.cache_base()
    if base is None:
        why = "no folder can be written to, so each process compiles its kernels again."
        remedy = _export("NUMBA_CACHE_DIR", "FOLDER") + "    (any folder that you can write to)"
        yield Finding("Numba", "compile cache", "none", "problem", why, remedy)
    else:
        yield Finding("Numba", "compile cache", str(base))


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
    installed = sorted(set(importlib.metadata.packages_distributions().get("cupy", ())))
    wanted = f'"cupy-cuda{13 if (driver or 13000) >= 13000 else 12}x[ctk]" ml-dtypes'
    yield _driver_finding(driver)
    if not installed:
        why = "" if driver is None else "this machine has an NVIDIA driver, but CuPy, which computes on it, is missing."
        remedy = f"{PIP} {wanted}" if why and (driver or 0) >= _OLDEST_DRIVER else ""
        yield Finding("GPU", "CuPy", "missing", "note" if why else "ok", why, remedy)
        return
    names = " and ".join(installed)
    if len(installed) > 1:
        why = f"{names} are installed and overwrite each other's files."
        remedy = f"python -m pip uninstall -y {' '.join(installed)} && {PIP} {wanted}"
        yield Finding("GPU", "CuPy", names, "problem", why, remedy)
        return
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # whatever a broken install raises
        why = f"it is installed but does not load: {error}"
        yield Finding("GPU", "CuPy", names, "problem", why, f"{PIP} --force-reinstall {wanted}")
        return
    value = f"{names} {cupy.__version__}"
    if int(cupy.__version__.split(".")[0]) < _OLDEST_CUPY:
        why = f"minidl needs CuPy {_OLDEST_CUPY} or newer."
        yield Finding("GPU", "CuPy", value, "problem", why, f"{PIP} --upgrade {wanted}")
        return
    if driver is None:
        why = "it is installed, but there is no NVIDIA driver; computing on the CPU works."
        yield Finding("GPU", "CuPy", value, "note", why, "nvidia-smi    (comes with the driver and shows its state)")
    elif installed[0] == "cupy-cuda13x" and driver < 13000:
        why = f"it needs a driver for CUDA 13, this one is for {_dotted(driver)}."
        remedy = f"python -m pip uninstall -y cupy-cuda13x && {PIP} {wanted}"
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
        yield Finding("GPU", "computing", "fails", "problem", why, f"{PIP} --upgrade {wanted}")
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
