import gc
import json
import re
import threading

import numpy as np
import pytest

import minidl
from minidl.data import (
    ArrayDataset,
    DataError,
    DataLoader,
    Dataset,
    Mapped,
    RandomSampler,
    SampleError,
    WeightedRandomSampler,
    default_collate,
)


class Noisy(Dataset):
    """Samples whose value is drawn from their generator; loaded one by one."""

    def __init__(self, n=23, fail_at=()):
        self.n, self.fail_at = n, fail_at

    def __len__(self):
        return self.n

    def get_sample(self, index, rng):
        if index in self.fail_at:
            raise DataError("broken", f"file{index}")
        return np.array([index, rng.random()]), index


def workers():
    return [t for t in threading.enumerate() if t.name.startswith("minidl-data")]


def epoch_of(loader):
    return [tuple(np.array(part) for part in batch) for batch in loader]


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        for p, q in zip(x, y, strict=True):
            np.testing.assert_array_equal(p, q)


def arrays():
    rng = np.random.default_rng(0)
    return ArrayDataset(rng.normal(size=(23, 2)), rng.integers(0, 9, 23), transform=lambda x, rng: x + rng.random())


@pytest.mark.parametrize("dataset", [Noisy(), arrays()], ids=["samples", "arrays"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_any_number_of_workers_gives_the_same_bits(dataset, shuffle):
    def two_epochs(num_workers, prefetch=2):
        loader = DataLoader(dataset, 4, shuffle, seed=5, num_workers=num_workers, prefetch=prefetch, to_tensor=False)
        return epoch_of(loader) + epoch_of(loader)

    plain = two_epochs(0)
    assert len(plain) == 12 and plain[5][0].shape[0] == 3
    for num_workers, prefetch in ((1, 1), (2, 2), (5, 3)):
        assert_same(plain, two_epochs(num_workers, prefetch))
    assert not workers()
    assert not np.array_equal(plain[0][0], plain[6][0])  # another epoch draws other numbers


def test_fast_path_and_slow_path_agree():
    fast = arrays()
    slow = Mapped([fast.arrays[0][i] for i in range(23)], fast.transform)  # a list has no get_batch
    a = [batch[0] for batch in DataLoader(fast, 5, True, seed=2, to_tensor=False)]
    b = list(DataLoader(slow, 5, True, seed=2, to_tensor=False))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_fast_path_is_taken():
    class Counted(ArrayDataset):
        batches = 0

        def get_batch(self, indices, rngs):
            self.batches += 1
            return super().get_batch(indices, rngs)

        def get_sample(self, index, rng):
            raise AssertionError("one by one")

    data = Counted(np.arange(10))
    assert len(list(DataLoader(data, 3, to_tensor=False))) == 4 and data.batches == 4


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        loader = DataLoader(range(30), 7, True, seed=seed, to_tensor=False)
        loader.set_epoch(epoch)
        got = np.concatenate(list(loader))
        np.testing.assert_array_equal(got, loader.order(epoch))
        return got.tolist()

    assert order(1, 4) == order(1, 4)
    assert sorted(order(1, 4)) == list(range(30))
    assert order(1, 4) != order(1, 5) and order(1, 4) != order(2, 4)


def test_epochs_advance_also_after_a_break():
    loader = DataLoader(range(30), 10, True, seed=1, to_tensor=False)
    for _ in loader:
        break
    second = np.concatenate(list(loader))
    np.testing.assert_array_equal(second, loader.order(1))
    assert loader.epoch == 2
    loader.set_epoch(0)
    np.testing.assert_array_equal(np.concatenate(list(loader)), loader.order(0))


def test_length_and_drop_last():
    assert [len(DataLoader(range(n), 4)) for n in (0, 3, 4, 5, 8)] == [0, 1, 1, 2, 2]
    assert [len(DataLoader(range(n), 4, drop_last=True)) for n in (0, 3, 4, 5, 8)] == [0, 0, 1, 1, 2]
    assert [len(b) for b in DataLoader(range(9), 4, drop_last=True, to_tensor=False)] == [4, 4]
    assert list(DataLoader([], 4, to_tensor=False)) == []


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 3, 5, 6])
def test_resume_in_the_middle(num_workers, stop):
    def make():
        return DataLoader(Noisy(), 4, True, seed=7, num_workers=num_workers, to_tensor=False)

    whole = make()
    expected = epoch_of(whole) + epoch_of(whole)

    first = make()
    got = []
    loop = iter(first)
    for _ in range(stop):
        got += epoch_of([next(loop)])
    state = json.loads(json.dumps(first.state_dict()))  # plain numbers
    loop.close()
    assert state == first.state_dict()  # closing does not move it

    second = make()
    second.load_state_dict(state)
    assert second.state_dict() == state
    got += epoch_of(second) + epoch_of(second)
    assert_same(got, expected)


