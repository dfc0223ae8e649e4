import re

import numpy as np
import pytest

from minidl.data import ArrayDataset, ConcatDataset, Dataset, Mapped, Subset, TensorDataset, random_split, sample_rng
from minidl.data import transforms as T
from minidl.data.dataset import fetch_batch, fetch_sample
from minidl.data.rng import RngView, SampleRngs


class Plain(Dataset):
    """No fast path."""

    def __init__(self, n=5):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError(index)
        return np.full((1, 2, 2), index, np.float32), index


def arrays(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 2, 5, 4), np.uint8), rng.integers(0, 10, n)


def noisy(image, rng):
    return image + rng.normal(size=image.shape)


def test_array_dataset():
    x, y = arrays()
    data = ArrayDataset(x, y)
    assert TensorDataset is ArrayDataset
    assert len(data) == 7
    np.testing.assert_array_equal(data[-1][0], x[6])
    with pytest.raises(IndexError, match="sample 7 of a data set of length 7"):
        data[7]
    assert sum(1 for _ in data) == 7
    assert "uint8[7, 2, 5, 4]" in repr(data)


def test_array_dataset_errors():
    with pytest.raises(ValueError, match="at least one array"):
        ArrayDataset()
    with pytest.raises(ValueError, match=re.escape("one length N in their first axis, got shapes (3, 2), (4,)")):
        ArrayDataset(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(ValueError, match="one length N"):
        ArrayDataset(np.zeros(()))
    with pytest.raises(ValueError, match="works on the second array, and there is only one"):
        ArrayDataset(np.zeros(3), target_transform=int)


def test_base_class_says_what_is_missing():
    class Empty(Dataset):
        pass

    class NoItems(Dataset):
        def __len__(self):
            return 1

    with pytest.raises(NotImplementedError, match="Empty has to define __len__"):
        len(Empty())
    with pytest.raises(NotImplementedError, match="NoItems has to define __getitem__ or get_sample"):
        NoItems()[0]


DATASETS = {
    "arrays": lambda: ArrayDataset(*arrays()),
    "transform": lambda: ArrayDataset(*arrays(), transform=T.Compose([T.RandomCrop(3, padding=1), T.ToFloat(), noisy])),
    "target": lambda: ArrayDataset(*arrays(), target_transform=lambda label: float(label) / 2),
    "subset": lambda: Subset(ArrayDataset(*arrays(), transform=noisy), [6, 1, 1, 3, 0, 2, 5]),
    "concat": lambda: ConcatDataset(
        [
            ArrayDataset(*arrays(3), transform=noisy),
            ArrayDataset(*arrays(0)),
            ArrayDataset(*arrays(4, 1), transform=noisy),
        ]
    ),
    "mapped concat": lambda: Mapped(
        ConcatDataset([ArrayDataset(*arrays(3), transform=noisy), ArrayDataset(*arrays(4, 1), transform=noisy)]), noisy
    ),
    "one array": lambda: Mapped(ArrayDataset(arrays()[0]), T.ToFloat()),
}


@pytest.mark.parametrize("name", DATASETS)
def test_batch_and_samples_agree_bit_for_bit(name):
    data = DATASETS[name]()
    indices = np.array([4, 0, 6, 2, 4])
    batch = fetch_batch(data, indices, SampleRngs(3, 2, indices))
    samples = [fetch_sample(data, i, sample_rng(3, 2, i)) for i in indices]
    for column, rows in zip(batch, zip(*samples), strict=True):
        np.testing.assert_array_equal(column, np.stack(rows))


def test_without_a_fast_path():
    for data in (
        Plain(),
        Subset(Plain(), [0, 1]),
        Mapped(Plain(), np.negative),
        ConcatDataset([Plain(), Plain()]),
        [1, 2],
    ):
        assert fetch_batch(data, np.array([0, 1]), SampleRngs(0, 0, [0, 1])) is None
    mixed = ConcatDataset([ArrayDataset(np.zeros((2, 3))), ArrayDataset(np.zeros((2, 4)))])
    assert fetch_batch(mixed, np.array([0, 3]), SampleRngs(0, 0, [0, 3])) is None


def test_concat_and_subset():
    both = Plain(3) + Plain(2)
    assert [both[i][1] for i in range(5)] == [0, 1, 2, 0, 1] and both[-1][1] == 1
    assert Subset(both, [4, 0])[0][1] == 1
    with pytest.raises(ValueError, match="at least one data set"):
        ConcatDataset([])
    with pytest.raises(IndexError, match="Subset index 5 is outside a data set of length 5"):
        Subset(both, [0, 5])
    with pytest.raises(IndexError, match="Subset index -1"):
        Subset(both, [-1])


def test_mapped_leaves_labels_alone():
    image, label = Mapped(Plain(), T.RandomRotation(90))[3]
    assert label == 3 and image.shape == (1, 2, 2)
    assert Mapped([1, 2], lambda v: v * 10)[1] == 20  # a sample that is no tuple


def test_random_split():
    data = Plain(11)
    a, b, c = random_split(data, [0.5, 0.25, 0.25], seed=4)
    assert [len(a), len(b), len(c)] == [6, 3, 2]  # 5, 2, 2, and the two left over to the first two
    everything = np.concatenate([a.indices, b.indices, c.indices])
    assert sorted(everything) == list(range(11)) and everything.tolist() != list(range(11))
    again = random_split(data, [6, 3, 2], seed=4)
    assert again[0].indices.tolist() == a.indices.tolist()
    assert random_split(data, [6, 3, 2], seed=5)[0].indices.tolist() != a.indices.tolist()
    with_generator = random_split(data, [5, 6], np.random.default_rng(1))
    np.testing.assert_array_equal(with_generator[0].indices, np.random.default_rng(1).permutation(11)[:5])


def test_random_split_errors():
    with pytest.raises(ValueError, match=re.escape("lengths [3, 3] add up to 6, but the data set has 5 samples")):
        random_split(Plain(), [3, 3])
    with pytest.raises(ValueError, match=re.escape("are >= 0 and add up to 1, got [0.5, 0.6]")):
        random_split(Plain(), [0.5, 0.6])


def test_rngs_depend_on_seed_epoch_and_index_alone():
    indices = [5, 9, 2]
    rngs = SampleRngs(1, 2, indices)
    assert len(rngs) == 3 and rngs[0] is rngs[0]
    draws = [rng.random() for rng in rngs]
    assert draws == [sample_rng(1, 2, i).random() for i in indices]
    assert len({*draws, sample_rng(1, 3, 5).random(), sample_rng(2, 2, 5).random()}) == 5
    view = RngView(rngs, np.array([2, 0]))
    assert len(view) == 2 and list(view) == [rngs[2], rngs[0]] and view[1] is rngs[0]


def test_rngs_of_neighbours_are_not_correlated():
    draws = np.array([[rng.random() for _ in range(4)] for rng in SampleRngs(0, 0, range(4000))])
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.06
    assert abs(draws.mean() - 0.5) < 0.01 and np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.06
