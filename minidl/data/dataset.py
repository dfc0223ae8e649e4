"""Map-style data sets: something with a length and samples by number, and ways to combine them.

Samples are NumPy arrays (an image is (C, H, W)); the DataLoader makes batches of them. Beside
``dataset[index]`` a data set may offer

* ``get_sample(index, rng)``: the sample, augmented with the generator given;
* ``get_batch(indices, rngs)``: many samples at once as a tuple of arrays (N, ...), the fast path; ``None`` says
  that there is none and the samples have to be fetched one by one.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ._transform import Rngs, call_transform, call_transform_batch
from .collate import default_collate
from .rng import RngView, epoch_rng, sample_rng

Batch = tuple[np.ndarray, ...]


class Dataset:
    """Base of data sets: write ``__len__`` and either ``__getitem__`` or, where chance plays a part, ``get_sample``.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 10
    ...     def __getitem__(self, index):
    ...         return index, index**2
    >>> Squares()[3]
    (3, 9)
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has to define __len__")

    def __getitem__(self, index: int) -> Any:
        """The sample as epoch 0 of seed 0 shows it."""
        if type(self).get_sample is Dataset.get_sample:
            raise NotImplementedError(f"{type(self).__name__} has to define __getitem__ or get_sample")
        index = check_index(index, len(self))
        return self.get_sample(index, sample_rng(0, 0, index))

    def get_sample(self, index: int, rng: np.random.Generator) -> Any:
        """The sample with number ``index``; whatever is random about it is drawn from ``rng``."""
        return self[index]

    def get_batch(self, indices: np.ndarray, rngs: Rngs) -> Batch | None:
        """The samples ``indices`` as a tuple of arrays (N, ...), or ``None``: fetch them one by one."""
        return None

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


def check_index(index: int, length: int) -> int:
    """A sample number counted from 0 (negative ones count from the end), or IndexError."""
    if not -length <= index < length:
        raise IndexError(f"sample {index} of a data set of length {length}")
    return int(index) % length


def fetch_sample(dataset: Any, index: int, rng: np.random.Generator) -> Any:
    """One sample of any data set, also of a plain sequence."""
    get = getattr(dataset, "get_sample", None)
    return dataset[index] if get is None else get(index, rng)


def fetch_batch(dataset: Any, indices: np.ndarray, rngs: Rngs) -> Batch | None:
    """The fast path of any data set, or ``None``."""
    get = getattr(dataset, "get_batch", None)
    return None if get is None else get(indices, rngs)


def _map_first(sample: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(sample, tuple):
        return (function(sample[0]), *sample[1:])
    return function(sample)


class ArrayDataset(Dataset):
    """Arrays of equal length as a data set: sample i is ``(arrays[0][i], arrays[1][i], ...)``.

    ``arrays`` are NumPy arrays or anything ``numpy.asarray`` takes (a CPU Tensor too); they are not copied.
    ``transform`` is applied to the first of them, ``target_transform`` to the second.

    >>> import numpy as np
    >>> data = ArrayDataset(np.zeros((4, 1, 2, 2)), np.array([3, 1, 2, 0]))
    >>> len(data), data[1][0].shape, int(data[1][1])
    (4, (1, 2, 2), 1)
    """

    def __init__(
        self, *arrays: Any, transform: Callable | None = None, target_transform: Callable | None = None
    ) -> None:
        if not arrays:
            raise ValueError("ArrayDataset needs at least one array")
        self.arrays = tuple(np.asarray(a) for a in arrays)
        lengths = [len(a) if a.ndim else None for a in self.arrays]
        if len(set(lengths)) != 1 or None in lengths:
            shapes = ", ".join(str(a.shape) for a in self.arrays)
            raise ValueError(f"the arrays of a data set have one length N in their first axis, got shapes {shapes}")
        if target_transform is not None and len(self.arrays) < 2:
            raise ValueError("target_transform works on the second array, and there is only one")
        self.transform, self.target_transform = transform, target_transform

    def __len__(self) -> int:
        return len(self.arrays[0])

    def get_sample(self, index: int, rng: np.random.Generator) -> Batch:
        sample = [a[index] for a in self.arrays]
        if self.transform is not None:
            sample[0] = call_transform(self.transform, sample[0], rng)
        if self.target_transform is not None:
            sample[1] = self.target_transform(sample[1])
        return tuple(sample)

    def get_batch(self, indices: np.ndarray, rngs: Rngs) -> Batch:
        columns = [a[indices] for a in self.arrays]
        if self.transform is not None:
            columns[0] = call_transform_batch(self.transform, columns[0], rngs)
        if self.target_transform is not None:
            columns[1] = default_collate([self.target_transform(label) for label in columns[1]])
        return tuple(columns)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in self.arrays)
        return f"{type(self).__name__}({shapes})"


