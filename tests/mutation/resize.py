"""Resizing's bugs: corners, half positions, borders and adjoints."""

from __future__ import annotations

from functools import partial

from tests.checks.resize import check_resize

from .framework import Mutant

_RESIZE = "minidl.kernels.spec.resize:"
CHECKS = (check_resize,)

MUTANTS = (
    Mutant("resize_half_position_forgotten", _RESIZE + "taps", CHECKS, "maps corners of cells instead of centres",
           "(p + 0.5) * axis.scale - 0.5", "p * axis.scale"),
    Mutant("resize_border_extrapolated", _RESIZE + "taps", CHECKS, "continues the slope beyond the first position",
           "np.maximum((p + 0.5) * axis.scale - 0.5, 0)", "(p + 0.5) * axis.scale - 0.5"),
    Mutant("resize_corners_by_sizes", _RESIZE + "taps", CHECKS, "aligned corners with size/out for (size-1)/(out-1)",
           "(last / (axis.out - 1))", "(axis.size / axis.out)"),
    Mutant("resize_align_corners_ignored", _RESIZE + "taps", CHECKS, "the option has no effect",
           "if align_corners:", "if False:"),
    Mutant("resize_weights_exchanged", _RESIZE + "taps", CHECKS, "each tap gets the other's weight",
           "[(low, 1 - weight), (high, weight)]", "[(low, weight), (high, 1 - weight)]"),
    Mutant("resize_nearest_rounds", _RESIZE + "taps", CHECKS, "the nearest centre instead of the floor",
           "p * axis.size // axis.out if exact", "(2 * p * axis.size + axis.out) // (2 * axis.out) if exact"),
    Mutant("resize_ratio_for_factor", _RESIZE + "Resize.from_shape", CHECKS,
           "places the cells by the ratio of the sizes although a factor was given",
           "scales = [1 / f for f in factors]", "scales = [i / o for i, o in zip(inputs, outs)]"),
    Mutant("resize_out_rounds_up", _RESIZE + "Resize.from_shape", CHECKS, "rounds the output size up",
           "floor(i * f)", "-floor(-i * f)"),
    Mutant("resize_grad_assigns", _RESIZE + "resize_grad", CHECKS, "dx[at] += in NumPy counts equal positions once",
           "np.add.at(dx, at, np.moveaxis(g * along(w, i, g), i, 0))",
           "dx[at] += np.moveaxis(g * along(w, i, g), i, 0)"),
    Mutant("resize_promotes", _RESIZE + "along", (partial(check_resize, "float32"),),
           "float64 weights make a float64 image of a float32 one", "weight.astype(x.dtype)", "weight"),
)  # fmt: skip
