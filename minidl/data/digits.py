"""The 1,797 handwritten digits that scikit-learn brings along: real data without a download."""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ._files import PathLike, open_bounded
from .errors import DataError, DataNotFoundError
from .images import ImageArrays, check_labels
from .rng import epoch_rng
from .sampling import resize

_MOST = 1 << 22


def _bundled() -> Path:
    """digits.csv.gz inside the installed scikit-learn, which is not imported (that takes seconds, and SciPy)."""
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    raise DataNotFoundError(
        "the digits come with scikit-learn, which is not installed: python -m pip install scikit-learn, "
        "or give the folder of another copy of this file: Digits(root=...)",
        "digits.csv.gz",
    )


def read_digits(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8), uint8 from 0 to 16, and labels (N,) from a digits.csv.gz.

    Each row of the file has 64 pixels and the label.
    """
    with open_bounded(path, _MOST) as file:
        raw = file.upto(_MOST)
        if len(raw) == _MOST:
            raise file.error("the file is too large", expected=f"less than {_MOST} bytes unpacked")
    try:
        rows = [[float(v) for v in row] for row in csv.reader(raw.decode("ascii").splitlines())]
        widths = {len(row) for row in rows}
        table = np.array(rows) if widths == {65} else np.zeros((0, 65))  # (N, 65)
    except (ValueError, csv.Error) as error:
        raise DataError(f"not a table of numbers ({error})", path) from error
    if not len(table):
        raise DataError("rows of the wrong length", path, expected="65 numbers", found=sorted(widths)[:5])
    bad = np.argwhere(~((table >= 0) & (table <= 16) & (table == np.floor(table))))
    if len(bad):
        row, column = bad[0].tolist()
        raise DataError(
            f"row {row}, column {column} is out of range",
            path,
            expected="a whole number from 0 to 16",
            found=table[row, column],
        )
    check_labels(table[:, 64], 10, path)
    return table[:, :64].astype(np.uint8).reshape(-1, 1, 8, 8), table[:, 64].astype(np.int64)


def split_digits(labels: np.ndarray, split: str = "stratified", train: bool = True) -> np.ndarray:
    """The sample numbers of the training or the test part, ascending: four fifths and one fifth.

    ``"stratified"``: by a fixed seed, each class in proportion, the writers mixed.
    ``"ordered"``: the last fifth (360 of 1,797) is the test part. Rows near one another are alike, and the last
    ones unlike the others, so that this is harder: a LeNet-5 that scores 97 to 98 % on the stratified part stays
    between 91 and 94 % here.

    >>> len(split_digits(np.arange(50) % 10)), len(split_digits(np.arange(50) % 10, train=False))
    (40, 10)
    """
    n = len(labels)
    if split == "ordered":
        is_test = np.arange(n) >= n - math.ceil(n / 5)
    elif split == "stratified":
        # test numbers are dealt out along the labels sorted by class, so that every class gives its fifth
        shuffled = epoch_rng(0, 0).permutation(n)
        by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
        is_test = np.zeros(n, bool)
        is_test[by_class[::5]] = True
    else:
        raise ValueError(f"split is 'stratified' or 'ordered', got {split!r}")
    return np.flatnonzero(is_test != train)


def enlarge_digits(images: np.ndarray, size: int, method: str = "bilinear") -> np.ndarray:
    """Digits (..., 8, 8) brought to (..., size, size), for networks that expect 28 or 32.

    ``"bilinear"`` interpolates. ``"replicate"`` repeats each pixel as often as it fits and pads with zeros:
    28 = 2 + 3 * 8 + 2, 32 = 4 * 8.

    >>> enlarge_digits(np.ones((8, 8)), 28, "replicate").sum()  # 24 x 24 ones in a frame of zeros
    np.float64(576.0)
    """
    h, w = images.shape[-2:]
    if size < max(h, w):
        raise ValueError(f"digits of {h} x {w} can only be enlarged, not brought to {size} x {size}")
    if method == "bilinear":
        return resize(images, (size, size))
    if method != "replicate":
        raise ValueError(f"method is 'bilinear' or 'replicate', got {method!r}")
    times = size // max(h, w)
    big = images.repeat(times, axis=-2).repeat(times, axis=-1)
    top, left = (size - h * times) // 2, (size - w * times) // 2
    frame = ((0, 0),) * (images.ndim - 2) + ((top, size - h * times - top), (left, size - w * times - left))
    return np.pad(big, frame)


class Digits(ImageArrays):
    """1,797 handwritten digits of 13 writers, float32 (1, size, size) in [0, 1], ten classes; no download.

    The file is the one inside the installed scikit-learn (its test part of the UCI set "Optical recognition of
    handwritten digits"), or ``digits.csv.gz`` in ``root``. Original values 0 to 16 are divided by 16.

    There is no published split. scikit-learn's examples use ``train_test_split`` with various shares, mostly
    shuffled; its classification example cuts the file in order. Here the test part is a fifth:
    ``split="stratified"`` (the default: shuffled by a fixed seed, each class in proportion) or
    ``split="ordered"`` (the last 360; harder), see :func:`split_digits`.

    :param size: side of the images: 8 as they are, or enlarged by ``method`` (:func:`enlarge_digits`).

    >>> import minidl
    >>> data = minidl.data.Digits(train=False)
    >>> len(data), data[0][0].shape, data[0][0].dtype
    (360, (1, 8, 8), dtype('float32'))
    """

    classes: Sequence[str] = tuple("0123456789")

    def __init__(
        self,
        root: PathLike | None = None,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        *,
        size: int = 8,
        method: str = "bilinear",
        split: str = "stratified",
    ) -> None:
        path = _bundled() if root is None else Path(root) / "digits.csv.gz"
        if not path.is_file():
            raise DataNotFoundError("the file is not there; without root= the one inside scikit-learn is read", path)
        images, labels = read_digits(path)
        chosen = split_digits(labels, split, train)
        images, labels = images[chosen].astype(np.float32) / 16, labels[chosen]
        if size != 8:
            images = enlarge_digits(images, size, method)
        super().__init__(images, labels, transform, target_transform)
        self.train = train
