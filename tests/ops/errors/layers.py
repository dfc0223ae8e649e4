"""Mistakes with linear layers, look-ups, shuffles, dropout and activations."""

import minidl.nn.functional as F
from minidl.kernels.errors import ShapeError
from tests.ops.errors import ErrorInput, i, z

OTHERS = [
    ErrorInput(
        "linear features",
        lambda: F.linear(z(2, 5), z(4, 3)),
        ShapeError,
        "linear: the weight (4, 3) (out_features, in_features) takes inputs whose last axis has 3 features, "
        "but x is (2, 5) and has 5",
    ),
    ErrorInput(
        "linear unflattened",
        lambda: F.linear(z(2, 3, 4, 4), z(10, 48)),
        ShapeError,
        "linear: the weight (10, 48) (out_features, in_features) takes inputs whose last axis has 48 "
        "features, but x is (2, 3, 4, 4) and has 4: the input looks unflattened, try x.flatten(1)",
    ),
    ErrorInput(
        "linear transposed weight",
        lambda: F.linear(z(2, 5), z(5, 3)),
        ShapeError,
        "linear: the weight (5, 3) (out_features, in_features) takes inputs whose last axis has 3 features, "
        "but x is (2, 5) and has 5: the weight looks transposed",
    ),
    ErrorInput(
        "linear weight rank",
        lambda: F.linear(z(2, 5), z(5)),
        ShapeError,
        "linear: the weight must be (out_features, in_features), not (5,)",
    ),
    ErrorInput(
        "linear bias",
        lambda: F.linear(z(2, 5), z(3, 5), z(2, 1)),
        ShapeError,
        "linear: the bias must have one value for each of 3 outputs, not shape (2, 1)",
    ),
    ErrorInput(
        "linear float64 input",
        lambda: F.linear(z(2, 5, dtype="float64"), z(3, 5)),
        TypeError,
        "linear needs one dtype for all its arguments, got float64, float32: bring the input to the "
        "parameters' dtype with .to('float32')",
    ),
    ErrorInput(
        "linear integer input",
        lambda: F.linear(z(2, 5, dtype="int64"), z(3, 5)),
        TypeError,
        "linear needs one dtype for all its arguments, got int64, float32: bring the input to the "
        "parameters' dtype with .to('float32')",
    ),
    ErrorInput(
        "bilinear integer input",
        lambda: F.bilinear(z(2, 5), z(2, 4, dtype="int64"), z(3, 5, 4)),
        TypeError,
        "bilinear needs one dtype for all its arguments, got float32, int64, float32",
    ),
    ErrorInput(
        "bilinear weight",
        lambda: F.bilinear(z(2, 5), z(2, 4), z(3, 4, 5)),
        ShapeError,
        "bilinear: the weight (3, 4, 5) must be (K, A, B) for inputs (..., A) and (..., B), which are (2, 5) "
        "and (2, 4)",
    ),
    ErrorInput(
        "bilinear batches",
        lambda: F.bilinear(z(2, 5), z(3, 4), z(3, 5, 4)),
        ShapeError,
        "bilinear: the inputs (2, 5) and (3, 4) must agree in all axes but the last",
    ),
    ErrorInput(
        "embedding floats",
        lambda: F.embedding(z(2), z(5, 3)),
        TypeError,
        "embedding looks rows up by number and needs integers, not float32: use input.long()",
    ),
    ErrorInput(
        "embedding number",
        lambda: F.embedding(i(1, 5), z(5, 3)),
        IndexError,
        "embedding: numbers 1 to 5 for a table of 5 rows (0 to 4)",
    ),
    ErrorInput(
        "embedding table",
        lambda: F.embedding(i(1), z(5)),
        ShapeError,
        "embedding: the weight must be (entries, width), not (5,)",
    ),
    ErrorInput(
        "embedding padding_idx",
        lambda: F.embedding(i(1), z(5, 3), padding_idx=7),
        IndexError,
        "embedding: padding_idx = 7 for a table of 5 rows (0 to 4)",
    ),
    ErrorInput(
        "one_hot floats",
        lambda: F.one_hot(z(2)),
        TypeError,
        "one_hot needs integer class numbers, got float32",
    ),
    ErrorInput(
        "one_hot number",
        lambda: F.one_hot(i(1, 5), 4),
        ValueError,
        "one_hot: class numbers 1 to 5 do not lie in 0 to 3",
    ),
    ErrorInput(
        "channel_shuffle groups",
        lambda: F.channel_shuffle(z(2, 5, 3), 2),
        ShapeError,
        "channel_shuffle: 2 groups do not divide the channels of (2, 5, 3) (N, C, ...)",
    ),
    ErrorInput(
        "pixel_shuffle channels",
        lambda: F.pixel_shuffle(z(2, 6, 3, 3), 2),
        ShapeError,
        "pixel_shuffle: 6 channels are not a multiple of 2^2 = 4",
    ),
    ErrorInput(
        "pixel_shuffle rank",
        lambda: F.pixel_shuffle(z(4, 3), 2),
        ShapeError,
        "pixel_shuffle: takes (..., C, H, W) and a positive factor, not (4, 3) and 2",
    ),
    ErrorInput(
        "pixel_unshuffle size",
        lambda: F.pixel_unshuffle(z(2, 6, 3, 4), 2),
        ShapeError,
        "pixel_unshuffle: 2 does not divide the size 3 x 4",
    ),
    ErrorInput(
        "dropout p",
        lambda: F.dropout(z(3), 1.5),
        ValueError,
        "dropout: p is the probability to drop a value, between 0 and 1, not 1.5",
    ),
    ErrorInput(
        "alpha_dropout p",
        lambda: F.alpha_dropout(z(3), -0.5),
        ValueError,
        "alpha_dropout: p is the probability to drop a value, between 0 and 1, not -0.5",
    ),
    ErrorInput(
        "dropout1d rank",
        lambda: F.dropout1d(z(2, 3, 4, 4)),
        ShapeError,
        "dropout1d: the input must be (N, C, ...) or (C, ...) with 1 more axes, not (2, 3, 4, 4)",
    ),
    ErrorInput(
        "dropout2d ambiguous",
        lambda: F.dropout2d(z(3, 4, 4)),
        ShapeError,
        "dropout2d: (3, 4, 4) could be one image (C, H, W) or a batch of signals (N, C, L): write "
        "x.unsqueeze(0) for the first, use dropout1d for the second (which is what PyTorch takes it for)",
    ),
    ErrorInput(
        "prelu slopes",
        lambda: F.prelu(z(2, 3), z(4)),
        ShapeError,
        "prelu: 4 slopes for an input of shape (2, 3): give one, or one for each channel (axis 1)",
    ),
    ErrorInput(
        "gelu approximate",
        lambda: F.gelu(z(3), "erf"),
        ValueError,
        "gelu: approximate must be 'none' or 'tanh', not 'erf'",
    ),
    ErrorInput(
        "hardtanh limits",
        lambda: F.hardtanh(z(3), 1.0, -1.0),
        ValueError,
        "hardtanh: min_val = 1.0 must not exceed max_val = -1.0",
    ),
    ErrorInput(
        "softshrink lambd",
        lambda: F.softshrink(z(3), -1.0),
        ValueError,
        "softshrink: lambd must not be negative, got -1.0",
    ),
    ErrorInput(
        "glu odd",
        lambda: F.glu(z(2, 3)),
        ShapeError,
        "glu halves axis 1 of (2, 3), which has the odd length 3",
    ),
    ErrorInput(
        "glu number",
        lambda: F.glu(z()),
        ShapeError,
        "glu halves an axis, and a single number has none",
    ),
    ErrorInput(
        "softmax dim",
        lambda: F.softmax(z(2, 3), 2),
        IndexError,
        "dim 2 is out of range for a tensor of 2 dimensions (-2 to 1)",
    ),
    ErrorInput(
        "celu alpha 0",
        lambda: F.celu(z(3), 0.0),
        ValueError,
        "celu divides by alpha, which must not be 0",
    ),
]
