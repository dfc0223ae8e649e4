"""The order in which samples are visited: a function of (seed, epoch) and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from .rng import check_seed, epoch_rng


class Sampler:
    """Base of samplers: ``order(epoch)`` gives the sample numbers of an epoch as an integer array.

    Iterating gives the order of the epoch set with ``set_epoch`` (0 at first).

    >>> import minidl
    >>> class Backwards(minidl.data.Sampler):
    ...     def order(self, epoch):
    ...         return np.arange(4)[::-1]
    >>> list(Backwards())
    [3, 2, 1, 0]
    """

    epoch = 0

    def order(self, epoch: int) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} has to define order(epoch)")

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(self.order(self.epoch).tolist())

    def __len__(self) -> int:
        return len(self.order(self.epoch))


class SequentialSampler(Sampler):
    """0, 1, 2, ...

    >>> list(SequentialSampler(range(3)))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.length = len(data_source)

    def order(self, epoch: int) -> np.ndarray:
        return np.arange(self.length, dtype=np.intp)

    def __len__(self) -> int:
        return self.length


class RandomSampler(SequentialSampler):
    """Every sample once, in an order drawn from (seed, epoch).

    >>> sampler = RandomSampler(range(4), seed=0)
    >>> sorted(sampler), bool((sampler.order(0) == sampler.order(1)).all())
    ([0, 1, 2, 3], False)
    """

    def __init__(self, data_source: Sized, *, seed: int = 0) -> None:
        super().__init__(data_source)
        self.seed = check_seed(seed)

    def order(self, epoch: int) -> np.ndarray:
        return epoch_rng(self.seed, epoch).permutation(self.length)


class WeightedRandomSampler(Sampler):
    """``num_samples`` samples, each drawn with a probability in proportion to its weight (rare classes oftener).

    >>> WeightedRandomSampler([0.0, 1.0, 0.0], 4).order(0).tolist()
    [1, 1, 1, 1]
    """

    def __init__(
        self,
        weights: Sequence[float] | np.ndarray,
        num_samples: int,
        replacement: bool = True,
        *,
        seed: int = 0,
    ) -> None:
        w = np.asarray(weights, np.float64)
        if w.ndim != 1 or not len(w) or not np.isfinite(w).all() or w.min() < 0 or w.sum() == 0:
            raise ValueError("weights are finite numbers >= 0, one per sample, and not all zero")
        possible = np.count_nonzero(w)
        if not replacement and num_samples > possible:
            raise ValueError(
                f"without replacement at most {possible} samples of weight > 0 can be drawn, not {num_samples}"
            )
        self.probabilities = w / w.sum()
        self.num_samples, self.replacement, self.seed = int(num_samples), replacement, check_seed(seed)

    def order(self, epoch: int) -> np.ndarray:
        rng = epoch_rng(self.seed, epoch)
        return rng.choice(len(self.probabilities), self.num_samples, self.replacement, self.probabilities)

    def __len__(self) -> int:
        return self.num_samples


class IterableSampler(Sampler):
    """Any iterable of sample numbers; it has to give the same order again when asked for the same epoch."""

    def __init__(self, iterable: Iterable[int]) -> None:
        if iter(iterable) is iterable:
            raise TypeError("a sampler is iterated once per epoch; an iterator is used up after one: pass a list")
        self.iterable: Any = iterable

    def order(self, epoch: int) -> np.ndarray:
        if hasattr(self.iterable, "set_epoch"):
            self.iterable.set_epoch(epoch)
        return np.fromiter(self.iterable, np.intp)

    def __len__(self) -> int:
        return len(self.iterable) if hasattr(self.iterable, "__len__") else len(self.order(0))
