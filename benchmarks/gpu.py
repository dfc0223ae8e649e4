"""Everything about one CUDA card by one command: ``python -m benchmarks.gpu --minutes 20 --json gpu.json``.

In this order, so that a run that is cut off has told the most important:

1. *ceilings*: copying, and matrix products in each precision (cuBLAS through CuPy; PyTorch where it is installed).
2. *check*: each kernel of the catalogue for "cuda", and norms, losses, updates and pooling, against their definitions,
   on the shapes and by the bounds of the tests.
3. *fused*: what stands around the convolutions, as a share of the bandwidth and against PyTorch.
4. *steps*: training steps of whole networks, launched one by one and as captured graphs, against PyTorch's.
5. *layers*: each layer of shapes.py, each pass, each of our algorithms, against cuDNN in its default setting, tuned,
   channels-last, with TF32 and in 16 bits.

Sides take turns; times are CUDA's own, of batches of at least 20 ms, on operands that no cache holds.  A ratio compares
equal precisions: the best time of PyTorch / the best of ours.  The JSON file is written anew after each row.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import operator
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minidl.io import atomic_write
from minidl.kernels import catalogue
from minidl.kernels.conv_algorithms import PASSES, traffic

from . import gpu_sides, shapes, timing
from .gpu_sides import MODES, PRECISIONS, Call, Card, Mode, Torch
from .networks import Network
from .shapes import Layer
from .side_minidl import kernel_pass, problem
from .stamp import environment

SECTIONS = ("ceilings", "check", "fused", "steps", "layers")
LINES = 100  # of the table that is printed, at most
SLOWEST = 12  # layers that are shown one by one
HOPELESS = 20  # times the estimate of the planned algorithm, beyond which another one is not measured
# batches that fill a card
STEPS = (
    Network("ResNet-50", "resnet50", 64), Network("CIFAR ResNet-20", "cifar_resnet20", 128, (3, 32, 32), 10),
    Network("MobileNet-v2", "mobilenet_v2", 64), Network("GoogLeNet", "googlenet", 64), Network("VGG-16", "vgg16", 64),
)  # fmt: skip
TINY = (Network("LeNet-5", "lenet5", 2, (1, 32, 32), 10),)


class Run:
    """One run: the card, PyTorch or None, how large and how long; and the results so far."""

    def __init__(self, card: Card, torch: Torch | None, options: argparse.Namespace) -> None:
        self.card, self.torch, self.options = card, torch, options
        self.started = time.perf_counter()
        self.results: dict[str, Any] = {"stamp": self.stamp()}

    def stamp(self) -> dict[str, Any]:
        import cupy

        facts = environment() | {"card": self.card.name, "capability": self.card.capability, "cupy": cupy.__version__}
        return facts | {"quick": self.options.quick, "peer": None if self.torch is None else self.torch.stamp()}

    def over(self) -> bool:
        """Whether the minutes are used up."""
        return time.perf_counter() - self.started > 60 * self.options.minutes

    def add(self, section: str, row: dict[str, Any]) -> None:
        """Keep a row, and all so far in the file."""
        self.results.setdefault(section, []).append(row)
        self.results["stamp"]["minutes"] = (time.perf_counter() - self.started) / 60
        if self.options.json is not None:
            with atomic_write(self.options.json, "w", encoding="utf-8") as file:
                file.write(json.dumps(self.results, indent=1) + "\n")

    def times(self, sides: Mapping[str, Sequence[Call]]) -> dict[str, Any]:
        """Statistics of each side's calls, which take turns; an error instead where a side cannot compute."""
        able: dict[str, Sequence[Call]] = {}
        found: dict[str, Any] = {}
        for name, calls in sides.items():
            with noted(found, name):
                for call in (*calls, *calls):  # compiles, chooses, allocates
                    call()
                self.card.cp.cuda.runtime.deviceSynchronize()
                able[name] = calls
        if able:
            own_turns = {name: partial(self.card.turn, calls) for name, calls in able.items()}
            failed: dict[str, Any] = {}
            with noted(failed, "turns"):
                turns = timing.interleave(own_turns, self.options.seconds * len(able))
                for name, times in turns.items():
                    stats = timing.statistics([t for turn in times for t in turn])
                    found[name] = {**vars(stats), "noise": timing.noise_floor(times)}
            if failed:
                found |= dict.fromkeys(able, failed["turns"])
        return found


