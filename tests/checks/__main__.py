"""``python -m tests.checks``: the worst measured error of each convolution kernel as a share of its derived bound."""

from __future__ import annotations

import numpy as np

from minidl.kernels import catalogue

from . import conv, shapes


def main() -> None:
    print(f"worst error / derived bound over {len(shapes.ALL)} problems (above 1: the kernel is wrong)\n")
    print("| algorithm | dtype | " + " | ".join(conv.PASSES) + " |\n|---|---|" + "---|" * len(conv.PASSES))
    table = {k.algorithm: k for k in catalogue.kernels("conv", "forward", "cpu")}
    for algorithm, kernel in table.items():
        for dtype in ("float32", "float64"):
            if why := kernel.obstacle(conv.problem(shapes.FEW[0]), np.dtype(dtype)):
                print(f"| {algorithm} | {dtype} | {why} |")
                continue
            ratios = [conv.agreement(algorithm, dtype, (pass_,)) for pass_ in conv.PASSES]
            print(f"| {algorithm} | {dtype} | " + " | ".join(f"{r:.3f}" for r in ratios) + " |")


if __name__ == "__main__":
    main()
