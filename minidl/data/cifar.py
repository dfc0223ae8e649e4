"""CIFAR-10 and CIFAR-100, in both formats in which they are published: Python pickles and plain records."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ._files import PathLike
from .download import RemoteFile, fetch, missing_message
from .errors import DataError, DataNotFoundError
from .images import ImageArrays, check_labels
from .unpickle import load_data_pickle

_PIXELS = 3 * 32 * 32
_MOST = 1 << 28  # bytes; the largest file of either set has 184 million

_FINE_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal
shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_COARSE_CLASSES = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
vehicles_1 vehicles_2
"""


def parse_cifar_binary(
    data: bytes | bytearray, path: PathLike, label_bytes: int, classes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N, label_bytes) of records of label bytes and 3072 pixels.

    ``classes`` is the number of classes of each label byte.
    """
    record = label_bytes + _PIXELS
    whole, rest = divmod(len(data), record)
    if rest or not whole:
        raise DataError(
            "the file ends inside a record" if rest else "the file is empty",
            path,
            offset=whole * record,
            expected=f"records of {record} bytes",
            found=f"{rest} bytes",
            hint="Fetch the file again; is it the binary version of this data set?",
        )
    rows = np.frombuffer(data, np.uint8).reshape(whole, record)
    for column, count in enumerate(classes):
        check_labels(rows[:, column], count, path, start=column, step=record)
    return rows[:, label_bytes:].reshape(whole, 3, 32, 32), rows[:, :label_bytes].astype(np.int64)


def parse_cifar_pickle(
    data: bytes | bytearray, path: PathLike, keys: Sequence[bytes], classes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N, len(keys)) of a pickled batch, read without running anything in it."""
    batch = load_data_pickle(data, path)
    if not isinstance(batch, dict):
        raise DataError("not a CIFAR batch", path, expected="a dict", found=type(batch).__name__)
    batch = {k.encode() if isinstance(k, str) else k: v for k, v in batch.items()}
    for key in (b"data", *keys):
        if key not in batch:
            raise DataError(
                "not a CIFAR batch",
                path,
                expected=f"an entry {key.decode()!r}",
                found=f"{sorted(map(str, batch))}",
            )
    images = batch[b"data"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != _PIXELS:
        found = f"{images.shape} of {images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError("an array of the wrong kind in 'data'", path, expected="(N, 3072) of uint8", found=found)
    columns = [_label_column(batch[key], key.decode(), len(images), path) for key in keys]
    for column, count in zip(columns, classes):
        check_labels(column, count, path)
    return images.reshape(-1, 3, 32, 32), np.stack(columns, axis=1)


def _label_column(values: Any, key: str, count: int, path: PathLike) -> np.ndarray:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list) or not all(isinstance(v, int) and abs(v) < 2**31 for v in values):
        raise DataError(f"{key!r} is not a list of labels", path, expected="whole numbers", found=type(values).__name__)
    if len(values) != count:
        raise DataError(f"as many {key!r} as images are needed", path, expected=count, found=len(values))
    return np.array(values, np.int64)


