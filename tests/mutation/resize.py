"""Resizing's bugs: corners, half positions, borders and adjoints."""

from __future__ import annotations

from functools import partial

from tests.checks.resize import check_resize

from .framework import Mutant

_RESIZE = "minidl.kernels.spec.resize:"
_CPU = "minidl.kernels.cpu.resize:"
CHECKS = (check_resize,)
COMPILED = (partial(check_resize, "float32", "numba"),)

MUTANTS = (
    Mutant("resize_half_position_forgotten", _RESIZE + "taps", CHECKS, "maps corners of cells instead of centres",
           "(p + 0.5) * axis.scale - 0.5", "p * axis.scale"),
    Mutant("resize_border_extrapolated", _RESIZE + "taps", CHECKS, "continues the slope beyond the first position",
           "where = np.maximum(where, 0)", "pass"),
    Mutant("resize_corners_by_sizes", _RESIZE + "taps", CHECKS, "aligned corners with size/out for (size-1)/(out-1)",
           "aligned = last / (axis.out - 1) if", "aligned = axis.size / axis.out if"),
    Mutant("resize_align_corners_ignored", _RESIZE + "taps", CHECKS, "the option has no effect",
           "p * aligned if align_corners else", "p * aligned if False else"),
    Mutant("resize_weights_exchanged", _RESIZE + "taps", CHECKS, "each tap gets the other's weight",
           "[(low, 1 - weight), (high, weight)]", "[(low, weight), (high, 1 - weight)]"),
    Mutant("resize_area_drops_what_is_cut", _RESIZE + "taps", CHECKS, "counts only pixels that are covered whole",
           "-(-(p + 1) * axis.size // axis.out)",
           "np.maximum((p + 1) * axis.size // axis.out, p * axis.size // axis.out + 1)"),
    Mutant("resize_area_sums", _RESIZE + "_span", CHECKS, "the sum of what is covered instead of its mean",
           "w / total", "w"),
    Mutant("resize_cubic_of_another_slope", _RESIZE + "taps", CHECKS, "Pillow's a = -0.5 where PyTorch has -0.75",
           "_cubic(where - low - k, -0.75)", "_cubic(where - low - k, -0.5)"),
    Mutant("resize_cubic_taps_shifted", _RESIZE + "taps", CHECKS, "the four taps begin at the position's own",
           "for k in (-1, 0, 1, 2)", "for k in (0, 1, 2, 3)"),
    Mutant("resize_cubic_towards_zero", _RESIZE + "taps", CHECKS, "int() where floor() belongs: left of the image",
           "np.floor(where).astype(int)", "where.astype(int)"),
    Mutant("resize_cubic_border_wraps", _RESIZE + "taps", CHECKS, "reads the other end beyond the border",
           "np.clip(low + k, 0, last)", "(low + k) % axis.size"),
    Mutant("resize_cubic_clamped", _RESIZE + "taps", CHECKS, "clamps the position as the linear mode does",
           'low = np.floor(where)', 'where = np.maximum(where, 0); low = np.floor(where)'),
    Mutant("resize_antialias_keeps_its_width", _RESIZE + "taps", CHECKS, "the kernel is not widened",
           "wide, centre = max(scale, 1.0),", "wide, centre = 1.0,"),
    Mutant("resize_antialias_of_corners_ignored", _RESIZE + "taps", CHECKS, "antialiased always by cells",
           "scale = aligned if align_corners else axis.scale", "scale = axis.scale"),
    Mutant("resize_antialias_narrow_cubic", _RESIZE + "taps", CHECKS, "the cubic kernel cut off at the first zero",
           "else 2 * wide", "else wide"),
    Mutant("resize_antialias_half_a_pixel", _RESIZE + "taps", CHECKS, "weighs corners of pixels, not their centres",
           "(at + 0.5 - centre)", "(at - centre)"),
    Mutant("resize_recomputed_factor_ignored", _RESIZE + "Resize.from_shape",
           ("tests.checks.resize:check_recomputed",), "recompute_scale_factor has no effect",
           "if recompute_scale_factor:", "if False:"),
    Mutant("resize_nearest_rounds", _RESIZE + "taps", CHECKS, "the nearest centre instead of the floor",
           "p * axis.size // axis.out if exact", "(2 * p * axis.size + axis.out) // (2 * axis.out) if exact"),
    Mutant("resize_ratio_for_factor", _RESIZE + "Resize.from_shape", CHECKS,
           "places the cells by the ratio of the sizes although a factor was given",
           "scales = [1 / f for f in factors]", "scales = [i / o for i, o in zip(inputs, outs)]"),
    Mutant("resize_out_rounds_up", _RESIZE + "Resize.from_shape", CHECKS, "rounds the output size up",
           "floor(i * f)", "-floor(-i * f)"),
    Mutant("resize_grad_assigns", _RESIZE + "resize_grad", CHECKS, "dx[at] += in NumPy counts equal positions once",
           "xp.add.at(dx, here(at, g), xp.moveaxis(g * along(w, i, g), i, 0))",
           "dx[at] += np.moveaxis(g * along(w, i, g), i, 0)"),
    Mutant("resize_rows_of_the_first_plane", _CPU + "add_rows", COMPILED, "takes depth by the number of the entry",
           "np.int64(plane) * m.size1", "(i - i0) * m.size1"),
    Mutant("resize_height_not_weighed", _CPU + "add_rows", COMPILED, "rows count alike",
           "of_plane * of_row", "of_plane"),
    Mutant("resize_line_of_the_row_before", _CPU + "_rows_piece", COMPILED, "adds to the sums of the row before",
           "clear_bytes(line, length * size)", "clear_bytes(line, size)"),
    Mutant("resize_channels_of_the_next", _CPU + "weigh_pixels", COMPILED, "columns lie one channel apart",
           "line + np.int64(at) * beside * size", "line + np.int64(at) * size"),
    Mutant("resize_promotes", _RESIZE + "along", (partial(check_resize, "float32"),),
           "float64 weights make a float64 image of a float32 one", "weight.astype(x.dtype)", "weight"),
)  # fmt: skip