def test_resume_with_the_epoch_set_by_a_trainer():
    loader = DataLoader(range(10), 2, True, seed=1, to_tensor=False)
    loader.set_epoch(3)
    loop = iter(loader)
    seen = [next(loop), next(loop)]
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (3, 2)
    other = DataLoader(range(10), 2, True, seed=1, to_tensor=False)
    other.load_state_dict(state)
    other.set_epoch(3)  # the same epoch: the place is kept
    np.testing.assert_array_equal(np.concatenate(seen + list(other)), loader.order(3))
    other.load_state_dict(state)
    other.set_epoch(4)  # another epoch: from its start
    np.testing.assert_array_equal(np.concatenate(list(other)), loader.order(4))


def test_state_after_a_whole_epoch_is_the_next_one():
    loader = DataLoader(range(10), 4, to_tensor=False)
    list(loader)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 0)


def test_an_old_loop_does_not_disturb_the_state():
    loader = DataLoader(range(10), 2, to_tensor=False)
    old = iter(loader)
    next(old)
    new = iter(loader)
    next(new)
    list(old)
    assert (loader.epoch, loader.state_dict()["position"]) == (1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "the saved loader had seed=1, this one has seed=2: the rest of the epoch"),
        ({"batch_size": 3}, "had batch_size=2, this one has batch_size=3"),
        ({"shuffle": False}, "had shuffle=True, this one has shuffle=False"),
        ({"drop_last": True}, "had drop_last=False, this one has drop_last=True"),
        ({"dataset": range(11)}, "had length=10, this one has length=11"),
        (
            {"shuffle": False, "sampler": RandomSampler(range(10), seed=9)},
            "had shuffle=True, this one has shuffle=False",
        ),
    ],
)
def test_resume_needs_the_same_loader(change, message):
    settings = {"dataset": range(10), "batch_size": 2, "shuffle": True, "seed": 1}
    loader = DataLoader(**settings)
    state = loader.state_dict()
    other = DataLoader(**(settings | change))
    before = other.state_dict()
    with pytest.raises(ValueError, match=re.escape(message)):
        other.load_state_dict(state)
    assert other.state_dict() == before


def test_resume_notices_another_order_and_nonsense():
    def make(seed):
        return DataLoader(range(10), 2, sampler=WeightedRandomSampler(range(10), 10, seed=seed), to_tensor=False)

    loader = make(1)
    next(iter(loader))
    state = loader.state_dict()
    other = make(2)
    before = other.state_dict()
    message = "the order of epoch 0 is not the one that was interrupted after batch 1: another sampler, or a NumPy"
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="not the state of a DataLoader: epoch, seed missing"):
        other.load_state_dict({k: v for k, v in state.items() if k not in ("seed", "epoch")})
    for bad in ({"position": 6}, {"position": -1}, {"epoch": -1}, {"position": "x"}):
        with pytest.raises(ValueError, match=r"the state says batch .* of epoch .*, an epoch has 5 batches"):
            other.load_state_dict(state | bad)
    assert other.state_dict() == before


@pytest.mark.parametrize("num_workers", [0, 3])
def test_errors_name_the_sample(num_workers):
    loader = DataLoader(Noisy(fail_at=(9,)), 4, num_workers=num_workers, to_tensor=False)
    loop = iter(loader)
    next(loop), next(loop)
    message = "sample 9 (epoch 0, batch 2) could not be loaded: DataError: file9: broken"
    with pytest.raises(SampleError, match=re.escape(message)) as caught:
        next(loop)
    assert (caught.value.index, caught.value.epoch) == (9, 0)
    assert isinstance(caught.value.__cause__, DataError)
    assert not workers()
    assert loader.state_dict()["position"] == 2


def test_errors_in_the_fast_path_name_the_sample():
    def picky(x):
        if x[0] == 5:
            raise RuntimeError("five")
        return x

    loader = DataLoader(ArrayDataset(np.arange(12)[:, None], transform=picky), 4, to_tensor=False)
    with pytest.raises(
        SampleError, match=re.escape("sample 5 (epoch 0, batch 1) could not be loaded: RuntimeError: five")
    ):
        list(loader)


def test_errors_of_the_fast_path_alone():
    class Bad(ArrayDataset):
        def get_batch(self, indices, rngs):
            raise RuntimeError("no")

    message = "get_batch failed on samples 0, 1, 2, 3, 4, 5, 6, 7, ... (10 in all) (epoch 0, batch 0), each of which"
    with pytest.raises(SampleError, match=re.escape(message)):
        list(DataLoader(Bad(np.arange(10)), 10, to_tensor=False))