class _CIFAR(ImageArrays):
    mirrors: ClassVar[Sequence[str]] = ("https://www.cs.toronto.edu/~kriz/",)
    archives: ClassVar[Sequence[RemoteFile]]  # python version, binary version
    folders: ClassVar[Sequence[str]]
    members: ClassVar[Sequence[tuple[Sequence[str], Sequence[str]]]]  # per version: train files, test files
    keys: ClassVar[Sequence[bytes]]
    label_classes: ClassVar[Sequence[int]]

    def __init__(
        self,
        root: PathLike,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        found = self._find(root, train)
        if found is None and download:
            fetch(type(self).__name__, Path(root), self.archives[:1], self.mirrors)
            found = self._find(root, train)
        if found is None:
            name = type(self).__name__
            raise DataNotFoundError(
                f"{name} is not there.\n"
                + missing_message(
                    f"{name} (one of the two, packed or unpacked)", Path(root), self.archives, self.mirrors
                )
                + f"\nWith a network: {name}({str(root)!r}, download=True), or --download on the command line",
                root,
            )
        version, source = found
        names = self.members[version][0 if train else 1]
        blobs = _from_archive(source, self.folders[version], names) if source.is_file() else _from_folder(source, names)
        if version == 0:
            parts = [parse_cifar_pickle(data, path, self.keys, self.label_classes) for path, data in blobs]
        else:
            width = len(self.label_classes)
            parts = [parse_cifar_binary(data, path, width, self.label_classes) for path, data in blobs]
        images = np.concatenate([images for images, _ in parts])
        super().__init__(
            images, self._choose(np.concatenate([labels for _, labels in parts])), transform, target_transform
        )
        self.train = train

    def _choose(self, labels: np.ndarray) -> np.ndarray:
        return labels[:, 0]

    @classmethod
    def _find(cls, root: PathLike, train: bool) -> tuple[int, Path] | None:
        """(version, folder or archive): an unpacked folder first, since it is read faster."""
        base = Path(root)
        for version, folder in enumerate(cls.folders):
            for place in (base / folder, base):
                if (place / cls.members[version][0 if train else 1][0]).is_file():
                    return version, place
        for version, archive in enumerate(cls.archives):
            if (base / archive.name).is_file():
                return version, base / archive.name
        return None


def _from_folder(folder: Path, names: Sequence[str]) -> list[tuple[Path, bytes]]:
    out = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise DataNotFoundError(f"the file is missing beside the others of its set ({', '.join(names)})", path)
        if path.stat().st_size > _MOST:
            raise DataError("the file is too large", path, expected=f"at most {_MOST} bytes", found=path.stat().st_size)
        out.append((path, path.read_bytes()))
    return out


class _Limited:
    """The unpacked bytes of a .gz, up to a limit: what tarfile reads from."""

    def __init__(self, stream: gzip.GzipFile, path: Path) -> None:
        self.stream, self.path, self.passed = stream, path, 0

    def read(self, count: int) -> bytes:
        data = self.stream.read(count)
        self.passed += len(data)
        if self.passed > _MOST:
            raise DataError("the archive is too large", self.path, expected=f"at most {_MOST} bytes", found="more")
        return data


def _from_archive(archive: Path, folder: str, names: Sequence[str]) -> list[tuple[Path, bytes]]:
    """The files ``names`` out of a .tar.gz, read in one pass; nothing is unpacked to the disk."""
    wanted = {f"{folder}/{name}": name for name in names}
    found: dict[str, bytes] = {}
    try:
        with gzip.open(archive) as packed:
            limited = _Limited(packed, archive)
            with tarfile.open(fileobj=limited, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    name = wanted.get(member.name)
                    stream = tar.extractfile(member) if name is not None and member.isreg() else None
                    if name is not None and stream is not None:
                        found[name] = stream.read()
            while limited.read(1 << 20):  # the checksum of the data stands at the very end
                pass
    except DataError:
        raise
    except Exception as error:  # tarfile lets many kinds through
        raise DataError(
            f"the archive is truncated or corrupt ({type(error).__name__}: {error})",
            archive,
            hint="Fetch the file again",
        ) from error
    for name in names:
        if name not in found:
            raise DataError(
                "a file is missing in the archive", archive, expected=f"{folder}/{name}", found=sorted(found)
            )
    return [(archive / folder / name, found[name]) for name in names]


class CIFAR10(_CIFAR):
    """60,000 photographs of ten classes, uint8 (3, 32, 32), RGB: 50,000 for training, 10,000 for testing.

    ``root`` holds ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or the archive of one of them, which is
    read where it lies (an unpacked folder is faster). ``download=True`` fetches the archive of the Python
    version. Pickles are read as data; nothing in them is run.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    :raises DataNotFoundError: the files are not there (the message says which, and where to put them).
    :raises DataError: a file is corrupt, cut short, not plain data, or has labels out of range.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = bytes([6]) + bytes(3 * 32 * 32)  # a black frog, in the binary version
    ...     _ = pathlib.Path(folder, "test_batch.bin").write_bytes(record)
    ...     data = CIFAR10(folder, train=False)
    >>> data[0][0].shape, data.classes[data[0][1]]
    ((3, 32, 32), 'frog')
    """

    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    archives = (
        RemoteFile("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a"),
        RemoteFile("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),
    )
    folders = ("cifar-10-batches-py", "cifar-10-batches-bin")
    members = (
        (tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",)),
        (tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)),
    )
    keys = (b"labels",)
    label_classes = (10,)


class CIFAR100(_CIFAR):
    """60,000 photographs of a hundred classes in twenty groups, uint8 (3, 32, 32), RGB; as :class:`CIFAR10`.

    ``coarse=True`` gives the group (20) as the label instead of the class (100).

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = bytes([0, 72]) + bytes(3 * 32 * 32)
    ...     _ = pathlib.Path(folder, "test.bin").write_bytes(record)
    ...     fine, coarse = CIFAR100(folder, train=False), CIFAR100(folder, train=False, coarse=True)
    >>> fine.classes[fine[0][1]], coarse.classes[coarse[0][1]]
    ('seal', 'aquatic_mammals')
    """

    fine_classes: ClassVar[Sequence[str]] = tuple(_FINE_CLASSES.split())
    coarse_classes: ClassVar[Sequence[str]] = tuple(_COARSE_CLASSES.split())
    archives = (
        RemoteFile("cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85"),
        RemoteFile("cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8"),
    )
    folders = ("cifar-100-python", "cifar-100-binary")
    members = ((("train",), ("test",)), (("train.bin",), ("test.bin",)))
    keys = (b"coarse_labels", b"fine_labels")  # in the order of the two label bytes of the binary version
    label_classes = (20, 100)

    def __init__(
        self,
        root: PathLike,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
        *,
        coarse: bool = False,
    ) -> None:
        self.coarse = coarse
        self.classes = self.coarse_classes if coarse else self.fine_classes
        super().__init__(root, train, transform, target_transform, download)

    def _choose(self, labels: np.ndarray) -> np.ndarray:
        return labels[:, 0 if self.coarse else 1]
