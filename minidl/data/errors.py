"""Errors of the data floor: a bad file, a missing file, a sample that could not be made."""

from __future__ import annotations

import os


class DataError(ValueError):
    """A data file that is corrupt, truncated or not what it claims to be.

    ``file`` is the path and ``offset`` the byte at which the trouble was seen (of the unpacked data where the
    file is compressed), or ``None`` where no single byte is to blame.

    >>> raise DataError("wrong magic number", "train-labels", offset=0, expected="0x00000801", found="0x00000803")
    Traceback (most recent call last):
        ...
    minidl.data.errors.DataError: train-labels, byte 0: wrong magic number; expected 0x00000801, found 0x00000803
    """

    def __init__(
        self,
        problem: str,
        file: str | os.PathLike[str],
        *,
        offset: int | None = None,
        expected: object = None,
        found: object = None,
        hint: str = "",
    ) -> None:
        self.file = os.fspath(file)
        self.offset = offset
        text = self.file if offset is None else f"{self.file}, byte {offset}"
        text += f": {problem}"
        if expected is not None or found is not None:
            text += f"; expected {expected}, found {found}"
        if hint:
            text += f". {hint}"
        super().__init__(text)

    def __reduce__(self):  # the keyword arguments are already in the text
        return _rebuild, (type(self), self.args[0], self.file, self.offset)


def _rebuild(cls: type[DataError], text: str, file: str, offset: int | None) -> DataError:
    error = cls.__new__(cls, text)
    error.args = (text,)
    error.file, error.offset = file, offset
    return error


class DataNotFoundError(DataError, FileNotFoundError):
    """Files of a data set that are not in the folder given; the message lists them and where they belong.

    >>> import minidl
    >>> try:
    ...     minidl.data.MNIST("nowhere")
    ... except minidl.data.DataNotFoundError as error:
    ...     print(error.file, isinstance(error, FileNotFoundError))
    nowhere True
    """


class SampleError(RuntimeError):
    """A sample that the :class:`DataLoader` could not load; ``index`` and ``epoch`` say which, the cause says why.

    >>> import minidl
    >>> loader = minidl.data.DataLoader([1, 2], batch_size=2, collate_fn=lambda samples: 1 / 0)
    >>> try:
    ...     next(iter(loader))
    ... except minidl.data.SampleError as error:
    ...     print(error)
    samples 0, 1 (epoch 0, batch 0) do not make a batch: ZeroDivisionError: division by zero
    """

    def __init__(self, message: str, index: int | None, epoch: int) -> None:
        self.index = index
        self.epoch = epoch
        super().__init__(message)

    def __reduce__(self):
        return type(self), (self.args[0], self.index, self.epoch)