TensorDataset = ArrayDataset  # torch's name for it


class Subset(Dataset):
    """The samples ``indices`` of another data set, in that order.

    >>> Subset(["a", "b", "c"], [2, 0])[0]
    'c'
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.intp).reshape(-1)
        length = len(dataset)
        bad = self.indices[(self.indices < 0) | (self.indices >= length)]
        if len(bad):
            raise IndexError(f"Subset index {bad[0]} is outside a data set of length {length}")

    def __len__(self) -> int:
        return len(self.indices)

    def get_sample(self, index: int, rng: np.random.Generator) -> Any:
        return fetch_sample(self.dataset, int(self.indices[index]), rng)

    def get_batch(self, indices: np.ndarray, rngs: Rngs) -> Batch | None:
        return fetch_batch(self.dataset, self.indices[indices], rngs)


class ConcatDataset(Dataset):
    """Data sets one after the other.

    >>> both = ConcatDataset([[10, 11], [12]])
    >>> len(both), both[2]
    (3, 12)
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset needs at least one data set")
        self.ends = np.cumsum([len(d) for d in self.datasets]).tolist()

    def __len__(self) -> int:
        return self.ends[-1]

    def get_sample(self, index: int, rng: np.random.Generator) -> Any:
        which = bisect.bisect_right(self.ends, index)
        start = self.ends[which - 1] if which else 0
        return fetch_sample(self.datasets[which], index - start, rng)

    def get_batch(self, indices: np.ndarray, rngs: Rngs) -> Batch | None:
        owner = np.searchsorted(self.ends, indices, side="right")  # (N,)
        parts: list[Batch] = []
        places: list[np.ndarray] = []
        for which in np.unique(owner):
            place = np.flatnonzero(owner == which)
            start = self.ends[which - 1] if which else 0
            part = fetch_batch(self.datasets[which], indices[place] - start, RngView(rngs, place))
            if part is None:
                return None
            parts.append(part)
            places.append(place)
        if not parts:
            return fetch_batch(self.datasets[0], indices, rngs)
        if len({tuple((a.shape[1:], a.dtype) for a in part) for part in parts}) > 1:
            return None  # samples of different kinds: the collate function reports it with their numbers
        back = np.argsort(np.concatenate(places))
        return tuple(np.concatenate(column)[back] for column in zip(*parts))


class Mapped(Dataset):
    """A data set with a transform on top: applied to the sample, or to the first member of a tuple.

    ``transform`` is a minidl transform, a function of the image, or a function of the image and ``rng``.

    >>> Mapped([(1, "one"), (2, "two")], lambda number: number * 10)[1]
    (20, 'two')
    """

    def __init__(self, dataset: Any, transform: Callable) -> None:
        self.dataset, self.transform = dataset, transform

    def __len__(self) -> int:
        return len(self.dataset)

    def get_sample(self, index: int, rng: np.random.Generator) -> Any:
        sample = fetch_sample(self.dataset, index, rng)
        return _map_first(sample, lambda image: call_transform(self.transform, image, rng))

    def get_batch(self, indices: np.ndarray, rngs: Rngs) -> Batch | None:
        columns = fetch_batch(self.dataset, indices, rngs)
        if columns is None:
            return None
        return _map_first(columns, lambda images: call_transform_batch(self.transform, images, rngs))


def random_split(
    dataset: Any,
    lengths: Sequence[int] | Sequence[float],
    generator: np.random.Generator | None = None,
    *,
    seed: int = 0,
) -> list[Subset]:
    """Split a data set at random into subsets of the given ``lengths``, or of fractions that add up to 1.

    Samples left over by rounding fractions go one each to the first subsets, as in torch. The same ``seed``
    gives the same split; a ``generator`` replaces it.

    >>> train, test = random_split(range(10), [0.8, 0.2], seed=1)
    >>> len(train), len(test), sorted([*train.indices.tolist(), *test.indices.tolist()]) == list(range(10))
    (8, 2, True)
    """
    total = len(dataset)
    counts = [int(v) for v in lengths]
    if any(isinstance(v, (float, np.floating)) for v in lengths):
        if abs(sum(lengths) - 1) > 1e-9 or min(lengths) < 0:
            raise ValueError(f"fractions of a split are >= 0 and add up to 1, got {list(lengths)}")
        counts = [int(total * v + 1e-9) for v in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
    if sum(counts) != total or min(counts) < 0:
        raise ValueError(f"lengths {list(lengths)} add up to {sum(counts)}, but the data set has {total} samples")
    order = (epoch_rng(seed, 0) if generator is None else generator).permutation(total)
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(counts)[:-1])]
