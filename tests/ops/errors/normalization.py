"""Mistakes with normalisation."""

import minidl.nn.functional as F
from minidl.kernels.errors import ShapeError
from tests.ops.errors import ErrorInput, z

STATS = (z(3), z(3) + 1)

NORMALISATION = [
    ErrorInput(
        "batch_norm one value",
        lambda: F.batch_norm(z(1, 3, 1, 1), *STATS, training=True),
        ShapeError,
        "batch_norm: with an input of shape (1, 3, 1, 1) each channel has 1 value to take the variance of: "
        "use a larger batch, or eval()",
    ),
    ErrorInput(
        "batch_norm one axis",
        lambda: F.batch_norm(z(3), *STATS),
        ShapeError,
        "batch_norm: the input must be (N, C) or (N, C, ...), not (3,)",
    ),
    ErrorInput(
        "batch_norm channels last",
        lambda: F.batch_norm(z(2, 8, 8, 3), *STATS),
        ShapeError,
        "batch_norm: running_mean has shape (3,), but the input (2, 8, 8, 3) (N, C, ...) has 8 channels: the "
        "input looks channels-last, try input.movedim(-1, 1)",
    ),
    ErrorInput(
        "batch_norm weight",
        lambda: F.batch_norm(z(2, 3, 4), *STATS, z(4)),
        ShapeError,
        "batch_norm: the weight must have shape (3,) for an input of (2, 3, 4), not (4,): the input looks "
        "channels-last, try input.movedim(-1, 1)",
    ),
    ErrorInput(
        "batch_norm bias",
        lambda: F.batch_norm(z(2, 3, 4), *STATS, None, z(4), True),
        ShapeError,
        "batch_norm: the bias must have shape (3,) for an input of (2, 3, 4), not (4,): the input looks "
        "channels-last, try input.movedim(-1, 1)",
    ),
    ErrorInput(
        "batch_norm one statistic",
        lambda: F.batch_norm(z(2, 3, 4), z(3), None),
        ValueError,
        "batch_norm: give both running_mean and running_var, got running_mean",
    ),
    ErrorInput(
        "batch_norm float64 input",
        lambda: F.batch_norm(z(2, 3, 4, dtype="float64"), *STATS, z(3)),
        TypeError,
        "batch_norm needs one dtype for all its arguments, got float64, float32: bring the input to the "
        "parameters' dtype with .to('float32')",
    ),
    *(
        ErrorInput(
            f"{name} integer input",
            call,
            TypeError,
            f"{name} needs one dtype for all its arguments, got int64, float32: bring the input to the parameters'",
        )
        for name, call in {
            "batch_norm": lambda: F.batch_norm(z(2, 3, 4, dtype="int64"), *STATS, z(3)),
            "instance_norm": lambda: F.instance_norm(z(2, 3, 4, dtype="int64"), weight=z(3)),
            "group_norm": lambda: F.group_norm(z(2, 4, dtype="int64"), 2, z(4)),
            "layer_norm": lambda: F.layer_norm(z(2, 4, dtype="int64"), 4, z(4)),
            "rms_norm": lambda: F.rms_norm(z(2, 4, dtype="int64"), 4, z(4)),
        }.items()
    ),
    ErrorInput(
        "instance_norm one position",
        lambda: F.instance_norm(z(2, 3, 1)),
        ShapeError,
        "instance_norm: an input of shape (2, 3, 1) has 1 value in each channel of a sample, whose variance "
        "is 0: normalise before the positions are pooled away, or use batch_norm",
    ),
    ErrorInput(
        "instance_norm without positions",
        lambda: F.instance_norm(z(2, 3)),
        ShapeError,
        "instance_norm: the input must be (N, C, ...) with positions to average over, not (2, 3)",
    ),
    ErrorInput(
        "instance_norm without statistics",
        lambda: F.instance_norm(z(2, 3, 4), use_input_stats=False),
        ValueError,
        "instance_norm: give both running_mean and running_var, got neither",
    ),
    ErrorInput(
        "group_norm groups",
        lambda: F.group_norm(z(2, 5, 4), 2),
        ShapeError,
        "group_norm: 2 groups do not divide the channels (axis 1) of an input of shape (2, 5, 4)",
    ),
    ErrorInput(
        "group_norm 0 groups",
        lambda: F.group_norm(z(2, 5, 4), 0),
        ShapeError,
        "group_norm: 0 groups do not divide the channels (axis 1) of an input of shape (2, 5, 4)",
    ),
    ErrorInput(
        "layer_norm shape",
        lambda: F.layer_norm(z(2, 5, 4), (5,)),
        ShapeError,
        "layer_norm: the input (2, 5, 4) does not end in normalized_shape (5,): axis 1 has that length; "
        "bring it last with input.movedim(1, -1), or use group_norm",
    ),
    ErrorInput(
        "layer_norm channels",
        lambda: F.layer_norm(z(2, 5, 4, 4), 5),
        ShapeError,
        "layer_norm: the input (2, 5, 4, 4) does not end in normalized_shape (5,): axis 1 has that length; "
        "bring it last with input.movedim(1, -1), or use group_norm",
    ),
    ErrorInput(
        "layer_norm weight",
        lambda: F.layer_norm(z(2, 5, 4), (4,), z(5)),
        ShapeError,
        "layer_norm: the weight must have shape (4,) for an input of (2, 5, 4), not (5,)",
    ),
    ErrorInput(
        "rms_norm shape",
        lambda: F.rms_norm(z(2, 5, 4), (5,)),
        ShapeError,
        "rms_norm: the input (2, 5, 4) does not end in normalized_shape (5,): axis 1 has that length; bring "
        "it last with input.movedim(1, -1), or use group_norm",
    ),
    ErrorInput(
        "rms_norm float64 weight",
        lambda: F.rms_norm(z(2, 5, 4), (4,), z(4, dtype="float64")),
        TypeError,
        "rms_norm needs one dtype for all its arguments, got float32, float64: bring the input to the "
        "parameters' dtype with .to('float64')",
    ),
    ErrorInput(
        "local_response_norm one axis",
        lambda: F.local_response_norm(z(3), 2),
        ShapeError,
        "local_response_norm: the input must be (N, C, ...), not (3,)",
    ),
    ErrorInput(
        "local_response_norm window",
        lambda: F.local_response_norm(z(2, 3), 0),
        ValueError,
        "local_response_norm: the window must hold at least one channel, not 0",
    ),
]
