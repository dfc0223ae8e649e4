"""The error of this package."""


class PredictError(ValueError):
    """A wish that cannot be met: a crop larger than the image, networks with different classes, an unknown class."""
