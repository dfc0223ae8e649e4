import numpy as np
import pytest

from minidl.data import DataLoader, RandomSampler, Sampler, SequentialSampler, WeightedRandomSampler
from minidl.data.sampler import IterableSampler


def test_sequential_and_random():
    assert list(SequentialSampler(range(4))) == [0, 1, 2, 3]
    sampler = RandomSampler(range(50), seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(50)) and first == list(sampler) and len(sampler) == 50
    sampler.set_epoch(1)
    assert list(sampler) != first and list(sampler) == sampler.order(1).tolist()
    assert RandomSampler(range(50), seed=4).order(0).tolist() != first


def test_weighted():
    sampler = WeightedRandomSampler([1, 0, 3], 4000, seed=1)
    counts = np.bincount(sampler.order(0), minlength=3)
    assert counts[1] == 0 and abs(counts[2] / counts[0] - 3) < 0.4 and len(sampler) == 4000
    without = WeightedRandomSampler([1, 0, 3], 2, replacement=False)
    assert sorted(without.order(5)) == [0, 2]
    for weights in ([], [-1, 2], [0, 0], [np.nan, 1], [[1, 2]]):
        with pytest.raises(ValueError, match="weights are finite numbers >= 0, one per sample, and not all zero"):
            WeightedRandomSampler(weights, 1)
    with pytest.raises(ValueError, match="without replacement at most 2 samples of weight > 0 can be drawn, not 3"):
        WeightedRandomSampler([1, 0, 3], 3, replacement=False)


def test_base_and_foreign_iterables():
    with pytest.raises(NotImplementedError, match="Sampler has to define order"):
        Sampler().order(0)

    class Foreign:
        epoch = 0

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __iter__(self):
            return iter([self.epoch, 1, 2])

    sampler = IterableSampler(Foreign())
    assert sampler.order(2).tolist() == [2, 1, 2] and len(sampler) == 3
    assert len(IterableSampler([3, 4])) == 2
    with pytest.raises(TypeError, match="an iterator is used up after one: pass a list"):
        IterableSampler(iter([1, 2]))
    loader = DataLoader([10, 11, 12], 2, sampler=[2, 0, 2], to_tensor=False)
    assert [b.tolist() for b in loader] == [[12, 10], [12]]


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, None])
def test_seed_is_checked(seed):
    with pytest.raises(ValueError, match="a seed is a whole number >= 0, got"):
        RandomSampler(range(3), seed=seed)
