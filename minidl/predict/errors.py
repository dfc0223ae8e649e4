"""The error of this package."""


class PredictError(ValueError):
    """A wish that cannot be met: a crop larger than the image, networks with different classes, an unknown class.

    >>> from minidl.predict import Ensemble
    >>> try:
    ...     Ensemble([])
    ... except PredictError as error:
    ...     print(error)
    an ensemble needs one network at least
    """
