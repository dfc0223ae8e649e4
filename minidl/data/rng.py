"""Randomness of the data floor: every draw is a function of (seed, epoch, sample index) and of nothing else.

That is what makes an epoch the same for any number of workers, and resumable in the middle: no generator is
carried along whose state would depend on who asked it how often.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from ..random import check_seed

__all__ = ["SampleRngs", "check_seed", "epoch_rng"]

_ORDER, _SAMPLE = 0, 1  # separate streams, so that augmentation never correlates with the order


def epoch_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator that shuffles epoch ``epoch``.

    >>> epoch_rng(0, 3).permutation(5).tolist() == epoch_rng(0, 3).permutation(5).tolist()
    True
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch))))


class _Key(ISeedSequence):
    """Hands a ready key to Philox: four times cheaper than hashing a SeedSequence for every sample."""

    def __init__(self, key: np.ndarray) -> None:
        self.key = key

    def generate_state(self, n_words, dtype=np.uint32):
        return self.key[:n_words]


def _epoch_key(seed: int, epoch: int) -> np.ndarray:
    return np.random.SeedSequence(seed, spawn_key=(_SAMPLE, epoch)).generate_state(2, np.uint64)


def _keyed(key: np.ndarray, index: int) -> np.random.Generator:
    # Philox (Salmon et al., SC 2011) is built so that distinct keys give independent streams
    second = (int(key[1]) + int(index)) % 2**64
    return np.random.Generator(np.random.Philox(_Key(np.array([key[0], second], np.uint64))))  # type: ignore[arg-type]


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one sample: what augmentation draws from.

    >>> bool(sample_rng(0, 1, 7).random() == sample_rng(0, 1, 7).random())
    True
    >>> bool(sample_rng(0, 1, 7).random() == sample_rng(0, 2, 7).random())
    False
    """
    return _keyed(_epoch_key(seed, epoch), index)


class SampleRngs(Sequence[np.random.Generator]):
    """The generators of the samples of one batch, made when first asked for.

    ``rngs[i]`` is always the same object, so that several transforms in a row go on drawing where the one
    before stopped. A pipeline without randomness never pays for a generator.
    """

    def __init__(self, seed: int, epoch: int, indices: Sequence[int] | np.ndarray) -> None:
        self.seed, self.epoch, self.indices = seed, epoch, indices
        self._key: np.ndarray | None = None
        self._made: dict[int, np.random.Generator] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position):  # type: ignore[override]
        if position >= len(self.indices):
            raise IndexError(position)
        rng = self._made.get(position)
        if rng is None:
            if self._key is None:
                self._key = _epoch_key(self.seed, self.epoch)
            rng = self._made[position] = _keyed(self._key, int(self.indices[position]))
        return rng


class RngView(Sequence[np.random.Generator]):
    """Some of the generators of a batch, still made only when asked for."""

    def __init__(self, rngs: Sequence[np.random.Generator], positions: np.ndarray) -> None:
        self.rngs, self.positions = rngs, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position):  # type: ignore[override]
        return self.rngs[int(self.positions[position])]

    def __iter__(self) -> Iterator[np.random.Generator]:
        return (self.rngs[int(position)] for position in self.positions)
