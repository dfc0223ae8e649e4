"""The exception of this package."""


class SeeError(ValueError):
    """A question about a run that cannot be answered as asked; the message says what to change."""
