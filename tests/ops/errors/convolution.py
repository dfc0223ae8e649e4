"""Mistakes with convolution, unfold and fold."""

import minidl.nn.functional as F
from minidl.kernels.errors import ShapeError, UnsupportedError
from tests.ops.errors import ErrorInput, z

W = z(4, 3, 3, 3)

CONVOLUTION = [
    ErrorInput(
        "conv2d channels last",
        lambda: F.conv2d(z(2, 8, 8, 3), W),
        ShapeError,
        "conv2d: w is made for C = 3 input channels, x has C = 8.",
        "likely cause: x looks channels-last: try x.permute(0, 3, 1, 2)",
    ),
    ErrorInput(
        "conv2d one image channels last",
        lambda: F.conv2d(z(8, 8, 3), W),
        ShapeError,
        "conv2d: x of 3 axes, (8, 8, 3), is one image (C, ...) with C = 8, but w is made for C = 3; the "
        "image looks channels-last: try x.movedim(-1, 0)",
    ),
    ErrorInput(
        "conv2d without batch and channel",
        lambda: F.conv2d(z(8, 8), W),
        ShapeError,
        "conv2d: x must have 4 axes (N, C, H, W).",
        "likely cause: batch and channel axes are missing: try x.unsqueeze(0).unsqueeze(0)",
    ),
    ErrorInput(
        "conv1d given images",
        lambda: F.conv1d(z(2, 3, 8, 8), z(4, 3, 3)),
        ShapeError,
        "conv1d: x must have 3 axes (N, C, W).",
        "likely cause: x is not made for a 1-dimensional kernel",
    ),
    ErrorInput(
        "conv2d batch of grey images",
        lambda: F.conv2d(z(2, 8, 9), z(4, 1, 3, 3)),
        ShapeError,
        "conv2d: x of 3 axes, (2, 8, 9), is one image (C, ...) with C = 2, but w is made for C = 1; the "
        "channel axis is missing: try x.unsqueeze(1) for a batch, x.unsqueeze(0) for one image",
    ),
    ErrorInput(
        "conv2d given signals",
        lambda: F.conv2d(z(2, 3, 8), W),
        ShapeError,
        "conv2d: x of 3 axes, (2, 3, 8), is one image (C, ...) with C = 2, but w is made for C = 3; the "
        "channels do not fit, or this is a batch for a convolution of fewer axes",
    ),
    ErrorInput(
        "conv2d weight of another rank",
        lambda: F.conv2d(z(2, 3, 8, 8), z(4, 3, 3)),
        ShapeError,
        "conv2d: the weight must have 4 axes (K, C/groups, kernel...), not shape (4, 3, 3)",
    ),
    ErrorInput(
        "conv2d groups do not divide",
        lambda: F.conv2d(z(2, 3, 8, 8), W, groups=2),
        ShapeError,
        "conv2d: groups = 2 does not divide C = 3.",
        "likely cause: groups is not a divisor of C; C = 3 allows groups in [1, 3]",
    ),
    ErrorInput(
        "conv2d groups with a full weight",
        lambda: F.conv2d(z(2, 6, 8, 8), z(4, 6, 3, 3), groups=2),
        ShapeError,
        "conv2d: w is made for C = 12 input channels, x has C = 6.",
        "likely cause: w is shaped for groups=1; for groups=2 its second size is C/G = 6/2",
    ),
    ErrorInput(
        "conv2d groups do not divide the outputs",
        lambda: F.conv2d(z(2, 6, 8, 8), z(5, 3, 3, 3), groups=2),
        ShapeError,
        "conv2d: groups = 2 does not divide K = 5.",
        "likely cause: groups is not a divisor of K; K = 5 allows groups in [1, 5]",
    ),
    ErrorInput(
        "conv2d kernel too large",
        lambda: F.conv2d(z(2, 3, 2, 8), W),
        ShapeError,
        "conv2d: the kernel is larger than the padded input: R = 3, padded H = 2.",
        "P = (2 + 2*0 - 1*(3-1) - 1)//1 + 1 = 0",
        "likely cause: earlier layers shrank x too far; it needs H >= 3, or padding >= 1 there, or a smaller kernel",
    ),
    ErrorInput(
        "conv2d bias",
        lambda: F.conv2d(z(2, 3, 8, 8), W, z(3)),
        ShapeError,
        "conv2d: the bias must have one value for each of the 4 output channels, not (3,)",
    ),
    ErrorInput(
        "conv2d float64 input",
        lambda: F.conv2d(z(2, 3, 8, 8, dtype="float64"), W),
        TypeError,
        "conv2d needs one dtype for all its arguments, got float64, float32: bring the input to the "
        "parameters' dtype with .to('float32')",
    ),
    ErrorInput(
        "conv2d integer input",
        lambda: F.conv2d(z(2, 3, 8, 8, dtype="int64"), W),
        TypeError,
        "conv2d needs one dtype for all its arguments, got int64, float32: bring the input to the "
        "parameters' dtype with .to('float32')",
    ),
    ErrorInput(
        "conv2d bias dtype",
        lambda: F.conv2d(z(2, 3, 8, 8), W, z(4, dtype="float64")),
        TypeError,
        "conv2d needs one dtype for all its arguments, got float32, float32, float64: bring the parameters "
        "to one dtype, for example all with .to('float32')",
    ),
    ErrorInput(
        "conv2d same with stride",
        lambda: F.conv2d(z(2, 3, 8, 8), W, stride=2, padding="same"),
        ShapeError,
        'conv2d: padding="same" means an output as large as the input, which needs stride 1, got stride = '
        "(2, 2); give the padding in numbers, for example padding=kernel//2",
    ),
    ErrorInput(
        "conv2d padding word",
        lambda: F.conv2d(z(2, 3, 8, 8), W, padding="full"),
        ShapeError,
        'conv2d: padding must be integers, (low, high) pairs, "same" or "valid", got \'full\'',
    ),
    ErrorInput(
        "conv2d stride of three",
        lambda: F.conv2d(z(2, 3, 8, 8), W, stride=(1, 2, 3)),
        ShapeError,
        "stride must be one integer or 2 of them (one per spatial axis), got (1, 2, 3)",
    ),
    ErrorInput(
        "conv2d stride 0",
        lambda: F.conv2d(z(2, 3, 8, 8), W, stride=0),
        ShapeError,
        "conv2d: stride must be at least 1 on every axis, got stride = (0, 0)",
    ),
    ErrorInput(
        "conv2d stride as float",
        lambda: F.conv2d(z(2, 3, 8, 8), W, stride=1.5),
        ShapeError,
        "stride must be made of integers, got 1.5",
    ),
    ErrorInput(
        "conv2d negative padding",
        lambda: F.conv2d(z(2, 3, 8, 8), W, padding=-1),
        ShapeError,
        "conv2d: padding must be at least 0 on every axis, got padding = (-1, -1); to drop positions, slice x",
    ),
    ErrorInput(
        "conv2d groups 0",
        lambda: F.conv2d(z(2, 3, 8, 8), W, groups=0),
        ShapeError,
        "conv2d: groups must be at least 1 on every axis, got groups = (0,)",
    ),
    ErrorInput(
        "conv2d algorithm",
        lambda: F.conv2d(z(2, 3, 8, 8), W, algorithm="magic"),
        UnsupportedError,
        "there is no algorithm 'magic' for conv forward on cpu in float32. These can: spec, im2col, direct, nhwc, "
        "fft, winograd",
    ),
    ErrorInput(
        "conv2d winograd stride",
        lambda: F.conv2d(z(2, 3, 8, 8), W, stride=2, algorithm="winograd"),
        UnsupportedError,
        "algorithm='winograd' cannot compute conv forward on cpu in float32 (x (2, 3, 8, 8) * w (4, 3, 3, 3) "
        "-> y (2, 4, 3, 3), stride (2, 2)): Winograd needs stride 1 on every axis, got (2, 2). These can: "
        "spec, im2col, direct, nhwc, fft",
    ),
    ErrorInput(
        "conv_transpose2d channels",
        lambda: F.conv_transpose2d(z(2, 3, 8, 8), W),
        ShapeError,
        "conv_transpose2d: w is made for C = 4 input channels, x has C = 3.",
        "likely cause: w has the layout of a plain convolution, (K, C, ...): try w.transpose(0, 1)",
    ),
    ErrorInput(
        "conv_transpose2d weight of another rank",
        lambda: F.conv_transpose2d(z(2, 3, 8, 8), z(3, 4, 3)),
        ShapeError,
        "conv_transpose2d: the weight must have 4 axes (C, K/groups, kernel...), not shape (3, 4, 3)",
    ),
    ErrorInput(
        "conv_transpose2d output_padding",
        lambda: F.conv_transpose2d(z(2, 4, 8, 8), W, output_padding=1),
        ShapeError,
        "conv_transpose2d: output_padding chooses among the output sizes that a convolution of this stride "
        "maps to the same input size, so 0 <= output_padding < stride on every axis, got output_padding = "
        "(1, 1), stride = (1, 1)",
    ),
    ErrorInput(
        "conv_transpose2d output_size",
        lambda: F.conv_transpose2d(z(2, 4, 8, 8), W, stride=2, output_size=(30, 30)),
        ShapeError,
        "conv_transpose2d: output_size = (30, 30) cannot come from this input; possible: H in 17..18, W in 17..18",
    ),
    ErrorInput(
        "conv_transpose2d bias",
        lambda: F.conv_transpose2d(z(2, 4, 8, 8), W, z(4)),
        ShapeError,
        "conv_transpose2d: the bias must have one value for each of the 3 output channels, not (4,)",
    ),
    ErrorInput(
        "unfold signals",
        lambda: F.unfold(z(8, 8), 2),
        ShapeError,
        "unfold: the input must be (N, C, H, W), (C, H, W) or (N, C, D, H, W), not (8, 8)",
    ),
    ErrorInput(
        "unfold kernel too large",
        lambda: F.unfold(z(2, 3, 4, 4), 5),
        ShapeError,
        "unfold: the kernel is larger than the padded input: R = 5, padded H = 4.",
        "P = (4 + 2*0 - 1*(5-1) - 1)//1 + 1 = 0",
        "likely cause: earlier layers shrank x too far; it needs H >= 5, or padding >= 1 there, or a smaller kernel",
    ),
    ErrorInput(
        "fold columns",
        lambda: F.fold(z(2, 12, 10), 6, 2, stride=2),
        ShapeError,
        "col2im: columns has shape (2, 12, 10); for output_size = (6, 6) and kernel (2, 2) it must be (N, C "
        "* 4, 3 * 3 = 9)",
    ),
    ErrorInput(
        "fold channels",
        lambda: F.fold(z(2, 13, 9), 6, 2, stride=2),
        ShapeError,
        "col2im: columns has shape (2, 13, 9); for output_size = (6, 6) and kernel (2, 2) it must be (N, C * "
        "4, 3 * 3 = 9)",
    ),
    ErrorInput(
        "fold rank",
        lambda: F.fold(z(2, 3, 12, 9), 6, 2, stride=2),
        ShapeError,
        "col2im: columns has shape (2, 3, 12, 9); for output_size = (6, 6) and kernel (2, 2) it must be (N, "
        "C * 4, 3 * 3 = 9)",
    ),
]