@contextlib.contextmanager
def noted(found: dict[str, Any], name: str) -> Iterator[None]:
    """Keep an error of whatever kind (of CUDA, memory, a compiler, PyTorch) as ``found[name]``, and go on.

    What one side cannot do says nothing about the others, and nobody sits beside a run of many minutes.
    """
    try:
        yield
    except Exception as error:
        found[name] = {"error": f"{type(error).__name__}: {error}"[:500]}


def ratio(times: Mapping[str, Any], ours: Iterable[str], theirs: Iterable[str]) -> float | None:
    """The best median of theirs / the best of ours; None where a side has none."""
    best = [min((times[n]["median"] for n in names if "median" in times.get(n, {})), default=None)
            for names in (ours, theirs)]  # fmt: skip
    return best[1] / best[0] if best[0] and best[1] else None


# ---- the sections ----


def ceilings(run: Run) -> None:
    cp, n = run.card.cp, 1 << (8 if run.options.tiny else 28)
    a, b = cp.ones(n, "float32"), cp.zeros(n, "float32")

    def copy() -> None:
        b[...] = a

    found = run.times({"copy": [copy]})["copy"]
    run.add("ceilings", {"name": "copy", "gbytes": 8 * n / found["median"] / 1e9, **found})
    side = 32 if run.options.tiny else 4096 if run.options.quick else 8192

    def rate(found: dict[str, Any]) -> dict[str, float]:
        return {"tflops": 2 * side**3 / found["median"] / 1e12} if "median" in found else {}

    products: dict[str, list[Call]] = {}
    for dtype in ("float32", "float64", "float16"):
        x, y = run.card.normal((side, side), dtype), run.card.normal((side, side), dtype)
        products[f"{dtype} cuBLAS"] = [partial(operator.matmul, x, y)]
    for name, found in run.times(products).items():
        run.add("ceilings", {"name": name, **rate(found), **found})
    if run.torch is not None:
        for mode in (Mode("float32", "float32"), Mode("tf32", "tf32", tf32=True), Mode("bfloat16", "bfloat16")):
            with run.torch.mode(mode):
                x, y = (run.torch.tensor((side, side), mode) for _ in range(2))
                (found,) = run.times({"product": [partial(operator.matmul, x, y)]}).values()
                run.add("ceilings", {"name": f"{mode.name} PyTorch", **rate(found), **found})


def check(run: Run) -> None:
    """The promises of the tests, on this card."""
    from tests.checks import cuda, cuda_fused, cuda_resize
    from tests.kernels.convolution_cases import CASES

    cp = run.card.cp
    cases = {**CASES, **cuda.GROUPED, **cuda.TILED, **cuda.SQUARES, **cuda.STRIDED}
    names = list(cases)[:2] if run.options.tiny else list(cases)
    promises: list[tuple[str, Callable[[], None]]] = []
    for pass_ in PASSES:
        for k in catalogue.kernels("conv", pass_, "cuda"):
            if not run.card.has(k.algorithm):
                continue
            for name in names:
                for dtype in k.dtypes or ("float32", "float64"):
                    if k.obstacle(cases[name], np.dtype(dtype)) is None:
                        for lay in cuda.LAYOUTS[:2]:
                            what = f"{k.algorithm} {pass_} {dtype} {lay.__name__}: {name}"
                            promises.append((what, partial(cuda.agrees, cp, k, cases[name], dtype, lay)))
    for number, shape in enumerate(cuda_fused.SHAPES[: 1 if run.options.tiny else None]):
        for dtype in ("float32", "float64"):
            lay = cuda.LAYOUTS[number % 3]
            promises.append(
                (f"norms {dtype} {shape}", partial(cuda_fused.norms, cp, shape, dtype, lay, number % 2 > 0))
            )
    promises += [(f"cross-entropy {i}", partial(cuda_fused.cross_entropy, i)) for i in range(len(cuda_fused.LOSSES))]
    promises += [(f"updates {i}", partial(cuda_fused.updates, cp, i)) for i in range(len(cuda_fused.UPDATES))]
    for name, w in cuda.WINDOWS.items():
        promises.append((f"pooling {name}", partial(cuda.pools, cp, w, "float32", cuda.plain)))
        promises.append((f"unpooling {name}", partial(cuda.unpools, cp, w, "float32", cuda.channels_last)))
    for name, (shape, how) in cuda_resize.PROBLEMS.items():
        for dtype, lay in zip(("float32", "float64"), cuda.LAYOUTS):
            what = f"resizing {dtype} {lay.__name__}: {name}"
            promises.append((what, partial(cuda_resize.resizes, cp, shape, how, dtype, lay)))
    broken: dict[str, Any] = {}
    for i, (what, promise) in enumerate(promises):
        if run.over():
            break
        with noted(broken, what):
            promise()
        if i % 50 == 49 or i == len(promises) - 1:
            if broken:
                run.results["wrong"] = [{"what": name, **error} for name, error in broken.items()]
            run.add("check", {"checked": i + 1, "of": len(promises), "wrong": len(broken)})


