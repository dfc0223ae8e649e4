"""Bugs in the geometry, in the definition of convolution, and in the readable im2col."""

from __future__ import annotations

from tests.checks import geometry

from ..framework import Mutant
from .common import IM2COL_TWIN, SPEC, promises

# bugs in the geometry: everything agrees with everything else, and all of it is wrong -------------------------

_CONV = "minidl.kernels.geometry:Conv.from_shapes"
_CHECKED = "strides, pads, dilations = _steps(op, w_shape[2:], stride, padding, dilation)"
_AXIS = "minidl.kernels.geometry:Axis"

GEOMETRY = (
    Mutant(
        "F_stride_hw_swapped",
        _CONV,
        SPEC,
        "reads stride as (width, height)",
        _CHECKED,
        _CHECKED + "; strides = strides[::-1]",
    ),
    Mutant(
        "F_pad_hw_swapped",
        _CONV,
        SPEC,
        "reads padding as (width, height)",
        _CHECKED,
        _CHECKED + "; pads = pads[::-1]",
    ),
    Mutant(
        "F_pad_low_high_swapped",
        _CONV,
        SPEC,
        "pads behind what should be padded before",
        _CHECKED,
        _CHECKED + "; pads = tuple(p[::-1] for p in pads)",
    ),
    Mutant(
        "F_dilation_uses_h_for_both",
        _CONV,
        SPEC,
        "takes the dilation of the first axis for all",
        _CHECKED,
        _CHECKED + "; dilations = dilations[:1] * ndim",
    ),
    Mutant(
        "F_ceil_output",
        f"{_AXIS}.out",
        (geometry.windows_by_counting, *SPEC),
        "counts a window that does not fit whole",
        "return room // self.stride + 1",
        "return -(-room // self.stride) + 1",
    ),
    Mutant(
        "F_one_window_too_few",
        f"{_AXIS}.out",
        SPEC,
        "forgets the + 1 where the last window touches the end exactly",
        "return room // self.stride + 1",
        "return max(1, -(-room // self.stride))",
    ),
    Mutant(
        "F_extent_without_dilation",
        f"{_AXIS}.extent",
        (geometry.windows_by_counting, *SPEC),
        "extent of a dilated kernel taken for d * k - 1",
        "self.dilation * (self.kernel - 1) + 1",
        "self.dilation * self.kernel",
    ),
    Mutant(
        "ceil_rule_keeps_window_in_padding",
        f"{_AXIS}.out",
        (geometry.ceil_rule_by_counting,),
        "ceil rule without the exception for a window that begins in the high padding",
        "windows -= 1",
        "pass",
    ),
    Mutant(
        "ceil_rule_off_by_one_at_the_padding",
        f"{_AXIS}.out",
        (geometry.ceil_rule_by_counting,),
        "> where >= belongs: the window that begins exactly at the high padding stays",
        ">= self.size + self.pad[0]",
        "> self.size + self.pad[0]",
    ),
    Mutant(
        "windows_at_drops_the_last",
        f"{_AXIS}.windows_at",
        (geometry.windows_by_counting, *promises("im2col")),
        "last position taken for an exclusive end",
        "(self.size - 1 + offset)",
        "(self.size - 2 + offset)",
    ),
    Mutant(
        "windows_at_rounds_down",
        f"{_AXIS}.windows_at",
        (geometry.windows_by_counting, *promises("im2col")),
        "first window rounded towards minus infinity: it reads padding",
        "max(0, -(-offset // self.stride))",
        "max(0, offset // self.stride)",
    ),
    Mutant(
        "sizes_forget_the_padding_behind",
        f"{_AXIS}._least_size",
        (geometry.sizes_invert_out,),
        "inverse size with the low pad only",
        "return max(1, (out - 1) * self.stride + self.extent - low - high)",
        "return max(1, (out - 1) * self.stride + self.extent - low)",
    ),
    Mutant(
        "sizes_of_the_ceil_rule_as_of_the_floor",
        f"{_AXIS}._least_size",
        (geometry.sizes_invert_out,),
        "inverse size of the ceil rule computed as that of the floor rule",
        "if not self.ceil:",
        "if True:",
    ),
    Mutant(
        "same_pads_before",
        "minidl.kernels.geometry:per_axis_pads",
        (geometry.same_and_transposed,),
        "'same' puts the odd pad before, as Caffe, not behind",
        "(t // 2, t - t // 2)",
        "(t - t // 2, t // 2)",
    ),
    Mutant(
        "transposed_forgets_dilation",
        "minidl.kernels.geometry:Conv.transposed",
        (geometry.same_and_transposed,),
        "output size of a transposed convolution as if the kernel were dense",
        "dilations[a] * (kernel[a] - 1) + 1",
        "(kernel[a] - 1) + 1",
    ),
    Mutant(
        "field_grows_by_stride",
        "minidl.kernels.geometry:Field.then",
        (geometry.fields_by_walking,),
        "receptive field: multiplies by the new layer's stride too early",
        "(axis.extent - 1) * self.jump",
        "(axis.extent - 1) * self.jump * axis.stride",
    ),
    Mutant(
        "field_forgets_the_padding",
        "minidl.kernels.geometry:Field.then",
        (geometry.fields_by_walking,),
        "receptive field: the first unit is said to begin at position 0",
        "self.start - axis.pad[0] * self.jump",
        "self.start",
    ),
)

