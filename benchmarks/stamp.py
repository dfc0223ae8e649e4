"""What a result is worth nothing without: on what machine, with which versions and settings it was measured."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import subprocess
from typing import Any

from minidl import doctor, get_num_threads, packages
from minidl.kernels import jit
from minidl.kernels.threads import available_cpus

from .sides import ROOT, settings


def environment() -> dict[str, Any]:
    """The process that calls it, as plain values for JSON: machine, versions, BLAS, threads, settings.

    Neither host nor user nor paths are in it.
    """
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": doctor._cpu_name(),
        "cpu_features": sorted(doctor._cpu_features()),
        "kernels_for": vectors(),
        "cores": available_cpus(),
        "load_average": load_average(),
        "threads": get_num_threads(),
        "python": platform.python_version(),
        **{name: packages.version(name) for name in ("numpy", "numba", "llvmlite", "torch")},
        "blas": [
            {name: info.get(name) for name in ("internal_api", "version", "architecture", "num_threads")}
            for info in doctor._blas_libraries()
        ],
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE"),
        "settings": settings(),
    }


def vectors() -> str:
    """The vectors that our kernels are compiled for: "avx512", "avx2", "neon" or "portable".

    They are the processor's own, unless ``NUMBA_CPU_NAME`` says otherwise.
    """
    if not jit.HAVE_NUMBA:
        return "portable"
    from minidl.kernels.cpu import simd

    names = {simd.AVX512: "avx512", simd.AVX2: "avx2", simd.NEON: "neon"}
    return names.get(simd.machine(), "portable")


def load_average() -> list[float] | None:
    """Processes that wanted to run, averaged over 1, 5 and 15 minutes; None where the system does not say."""
    try:
        return [round(n, 2) for n in os.getloadavg()]
    except (AttributeError, OSError):
        return None


def commit() -> str | None:
    """The revision of the checkout, with "+" after it where tracked files differ; None without git."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        git = ["git", "-C", str(ROOT)]
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True)
        return head.stdout.strip() + ("+" if changed.returncode else "")
    return None
