"""Exceptions of the kernels floor.  Both are ordinary ValueErrors, so `except ValueError` keeps working.

The sentences that ShapeErrors carry are drawn in ``shape_errors.py``.
"""


class ShapeError(ValueError):
    """Shapes, strides, paddings or groups that do not fit together."""


class UnsupportedError(ValueError):
    """A forced algorithm cannot do this case; the message says why and which ones can."""