def test_errors_of_collating():
    data = [np.zeros((3, 4)), np.zeros((3, 5))]
    message = (
        "samples 0, 1 (epoch 0, batch 0) do not make a batch: ValueError: samples of one batch have different shapes: "
        "number 0 of the batch has (3, 4), number 1 has (3, 5). Bring them to one size with transforms.Resize"
    )
    with pytest.raises(SampleError, match=re.escape(message)):
        list(DataLoader(data, 2, to_tensor=False))


@pytest.mark.parametrize("how", ["break", "close", "drop", "raise"])
def test_leaving_early_leaves_no_thread(how):
    loader = DataLoader(Noisy(200), 2, num_workers=3, to_tensor=False)
    loop = iter(loader)
    next(loop)
    assert workers()
    if how == "close":
        loop.close()
    elif how == "raise":
        with pytest.raises(KeyboardInterrupt):
            loop.throw(KeyboardInterrupt)
    elif how == "break":
        for _ in loop:
            break
        del loop
    else:
        del loop
    gc.collect()
    assert not workers()


def test_prefetch_is_bounded():
    started = []

    class Watched(Noisy):
        def get_sample(self, index, rng):
            started.append(index)
            return super().get_sample(index, rng)

    loop = iter(DataLoader(Watched(100), 1, num_workers=2, prefetch=3, to_tensor=False))
    next(loop)
    loop.close()
    assert len(started) <= 1 + 2 * 3


def test_workers_really_run_beside_the_caller():
    barrier = threading.Barrier(3, timeout=10)  # passes only if three loads are under way at once

    class Meeting(Noisy):
        def get_sample(self, index, rng):
            barrier.wait()
            return index

    assert np.concatenate(list(DataLoader(Meeting(9), 1, num_workers=3, to_tensor=False))).tolist() == list(range(9))


def test_collate():
    batch = default_collate(
        [{"x": np.float32(1), "n": "a", "f": 0.5, "b": True}, {"x": np.float32(2), "n": "b", "f": 1.0, "b": False}]
    )
    assert batch["x"].dtype == np.float32 and batch["n"] == ["a", "b"] and batch["b"].dtype == bool
    assert batch["f"].dtype == np.float32 and default_collate([np.float64(1)]).dtype == np.float64
    assert default_collate([1, 2]).dtype == np.int64 and default_collate([np.uint8(1)]).dtype == np.uint8
    assert default_collate([None, None]) == [None, None]
    pair = default_collate([[1, np.zeros(2)], [2, np.ones(2)]])
    assert isinstance(pair, tuple) and pair[1].shape == (2, 2)
    with pytest.raises(ValueError, match=re.escape("samples of one batch have [1, 2] members; they must agree")):
        default_collate([(1,), (1, 2)])


def test_collate_fn_gets_the_samples():
    loader = DataLoader(arrays(), 5, collate_fn=lambda samples: [label for _, label in samples])
    assert [len(batch) for batch in loader] == [5, 5, 5, 5, 3] and isinstance(next(iter(loader)), list)


def test_tensors_by_default():
    images, labels = next(iter(DataLoader(ArrayDataset(np.zeros((4, 1, 2, 2), np.float32), np.arange(4)), 3)))
    assert isinstance(images, minidl.Tensor) and tuple(images.shape) == (3, 1, 2, 2)
    np.testing.assert_array_equal(labels.numpy(), [0, 1, 2])
    batch = next(iter(DataLoader([{"x": 1.5, "name": "a"}], 1)))
    assert isinstance(batch["x"], minidl.Tensor) and batch["name"] == ["a"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is a whole number >= 1, got 0"),
        ({"batch_size": 2.0}, "batch_size is a whole number >= 1, got 2.0"),
        ({"num_workers": -1}, "num_workers is a whole number >= 0, got -1"),
        ({"prefetch": 0}, "prefetch is a whole number >= 1, got 0"),
        ({"seed": -1}, "a seed is a whole number >= 0, got -1"),
        ({"shuffle": True, "sampler": [0]}, "a sampler decides the order, so shuffle=True beside it means nothing"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DataLoader(range(4), **settings)


def test_sampler_and_epoch_are_checked():
    with pytest.raises(IndexError, match="the sampler asks for sample 4, the data set has 4"):
        list(DataLoader(range(4), sampler=[0, 4], to_tensor=False))
    with pytest.raises(ValueError, match="an epoch is a whole number >= 0, got -1"):
        DataLoader(range(4)).set_epoch(-1)


def test_repr():
    assert repr(DataLoader(range(4), 2)) == (
        "DataLoader(range(0, 4), batch_size=2, shuffle=False, num_workers=0, seed=0, batches=2)"
    )