def fused(run: Run) -> None:
    theirs = {} if run.torch is None else run.torch.fused_calls()
    copy = next((row["gbytes"] for row in run.results.get("ceilings", ()) if row["name"] == "copy"), None)
    for name, (make, moves) in gpu_sides.fused_calls(run.card).items():
        if run.over():
            return
        shape = gpu_sides.FUSED_SHAPES[name]
        if run.options.tiny:
            shape = tuple(min(n, 8) for n in shape)
        sides = {"minidl": [make(shape)]}
        if name in theirs:
            sides["torch"] = [theirs[name](shape)]
        times = run.times(sides)
        row: dict[str, Any] = {"name": name, "shape": shape, "sides": times}
        if "median" in times["minidl"]:
            row["gbytes"] = moves * 4 * math.prod(shape) / times["minidl"]["median"] / 1e9
            row["of_copy"] = row["gbytes"] / copy if copy else None
        run.add("fused", row | {"ratio": ratio(times, ["minidl"], ["torch"])})
        run.card.free()


def steps(run: Run) -> None:
    networks = TINY if run.options.tiny else STEPS[:2] if run.options.quick else STEPS
    for network in networks:
        for precision in ("float32", "float16"):
            if run.over():
                return
            row = step_row(run, network, precision)
            run.add("steps", row)
            run.card.free()


def step_row(run: Run, network: Network, precision: str) -> dict[str, Any]:
    """Ours one by one and as a graph; PyTorch's in all modes of that precision, beside float32 with TF32 too."""
    sides: dict[str, Sequence[Call]] = {}
    times: dict[str, Any] = {}
    for graph in (False, True):
        name = f"minidl{' graph' if graph else ''}"
        with noted(times, name):
            sides[name] = [gpu_sides.step_call(network, precision, graph, "channels-last")]
    times |= run.times(sides)
    comparable = {"float32", "tf32"} if precision == "float32" else {"float16", "bfloat16"}
    for mode in MODES:
        if run.torch is None or mode.precision not in comparable:
            continue
        name = f"torch {mode.name}"
        with noted(times, name), run.torch.mode(mode):
            times |= run.times({name: [run.torch.step_call(network, mode)]})
    row = {"network": network.title, "batch": network.batch, "precision": precision, "sides": times}
    ours = [name for name in times if name.startswith("minidl")]
    tf32 = [name for name in times if name.startswith("torch TF32")]
    plain = [name for name in times if name.startswith("torch") and name not in tf32]
    return row | {"ratio": ratio(times, ours, plain), "ratio_tf32": ratio(times, ours, tf32)}


def layers(run: Run) -> None:
    """In an order that mixes networks and kinds, so that a run that is cut off has seen some of each."""
    chosen = random.Random(0).sample(shapes.LAYERS, len(shapes.LAYERS))
    if run.options.quick or run.options.tiny:
        kinds = dict.fromkeys(layer.kind for layer in chosen)
        chosen = [min((x for x in chosen if x.kind == k), key=lambda x: problem(x).macs) for k in kinds]
    for layer in chosen[:2] if run.options.tiny else chosen:
        for pass_ in PASSES:
            if run.over():
                return
            run.add("layers", layer_row(run, gpu_sides.larger(layer, run.options.batch), pass_))
            run.card.free()


