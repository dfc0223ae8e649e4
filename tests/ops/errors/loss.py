"""Mistakes with losses."""

import minidl.nn.functional as F
from tests.ops.errors import ErrorInput, i, z

LOSSES = [
    ErrorInput(
        "cross_entropy float target",
        lambda: F.cross_entropy(z(2, 3), z(2)),
        ValueError,
        "cross_entropy: a floating-point target holds probabilities in the shape of the input (2, 3), not "
        "(2,); class numbers must be integers: use target.long()",
    ),
    ErrorInput(
        "cross_entropy bool target",
        lambda: F.cross_entropy(z(2, 3), z(2, dtype="bool")),
        TypeError,
        "cross_entropy: the target holds class numbers and must be integers, not bool: use target.long()",
    ),
    ErrorInput(
        "cross_entropy class too large",
        lambda: F.cross_entropy(z(2, 3), i(0, 3)),
        ValueError,
        "cross_entropy: class number 3 in the target, but the input has 3 classes (0 to 2): classes are counted from 0",
    ),
    ErrorInput(
        "cross_entropy class negative",
        lambda: F.cross_entropy(z(2, 3), i(0, -1)),
        ValueError,
        "cross_entropy: class number -1 in the target, but the input has 3 classes (0 to 2): to leave "
        "entries out, mark them with ignore_index = -100",
    ),
    ErrorInput(
        "cross_entropy batch",
        lambda: F.cross_entropy(z(2, 3), i(0, 1, 2)),
        ValueError,
        "cross_entropy: scores of shape (2, 3) (N, C, ...) need a target of shape (2,), not (3,)",
    ),
    ErrorInput(
        "cross_entropy column of targets",
        lambda: F.cross_entropy(z(2, 3), i(0, 1).unsqueeze(1)),
        ValueError,
        "cross_entropy: scores of shape (2, 3) (N, C, ...) need a target of shape (2,), not (2, 1): use "
        "target.reshape(2,)",
    ),
    ErrorInput(
        "cross_entropy one-hot integers",
        lambda: F.cross_entropy(z(2, 3), z(2, 3, dtype="int64")),
        ValueError,
        "cross_entropy: scores of shape (2, 3) (N, C, ...) need a target of shape (2,), not (2, 3): it looks "
        "one-hot, use target.argmax(1), or give it as floating-point probabilities",
    ),
    ErrorInput(
        "cross_entropy one number",
        lambda: F.cross_entropy(z(), i(0)),
        ValueError,
        "cross_entropy: the input must hold one score for each class, (C,) or (N, C, ...), not one number",
    ),
    ErrorInput(
        "cross_entropy weight",
        lambda: F.cross_entropy(z(2, 3), i(0, 1), z(2)),
        ValueError,
        "cross_entropy: the weight must have one value for each of the 3 classes, not shape (2,)",
    ),
    ErrorInput(
        "cross_entropy smoothing",
        lambda: F.cross_entropy(z(2, 3), i(0, 1), label_smoothing=2.0),
        ValueError,
        "cross_entropy: label_smoothing lies between 0 and 1, not 2.0",
    ),
    ErrorInput(
        "cross_entropy probabilities and ignore_index",
        lambda: F.cross_entropy(z(2, 3), z(2, 3), ignore_index=1),
        ValueError,
        "cross_entropy: ignore_index = 1 names a class number, but the target holds probabilities",
    ),
    ErrorInput(
        "cross_entropy reduction",
        lambda: F.cross_entropy(z(2, 3), i(0, 1), reduction="average"),
        ValueError,
        "reduction must be 'mean', 'sum' or 'none', not 'average'",
    ),
    ErrorInput(
        "cross_entropy channels last",
        lambda: F.cross_entropy(z(2, 4, 5, 3), z(2, 4, 5, dtype="int64")),
        ValueError,
        "cross_entropy: scores of shape (2, 4, 5, 3) (N, C, ...) need a target of shape (2, 5, 3), not (2, "
        "4, 5): the scores look channels-last, try input.movedim(-1, 1)",
    ),
    ErrorInput(
        "nll_loss reduction",
        lambda: F.nll_loss(z(2, 3), i(0, 1), reduction="batchmean"),
        ValueError,
        "reduction must be 'mean', 'sum' or 'none', not 'batchmean'",
    ),
    ErrorInput(
        "multi_margin_loss p",
        lambda: F.multi_margin_loss(z(2, 3), i(0, 1), p=3),
        ValueError,
        "multi_margin_loss: p must be 1 or 2, not 3",
    ),
    ErrorInput(
        "multi_margin_loss images",
        lambda: F.multi_margin_loss(z(2, 3, 4), i(0, 1)),
        ValueError,
        "multi_margin_loss: the input must be (N, C) or (C,), not (2, 3, 4)",
    ),
    ErrorInput(
        "mse_loss shapes",
        lambda: F.mse_loss(z(4), z(4, 1)),
        ValueError,
        "mse_loss: the input has shape (4,) and the target (4, 1); they must be equal, nothing is broadcast: "
        "bring one to the shape of the other, for example input.reshape(4, 1)",
    ),
    ErrorInput(
        "mse_loss sizes",
        lambda: F.mse_loss(z(4, 1), z(4, 2)),
        ValueError,
        "mse_loss: the input has shape (4, 1) and the target (4, 2); they must be equal, nothing is broadcast",
    ),
    ErrorInput(
        "smooth_l1_loss beta",
        lambda: F.smooth_l1_loss(z(4), z(4), beta=-1.0),
        ValueError,
        "smooth_l1_loss: beta must not be negative, got -1.0",
    ),
    ErrorInput(
        "huber_loss delta",
        lambda: F.huber_loss(z(4), z(4), delta=0.0),
        ValueError,
        "huber_loss: delta must be positive, got 0.0",
    ),
    ErrorInput(
        "binary_cross_entropy scores",
        lambda: F.binary_cross_entropy(z(4) - 2, z(4)),
        ValueError,
        "binary_cross_entropy: the input must be probabilities between 0 and 1, but it reaches from -2 to "
        "-2; for scores use binary_cross_entropy_with_logits",
    ),
    ErrorInput(
        "gaussian_nll_loss var",
        lambda: F.gaussian_nll_loss(z(4, 2), z(4, 2), z(3)),
        ValueError,
        "gaussian_nll_loss: var (3,) does not fit an input of shape (4, 2)",
    ),
    ErrorInput(
        "gaussian_nll_loss negative",
        lambda: F.gaussian_nll_loss(z(4, 2), z(4, 2), z(4) - 1),
        ValueError,
        "gaussian_nll_loss: variances must not be negative",
    ),
    ErrorInput(
        "triplet_margin_loss margin",
        lambda: F.triplet_margin_loss(z(4, 2), z(4, 2), z(4, 2), margin=0),
        ValueError,
        "triplet_margin_loss: margin must be positive, got 0",
    ),
]
