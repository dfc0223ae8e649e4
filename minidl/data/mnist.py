"""MNIST and the sets published in its format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ._files import PathLike
from .download import RemoteFile, fetch, missing_message
from .errors import DataError, DataNotFoundError
from .idx import read_idx
from .images import ImageArrays, check_labels

_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


class MNIST(ImageArrays):
    """Handwritten digits: 60,000 training and 10,000 test images, uint8 (1, 28, 28), ten classes.

    ``root`` is the folder of the four IDX files, plain or ``.gz``, or torchvision's folder above
    ``MNIST/raw``. Nothing is downloaded unless ``download=True``, and then into ``root/MNIST/raw``, checked
    against the published hashes.

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.

    :raises DataNotFoundError: the files are not there (the message says which, and where to put them).
    :raises DataError: a file is corrupt: wrong magic number, cut short, label out of range, counts that differ.

    >>> import os, tempfile
    >>> from minidl.data import write_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(os.path.join(folder, "t10k-images-idx3-ubyte.gz"), np.zeros((5, 28, 28), np.uint8))
    ...     write_idx(os.path.join(folder, "t10k-labels-idx1-ubyte.gz"), np.arange(5, dtype=np.uint8))
    ...     data = MNIST(folder, train=False)
    >>> len(data), data[3][0].shape, int(data[3][1])
    (5, (1, 28, 28), 3)
    """

    classes: Sequence[str] = tuple("0123456789")
    mirrors: ClassVar[Sequence[str]] = ("https://ossci-datasets.s3.amazonaws.com/mnist/",)
    files: ClassVar[Sequence[RemoteFile]] = (
        RemoteFile("train-images-idx3-ubyte.gz", "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        RemoteFile("train-labels-idx1-ubyte.gz", "md5:d53e105ee54ea40749a09fcbcd1e9432"),
        RemoteFile("t10k-images-idx3-ubyte.gz", "md5:9fb629c4189551a2d022fa330f9573f3"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", "md5:ec29112dd5afa0611ce80d1b7f02629c"),
    )

    def __init__(
        self,
        root: PathLike,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        part = "train" if train else "t10k"
        if download and None in (
            self._find(root, f"{part}-{_IMAGES}"),
            self._find(root, f"{part}-{_LABELS}"),
        ):
            fetch(type(self).__name__, Path(root) / type(self).__name__ / "raw", self.files, self.mirrors)
        images_path, labels_path = (
            self._path(root, f"{part}-{_IMAGES}"),
            self._path(root, f"{part}-{_LABELS}"),
        )
        images, labels = read_idx(images_path), read_idx(labels_path)
        self._check(images, images_path, "images (N, 28, 28) of uint8", images.shape[1:] == (28, 28))
        self._check(labels, labels_path, "labels (N,) of uint8", labels.ndim == 1)
        if len(images) != len(labels):
            raise DataError(
                f"as many labels as {images_path.name} has images are needed",
                labels_path,
                offset=4,
                expected=len(images),
                found=len(labels),
            )
        check_labels(labels, len(self.classes), labels_path, start=8)
        super().__init__(images[:, None], labels, transform, target_transform)
        self.train = train

    @staticmethod
    def _check(array: np.ndarray, path: Path, expected: str, good: bool) -> None:
        if not good or array.dtype != np.uint8:
            raise DataError(
                "an array of the wrong kind",
                path,
                offset=2,
                expected=expected,
                found=f"{array.shape} of {array.dtype}",
            )

    @classmethod
    def _find(cls, root: PathLike, stem: str) -> Path | None:
        name = cls.__name__
        for folder in (Path(root), Path(root) / name / "raw", Path(root) / "raw", Path(root) / name.lower()):
            for spelling in (stem, stem.replace("-idx", ".idx")):  # both spellings circulate
                for ending in ("", ".gz"):
                    path = folder / (spelling + ending)
                    if path.is_file():
                        return path
        return None

    @classmethod
    def _path(cls, root: PathLike, stem: str) -> Path:
        path = cls._find(root, stem)
        if path is None:
            raise DataNotFoundError(
                f"{stem} is not there, neither plain nor .gz.\n"
                + missing_message(cls.__name__, Path(root), cls.files, cls.mirrors)
                + f"\nWith a network: {cls.__name__}({str(root)!r}, download=True), or --download on the command line",
                root,
            )
        return path


class FashionMNIST(MNIST):
    """Articles of clothing in the format and the numbers of MNIST: uint8 (1, 28, 28), ten classes.

    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", arXiv:1708.07747.

    >>> import minidl
    >>> minidl.data.FashionMNIST.classes[:3]
    ('T-shirt/top', 'Trouser', 'Pullover')
    """

    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    files = (
        RemoteFile("train-images-idx3-ubyte.gz", "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        RemoteFile("train-labels-idx1-ubyte.gz", "md5:25c81989df183df01b3e8a0aad5dffbe"),
        RemoteFile("t10k-images-idx3-ubyte.gz", "md5:bef4ecab320f06d8554ea6380940ec79"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", "md5:bb300cfdad3c16e7a12a480ee83cd310"),
    )