def layer_row(run: Run, layer: Layer, pass_: str) -> dict[str, Any]:
    conv, ours_pass = problem(layer), kernel_pass(layer, pass_)
    planned = catalogue.plan("conv", ours_pass, conv, device="cuda")
    precisions: dict[str, str] = {}  # of each side
    times: dict[str, Any] = {}
    makers: list[tuple[str, Callable[[], Sequence[Call]], Callable[[], contextlib.AbstractContextManager[Any]]]] = []
    for k in catalogue.kernels("conv", ours_pass, "cuda"):
        dtype = np.dtype("float16" if k.algorithm.startswith("fp16") else "float32")
        if not run.card.has(k.algorithm):
            continue
        if k.obstacle(conv, dtype) is None and k.cost(conv, dtype.itemsize).seconds <= HOPELESS * planned.cost.seconds:
            name = f"minidl {k.algorithm}"
            precisions[name] = PRECISIONS.get(k.algorithm, "float32")
            make = partial(gpu_sides.layer_calls, run.card, layer, pass_, k.algorithm)
            makers.append((name, make, contextlib.nullcontext))
    for mode in MODES:
        if run.torch is not None and (mode.layout == "NCHW" or len(layer.size) == 2):
            precisions[f"torch {mode.name}"] = mode.precision
            make = partial(run.torch.layer_calls, run.card, layer, pass_, mode)
            makers.append((f"torch {mode.name}", make, partial(run.torch.mode, mode)))
    for name, maker, under in makers:  # one after the other: their operands would not all fit
        with noted(times, name), under():
            times |= run.times({name: maker()})
    for side in times.values():
        if "median" in side:
            side["tflops"] = 2 * conv.macs / side["median"] / 1e12
            side["gbytes"] = traffic(conv, 4) / side["median"] / 1e9
    ratios = {
        p: ratio(
            times, *([n for n in times if n.startswith(who) and precisions[n] == p] for who in ("minidl", "torch"))
        )
        for p in ("float32", "tf32", "float16", "bfloat16")
    }
    row = {"layer": layer.title, "kind": layer.kind, "tags": layer.tags, "pass": pass_, "batch": layer.batch}
    mine = {
        n: t["median"]
        for n, t in times.items()
        if n.startswith("minidl") and precisions[n] == "float32" and "median" in t
    }
    best = min(mine, key=mine.__getitem__, default=None)
    choice = f"minidl {planned.algorithm}"
    regret = mine[choice] / mine[best] - 1 if best and choice in mine else None
    return row | {"planned": planned.algorithm, "best": best, "regret": regret, "sides": times, "ratios": ratios}


# ---- the table ----


def table(results: Mapping[str, Any]) -> list[str]:
    """At most ``LINES`` lines."""
    stamp = results["stamp"]
    peer = stamp["peer"]
    against = f"PyTorch {peer['torch']}, cuDNN {peer['cudnn']}" if peer else "no PyTorch with CUDA to compare with"
    lines = [f"{stamp['card']} ({stamp['capability']}), CuPy {stamp['cupy']}, minidl at {stamp['commit']}; {against}"]
    for row in results.get("ceilings", ()):
        rate = f"{row['gbytes']:8.0f} GB/s" if "gbytes" in row else f"{row.get('tflops', math.nan):8.1f} TFLOP/s"
        lines.append(f"  {row['name']:<22}{rate}  {row.get('error', '')}")
    for row in results.get("check", ())[-1:]:
        lines.append(f"check: {row['checked']} of {row['of']} promises asked, {row['wrong']} broken")
        lines += [f"  broken: {w['what']}: {w['error'][:90]}" for w in results.get("wrong", ())[:10]]
    if "fused" in results:
        lines.append(f"{'around the convolutions':<38}{'ms':>9}{'GB/s':>8}{'of copy':>9}{'ratio':>7}")
    for row in results.get("fused", ()):
        ours = row["sides"]["minidl"]
        share = f"{row['of_copy']:.0%}" if row.get("of_copy") else ""
        lines.append(
            f"  {row['name']:<36}{_ms(ours)}{row.get('gbytes', math.nan):8.0f}{share:>9}{_number(row['ratio'])}"
        )
    if "steps" in results:
        lines.append(f"{'training step':<28}{'':<10}{'ms':>9}{'graph':>9}{'torch':>9}{'ratio':>7}{'to TF32':>9}")
    for row in results.get("steps", ()):
        sides = row["sides"]
        best = min((s for n, s in sides.items() if n.startswith("torch") and "median" in s),
                   key=lambda s: s["median"], default={})  # fmt: skip
        own, graph = (sides.get(name, {}) for name in ("minidl", "minidl graph"))
        title = f"{row['network']} x {row['batch']}"
        ratios = f"{_number(row['ratio'])}  {_number(row['ratio_tf32'])}"
        lines.append(f"  {title:<26}{row['precision']:<10}{_ms(own)}{_ms(graph)}{_ms(best)}{ratios}")
        failed = [(n, s["error"]) for n, s in sides.items() if "error" in s]
        lines += [f"    {name}: {error[:100]}" for name, error in failed[:2]]
    lines += _layers(results.get("layers", ()))
    return lines[:LINES]


