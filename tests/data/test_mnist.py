import gzip
import hashlib
import re

import numpy as np
import pytest

from minidl.data import MNIST, DataError, DataLoader, DataNotFoundError, FashionMNIST, read_idx, write_idx
from minidl.data import transforms as T


def write_set(folder, n=5, ending="", part="train", spelling="-"):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images = rng.integers(0, 256, (n, 28, 28), np.uint8)
    labels = rng.integers(0, 10, n, np.uint8)
    write_idx(folder / f"{part}-images{spelling}idx3-ubyte{ending}", images)
    write_idx(folder / f"{part}-labels{spelling}idx1-ubyte{ending}", labels)
    return images, labels


@pytest.mark.parametrize("where", [".", "MNIST/raw", "raw", "mnist"])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("spelling", ["-", "."])
def test_folders_and_spellings(tmp_path, where, ending, spelling):
    images, labels = write_set(tmp_path / where, ending=ending, spelling=spelling)
    data = MNIST(tmp_path)
    np.testing.assert_array_equal(data.data, images[:, None])
    np.testing.assert_array_equal(data.targets, labels)
    assert data.targets.dtype == np.int64 and data.data.dtype == np.uint8
    image, label = data[2]
    assert image.shape == (1, 28, 28) and int(label) == labels[2]
    assert data.class_to_idx["7"] == 7 and data.train


def test_parts_and_transforms(tmp_path):
    write_set(tmp_path, 5)
    _, labels = write_set(tmp_path, 3, part="t10k")
    data = MNIST(tmp_path, train=False, transform=T.ToFloat(), target_transform=lambda label: int(label) + 100)
    assert len(data) == 3 and data[1][0].dtype == np.float32 and data[1][1] == labels[1] + 100


def test_fashion_has_its_own_folder_and_names(tmp_path):
    write_set(tmp_path / "FashionMNIST" / "raw")
    data = FashionMNIST(tmp_path)
    assert len(data) == 5 and data.classes[9] == "Ankle boot" and len(data.classes) == 10
    with pytest.raises(DataNotFoundError):
        MNIST(tmp_path)


def test_missing_files_are_listed(tmp_path):
    with pytest.raises(DataNotFoundError) as caught:
        MNIST(tmp_path)
    text = str(caught.value)
    assert f"MNIST needs these files in {tmp_path}:" in text
    assert "t10k-labels-idx1-ubyte.gz  (md5:ec29112dd5afa0611ce80d1b7f02629c)" in text
    assert "They are published at https://" in text and "download=True), or --download on the command line" in text
    assert isinstance(caught.value, FileNotFoundError) and isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    ("images", "labels", "offset", "file", "message"),
    [
        ((4, 28, 28), [0, 1, 2], 4, "labels",
         "as many labels as train-images-idx3-ubyte has images are needed; expected 4, found 3"),
        ((3, 28, 28), [0, 10, 2], 9, "labels", "label 1 is out of range; expected 0 to 9, found 10"),
        ((3, 28, 27), [0, 1, 2], 2, "images", "expected images (N, 28, 28) of uint8, found (3, 28, 27) of uint8"),
        ((3, 784), [0, 1, 2], 2, "images", "expected images (N, 28, 28) of uint8, found (3, 784) of uint8"),
        ((3, 28, 28), [[0, 1, 2]], 2, "labels", "expected labels (N,) of uint8, found (1, 3) of uint8"),
    ],
)  # fmt: skip
def test_sets_that_do_not_fit(tmp_path, images, labels, offset, file, message):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros(images, np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array(labels, np.uint8))
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        MNIST(tmp_path)
    assert caught.value.offset == offset and f"train-{file}-" in caught.value.file


def test_files_exchanged(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros(3, np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(DataError, match=re.escape("expected images (N, 28, 28) of uint8, found (3,) of uint8")):
        MNIST(tmp_path)


def test_the_real_one(shared_data):
    folder = shared_data / "mnist"
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        raw = file.read()
    assert hashlib.md5(raw, usedforsecurity=False).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    train, test = MNIST(folder), MNIST(folder, train=False)
    assert (len(train), len(test)) == (60000, 10000)
    assert train.targets[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert np.bincount(test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # the published mean and deviation of the training pixels
    assert abs(train.data.mean() / 255 - 0.1307) < 5e-5 and abs(train.data.std() / 255 - 0.3081) < 5e-5
    np.testing.assert_array_equal(read_idx(folder / "t10k-labels-idx1-ubyte.gz"), test.targets)
    seen = np.concatenate([y for _, y in DataLoader(test, 64, True, num_workers=2, to_tensor=False)])
    assert np.bincount(seen).tolist() == np.bincount(test.targets).tolist()
