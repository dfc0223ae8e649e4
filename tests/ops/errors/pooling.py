"""Mistakes with pools, resizing and padding."""

import minidl.nn.functional as F
from minidl.kernels.errors import ShapeError
from tests.ops.errors import ErrorInput, i, z

POOLING = [
    ErrorInput(
        "max_pool2d without batch and channel",
        lambda: F.max_pool2d(z(8, 8), 2),
        ShapeError,
        "max_pool2d: x must be (N, C, H, W).",
        "likely cause: x has too many axes or too few for this op",
    ),
    ErrorInput(
        "max_pool2d kernel too large",
        lambda: F.max_pool2d(z(2, 3, 4, 4), 5),
        ShapeError,
        "max_pool2d: the kernel is larger than the padded input: R = 5, padded H = 4.",
        "P = (4 + 2*0 - 1*(5-1) - 1)//5 + 1 = 0",
        "likely cause: earlier layers shrank x too far; it needs H >= 5, or padding >= 1 there, or a smaller kernel",
    ),
    ErrorInput(
        "max_pool2d padding",
        lambda: F.max_pool2d(z(2, 3, 8, 8), 2, padding=2),
        ShapeError,
        "max_pool2d: padding along H may be 0 to half the kernel, else some windows hold padding only.",
        "likely cause: padding=1 is the most for this kernel; pad x itself for more",
    ),
    ErrorInput(
        "max_pool2d stride 0",
        lambda: F.max_pool2d(z(2, 3, 8, 8), 2, 0),
        ShapeError,
        "max_pool2d: stride must be at least 1 on every axis, got stride = (0, 0)",
    ),
    ErrorInput(
        "avg_pool2d divisor 0",
        lambda: F.avg_pool2d(z(2, 3, 8, 8), 2, divisor_override=0),
        ShapeError,
        "divisor_override=0 would divide every window by zero; None divides by its size",
    ),
    ErrorInput(
        "adaptive_avg_pool2d sizes",
        lambda: F.adaptive_avg_pool2d(z(2, 3, 8, 8), (1, 2, 3)),
        ShapeError,
        "output_size must be one integer or 2 of them (one per spatial axis), got (1, 2, 3)",
    ),
    ErrorInput(
        "adaptive_avg_pool2d negative",
        lambda: F.adaptive_avg_pool2d(z(2, 3, 8, 8), -1),
        ShapeError,
        "adaptive_avg_pool2d: cannot share x (N, C, H, W) = (2, 3, 8, 8) among output_size = (-1, -1) windows",
    ),
    ErrorInput(
        "lp_pool2d norm_type",
        lambda: F.lp_pool2d(z(2, 3, 8, 8), 0, 2),
        ValueError,
        "lp_pool2d: norm_type must be positive, got 0",
    ),
    ErrorInput(
        "max_unpool2d float indices",
        lambda: F.max_unpool2d(z(2, 3, 4, 4), z(2, 3, 4, 4), 2),
        TypeError,
        "max_unpool2d: the indices must be integers as max_pool2d returns them, not float32",
    ),
    ErrorInput(
        "max_unpool2d other indices",
        lambda: F.max_unpool2d(z(2, 3, 4, 4), z(2, 3, 4, 5, dtype="int64"), 2),
        ShapeError,
        "max_unpool2d: the input (2, 3, 4, 4) and the indices (2, 3, 4, 5) must both be what max_pool2d "
        "returned, with 4 axes, or 3 without a batch",
    ),
    ErrorInput(
        "max_unpool2d output_size",
        lambda: F.max_unpool2d(z(2, 3, 4, 4), z(2, 3, 4, 4, dtype="int64"), 2, output_size=(20, 20)),
        ShapeError,
        "max_unpool2d: output_size (20, 20) does not fit: an axis of 4 windows comes from a size between 7 "
        "and 9, not 20",
    ),
    ErrorInput(
        "max_unpool2d index outside",
        lambda: F.max_unpool2d(z(1, 1, 1, 1), i(99).reshape(1, 1, 1, 1), 2),
        ShapeError,
        "indices[0, 0, 0, 0] = 99 lies outside a plane of 2 * 2 = 4 positions (0 to 3). The indices belong "
        "to a larger input: unpool to the spatial size that went into max_pool (output_size=x.shape[2:]).",
    ),
    ErrorInput(
        "maxout channels",
        lambda: F.maxout(z(2, 5, 3, 3), 2),
        ShapeError,
        "maxout takes the maximum of groups of 2 channels, which must divide C: x is (2, 5, 3, 3), 5 = 2 * 2 "
        "+ 1. Give the layer below a multiple of 2 output channels.",
    ),
    ErrorInput(
        "interpolate size and factor",
        lambda: F.interpolate(z(2, 3, 4, 4), 8, 2),
        ShapeError,
        "interpolate: give size or scale_factor, one of them, got size=8, scale_factor=2",
    ),
    ErrorInput(
        "interpolate nothing",
        lambda: F.interpolate(z(2, 3, 4, 4)),
        ShapeError,
        "interpolate: give size or scale_factor, one of them, got size=None, scale_factor=None",
    ),
    ErrorInput(
        "interpolate mode of another rank",
        lambda: F.interpolate(z(2, 3, 4, 4), 8, mode="linear"),
        ShapeError,
        "interpolate: mode='linear' does not go with x of 4 axes, (2, 3, 4, 4), which take \"nearest\", "
        '"nearest-exact", "area", "bilinear" or "bicubic"',
    ),
    ErrorInput(
        "interpolate mode unknown",
        lambda: F.interpolate(z(2, 3, 4), 8, mode="bicubic"),
        ShapeError,
        "interpolate: mode='bicubic' does not go with x of 3 axes, (2, 3, 4), which take \"nearest\", "
        '"nearest-exact", "area" or "linear"',
    ),
    ErrorInput(
        "interpolate too few axes",
        lambda: F.interpolate(z(2, 3), 8),
        ShapeError,
        "interpolate: x must be (N, C, L), (N, C, H, W) or (N, C, D, H, W), not of shape (2, 3)",
    ),
    ErrorInput(
        "interpolate area corners",
        lambda: F.interpolate(z(2, 3, 4, 4), 8, mode="area", align_corners=False),
        ShapeError,
        "interpolate: align_corners has no meaning for mode='area'; leave it out",
    ),
    ErrorInput(
        "interpolate antialias",
        lambda: F.interpolate(z(2, 3, 4, 4), 8, antialias=True),
        ShapeError,
        "interpolate: antialias goes with mode='bilinear' and mode='bicubic' only, not with mode='nearest'",
    ),
    ErrorInput(
        "interpolate recomputed size",
        lambda: F.interpolate(z(2, 3, 4, 4), 8, recompute_scale_factor=True),
        ShapeError,
        "interpolate: recompute_scale_factor=True says nothing where size is given; leave it out",
    ),
    ErrorInput(
        "interpolate nearest corners",
        lambda: F.interpolate(z(2, 3, 4, 4), 8, align_corners=True),
        ShapeError,
        "interpolate: align_corners has no meaning for mode='nearest'; leave it out",
    ),
    ErrorInput(
        "interpolate sizes",
        lambda: F.interpolate(z(2, 3, 4, 4), (8, 8, 8)),
        ShapeError,
        "size must be one integer or 2 of them (one per spatial axis), got (8, 8, 8)",
    ),
    ErrorInput(
        "interpolate to nothing",
        lambda: F.interpolate(z(2, 3, 4, 4), 0),
        ShapeError,
        "interpolate: x (N, C, H, W) = (2, 3, 4, 4) cannot become (0, 0); every size must be at least 1",
    ),
    ErrorInput(
        "interpolate factor",
        lambda: F.interpolate(z(2, 3, 4, 4), scale_factor=-2),
        ShapeError,
        "interpolate: scale_factor must be 2 positive number(s), got -2",
    ),
    ErrorInput(
        "pad odd",
        lambda: F.pad(z(2, 3), (1, 2, 3)),
        ShapeError,
        "pad needs two numbers for each padded axis, from the last axis on; got 3 numbers for a tensor of 2 axes",
    ),
    ErrorInput(
        "pad too many",
        lambda: F.pad(z(3), (1, 2, 3, 4)),
        ShapeError,
        "pad needs two numbers for each padded axis, from the last axis on; got 4 numbers for a tensor of 1 axes",
    ),
    ErrorInput(
        "pad beyond",
        lambda: F.pad(z(2, 3), (-2, -2)),
        ShapeError,
        "pad: axis 1 of length 3 cannot lose 2 and 2 entries",
    ),
    ErrorInput(
        "pad mode",
        lambda: F.pad(z(2, 3), (1, 1), "mirror"),
        ValueError,
        "pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', not 'mirror'",
    ),
    ErrorInput(
        "pad value",
        lambda: F.pad(z(2, 3), (1, 1), "reflect", 2.0),
        ValueError,
        "pad: value = 2.0 has no meaning for mode 'reflect', which repeats the tensor's own values",
    ),
    ErrorInput(
        "pad reflect too far",
        lambda: F.pad(z(2, 3), (3, 0), "reflect"),
        ShapeError,
        "pad: mode 'reflect' can add at most 2 entries to axis 1 of length 3, not 3",
    ),
    ErrorInput(
        "pad circular too far",
        lambda: F.pad(z(2, 3), (4, 0), "circular"),
        ShapeError,
        "pad: mode 'circular' can add at most 3 entries to axis 1 of length 3, not 4",
    ),
    ErrorInput(
        "pad replicate nothing",
        lambda: F.pad(z(2, 0), (1, 0), "replicate"),
        ShapeError,
        "pad: mode 'replicate' can add at most 0 entries to axis 1 of length 0, not 1",
    ),
]
