"""``python -m tests.checks``: the worst measured error of each convolution kernel as a share of its derived bound."""

from __future__ import annotations

from minidl.kernels import catalogue

from . import conv, shapes, winograd

PROBLEMS = {"winograd": (*shapes.ALL, *winograd.CASES)}
"""Where an algorithm has problems of its own beside those of all."""


def main() -> None:
    print("worst error / derived bound (above 1: the kernel is wrong), and of how many problems\n")
    print("| algorithm | dtype | problems | " + " | ".join(conv.PASSES) + " |")
    print("|---" * (3 + len(conv.PASSES)) + "|")
    for kernel in catalogue.kernels("conv", "forward", "cpu"):
        problems = PROBLEMS.get(kernel.algorithm, shapes.ALL)
        for dtype in ("float32", "float64"):
            refused = [conv.refusal(kernel.algorithm, "forward", conv.problem(c), dtype) for c in problems]
            if all(refused):  # without Numba
                print(f"| {kernel.algorithm} | {dtype} | {refused[0]} |")
                continue
            cells = [str(sum(not why for why in refused))]
            ratios = (conv.agreement(kernel.algorithm, dtype, (pass_,), problems) for pass_ in conv.PASSES)
            cells += [f"{ratio:.3f}" for ratio in ratios]
            print(f"| {kernel.algorithm} | {dtype} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