def _layers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    kinds: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name in (row["kind"], row["pass"], "all"):
            for precision, value in row["ratios"].items():
                if value:
                    kinds.setdefault(name, {}).setdefault(precision, []).append(value)
    lines = [
        f"{'layers: mean ratio (count)':<28}" + "".join(f"{p:>16}" for p in ("float32", "tf32", "float16", "bfloat16"))
    ]
    for name, found in sorted(kinds.items()):
        cells = (found.get(p, []) for p in ("float32", "tf32", "float16", "bfloat16"))
        means = (f"{timing.geometric_mean(v):.2f} ({len(v)})" if v else "" for v in cells)
        lines.append(f"  {name:<26}" + "".join(f"{m:>16}" for m in means))
    regrets = [row["regret"] for row in rows if row["regret"] is not None]
    if regrets:
        lines.append(f"  regret of the planner: mean {sum(regrets) / len(regrets):.0%}, most {max(regrets):.0%}")
    compared = sorted((r for r in rows if r["ratios"]["float32"]), key=lambda r: r["ratios"]["float32"])
    for row in compared[:SLOWEST] if compared else rows[:SLOWEST]:
        best = row["sides"].get(row["best"] or "", {})
        rate = f"{best.get('tflops', math.nan):6.1f} TFLOP/s" if best else ""
        lines.append(
            f"  {row['layer'] + ' ' + row['pass']:<40}{row['best'] or '':<22}{_ms(best)} ms {rate}"
            f"{_number(row['ratios']['float32'])}"
        )
    return lines


def _ms(side: Mapping[str, Any]) -> str:
    return f"{side['median'] * 1e3:9.3f}" if "median" in side else f"{'-':>9}"


def _number(value: float | None) -> str:
    return f"{'':>7}" if value is None else f"{value:7.2f}"


def measure(card: Card, torch: Torch | None, options: argparse.Namespace) -> dict[str, Any]:
    """All sections that are asked for; a section that fails leaves its error and the others run."""
    run = Run(card, torch, options)
    for name in SECTIONS:
        if options.only and name not in options.only:
            continue
        print(f"{time.perf_counter() - run.started:6.0f} s  {name}", file=sys.stderr)
        failed: dict[str, Any] = {}
        with contextlib.nullcontext() if options.tiny else noted(failed, name):
            globals()[name](run)
        if failed:
            run.add("failed", {"section": name, **failed[name]})
    return run.results


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Everything about one CUDA card.")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing new after so many")
    parser.add_argument("--quick", action="store_true", help="a layer of each kind, two networks, smaller products")
    parser.add_argument("--only", nargs="+", default=[], choices=SECTIONS, help="these sections")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measuring, for each thing measured")
    parser.add_argument("--batch", type=int, default=64, help="images of a layer, at least")
    parser.add_argument("--no-torch", dest="torch", action="store_false")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, after each row")
    parser.add_argument("--tiny", action="store_true", help="sizes that only try out this program")
    options = parser.parse_args(words)
    if options.tiny:
        options.batch, options.seconds = 1, min(options.seconds, 0.001)
    return options


def peer(wanted: bool) -> Torch | None:
    """PyTorch where it is installed and has a card."""
    if not wanted or importlib.util.find_spec("torch") is None:
        return None
    found = Torch()
    return found if found.torch.cuda.is_available() else None


def main(words: Sequence[str] | None = None) -> None:
    from minidl.backend import module_for, usable

    options = arguments(words)
    cupy = module_for(usable("cuda"))  # says what is wrong where there is none
    card = Card(cupy, 1e-5 if options.tiny else 0.02)
    results = measure(card, peer(options.torch), options)
    print("\n".join([*table(results), *(f"failed: {f['section']}: {f['error']}" for f in results.get("failed", ()))]))


if __name__ == "__main__":
    main()