# bugs in the definition ----------------------------------------------------------------------------------

_SPEC = "minidl.kernels.spec.conv"

DEFINITION = (
    Mutant(
        "F_pad_replicate_not_zero/spec",
        f"{_SPEC}:forward",
        SPEC,
        "pads with the border's values",
        "((0, 0), (0, 0), *conv.padding))",
        "((0, 0), (0, 0), *conv.padding), mode='edge')",
    ),
    Mutant(
        "F_true_convolution(flip)/spec",
        f"{_SPEC}:forward",
        SPEC,
        "flips the kernel, as the mathematical convolution does",
        "weights = w.reshape(",
        "weights = np.flip(w, tuple(range(2, w.ndim))).reshape(",
    ),
    Mutant(
        "B_gx_kernel_flipped",
        f"{_SPEC}:input_grad",
        SPEC,
        "turns the kernel by 180 degrees once too often",
        "weights[tap]",
        "weights[(..., *(k - 1 - t for k, t in zip(conv.kernel, tap[1:])))]",
    ),
    Mutant(
        "B_gw_flipped_180/spec",
        f"{_SPEC}:weight_grad",
        SPEC,
        "the right weight gradient, turned by 180 degrees",
        "dw[tap] =",
        "dw[(..., *(k - 1 - t for k, t in zip(conv.kernel, tap[1:])))] =",
    ),
    Mutant(
        "B_gx_assign_not_accumulate/spec",
        f"{_SPEC}:input_grad",
        SPEC,
        "overlapping windows overwrite one another",
        "dx[positions] += sent",
        "dx[positions] = sent",
    ),
    Mutant(
        "B_gx_group0_weights/spec",
        f"{_SPEC}:input_grad",
        SPEC,
        "every group gets the weights of the first",
        "weights[tap]",
        "np.repeat(weights[tap][:1], conv.groups, 0)",
    ),
    Mutant(
        "B_gw_first_sample_only/spec",
        f"{_SPEC}:weight_grad",
        SPEC,
        "the batch sum sees the first image only",
        '"ngkp,ngcp->gkc", came, read',
        '"ngkp,ngcp->gkc", came[:1], read[:1]',
    ),
    Mutant(
        "B_gx_forgets_dilation",
        f"{_SPEC}:input_grad",
        SPEC,
        "sends back as if the taps lay side by side",
        "in _taps(conv):",
        "in _taps(__import__('dataclasses').replace(conv, dilation=(1,) * conv.ndim,"
        " padding=tuple((low, high - (d - 1) * (k - 1)) for (low, high), d, k in"
        " zip(conv.padding, conv.dilation, conv.kernel)))):",
    ),
    Mutant(
        "padding_read_as_the_last_row",
        f"{_SPEC}:_taps",
        SPEC,
        "a negative position is not left out, and NumPy reads it from the end",
        "real = (i >= 0) & (i < a.size)",
        "real = i < a.size",
    ),
    Mutant(
        "spec_ignores_out",
        f"{_SPEC}:_deliver",
        promises("spec"),
        "returns a fresh array although out= was given",
        "out[...] = result\n    return out",
        "return result",
    ),
)

# bugs in the readable im2col -------------------------------------------------------------------------------

_COLUMNS = "minidl.kernels.spec.im2col"

READABLE_IM2COL = (
    Mutant(
        "B_gx_crop_uses_ph_for_w",
        f"{_COLUMNS}:col2im",
        IM2COL_TWIN,
        "crops every axis by the padding of the first",
        "for (low, _), size in zip(conv.padding, conv.size)",
        "for (low, _), size in zip(conv.padding[:1] * conv.ndim, conv.size)",
    ),
    Mutant(
        "F_dilation_ignored/twin",
        f"{_COLUMNS}:_read_by",
        IM2COL_TWIN,
        "columns read neighbours although the kernel is dilated",
        "slice(t * a.dilation, t * a.dilation + (a.out - 1) * a.stride + 1, a.stride)",
        "slice(t, t + (a.out - 1) * a.stride + 1, a.stride)",
    ),
    Mutant(
        "col2im_assigns",
        f"{_COLUMNS}:col2im",
        IM2COL_TWIN,
        "overlapping windows overwrite one another",
        "+= split[:, :, *tap]",
        "= split[:, :, *tap]",
    ),
    Mutant(
        "B_gw_batch_mean/twin",
        f"{_COLUMNS}:weight_grad_steps",
        IM2COL_TWIN,
        "mean over the batch for the sum",
        "products.sum(0)",
        "products.mean(0)",
    ),
)
