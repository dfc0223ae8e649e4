import gzip
import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest

from minidl.data import DataError, DataNotFoundError, Digits, enlarge_digits
from minidl.data.digits import split_digits

needs_digits = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")


@needs_digits
def test_like_scikit_learn():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    theirs = load_digits()
    train, test = Digits(split="ordered"), Digits(train=False, split="ordered")
    assert (len(train), len(test)) == (1437, 360)
    np.testing.assert_array_equal(np.concatenate([train.data, test.data])[:, 0], theirs.images / 16)
    np.testing.assert_array_equal(np.concatenate([train.targets, test.targets]), theirs.target)
    assert train.data.dtype == np.float32 and train.data.shape == (1437, 1, 8, 8) and train.data.max() == 1


@needs_digits
def test_scikit_learn_is_not_imported():
    code = "import sys\nfrom minidl.data import Digits\nDigits()\nsys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_digits
def test_stratified_split_is_fixed():
    train, test = Digits(), Digits(train=False)
    assert len(train) + len(test) == 1797 and len(test) == 360
    everything, part = np.bincount(np.concatenate([train.targets, test.targets])), np.bincount(test.targets)
    assert (np.abs(part - everything / 5) <= 1).all()
    ordered = np.concatenate([Digits(split="ordered").data, Digits(train=False, split="ordered").data])
    rows = np.concatenate([train.data, test.data])
    assert sorted(image.tobytes() for image in rows) == sorted(image.tobytes() for image in ordered)
    # pinned: published accuracies refer to this very split
    chosen = split_digits(np.arange(1797) % 10, train=False)
    assert chosen[:8].tolist() == PINNED


PINNED = [0, 11, 18, 21, 23, 24, 33, 38]


def test_split_parts_are_complementary():
    labels = np.random.default_rng(0).integers(0, 10, 203)
    for split in ("stratified", "ordered"):
        parts = [split_digits(labels, split, train) for train in (True, False)]
        assert sorted(np.concatenate(parts)) == list(range(203)) and len(parts[1]) in (40, 41)
    assert split_digits(labels, "ordered", False)[0] == 203 - 41
    with pytest.raises(ValueError, match="split is 'stratified' or 'ordered', got 'random'"):
        split_digits(labels, "random")


@needs_digits
@pytest.mark.parametrize("method", ["bilinear", "replicate"])
@pytest.mark.parametrize("size", [8, 28, 32])
def test_sizes(size, method):
    data = Digits(size=size, method=method)
    assert data.data.shape[1:] == (1, size, size) and data.data.min() >= 0 and data.data.max() <= 1
    assert data.data.dtype == np.float32 and data.data.flags.c_contiguous


def test_enlarge():
    image = np.random.default_rng(0).random((2, 8, 8))
    got = enlarge_digits(image, 32, "replicate")
    np.testing.assert_array_equal(got[:, ::4, ::4], image)
    np.testing.assert_array_equal(got[:, 3::4, 3::4], image)
    framed = enlarge_digits(image, 28, "replicate")
    np.testing.assert_array_equal(framed[:, 2:26:3, 2:26:3], image)
    assert framed[:, :2].sum() == framed[:, 26:].sum() == framed[:, :, :2].sum() == framed[:, :, 26:].sum() == 0
    np.testing.assert_allclose(enlarge_digits(image, 32).mean(), image.mean(), rtol=1e-12)
    with pytest.raises(ValueError, match="digits of 8 x 8 can only be enlarged, not brought to 7 x 7"):
        enlarge_digits(image, 7)
    with pytest.raises(ValueError, match="method is 'bilinear' or 'replicate', got 'nearest'"):
        enlarge_digits(image, 32, "nearest")


def row(label=3, pixels=64, value="4.0"):
    return ",".join([value] * pixels + [str(label)])


def put(folder, rows):
    path = folder / "digits.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    return path


def test_own_copy(tmp_path):
    put(tmp_path, [row(i % 10) for i in range(20)])
    data = Digits(tmp_path, split="ordered")
    assert data.targets.tolist() == [i % 10 for i in range(16)] and data[0][0][0, 0, 0] == 0.25


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row(pixels=63)], "rows of the wrong length; expected 65 numbers, found [64, 65]"),
        ([], "rows of the wrong length; expected 65 numbers, found []"),
        ([row(), row(value="x")], "not a table of numbers (could not convert string to float: 'x')"),
        ([row(), row(value="17")], "row 1, column 0 is out of range; expected a whole number from 0 to 16, found 17.0"),
        ([row(), row(value="nan")], "row 1, column 0 is out of range"),
        ([row(), row(value="0.5")], "row 1, column 0 is out of range"),
        ([row(), row(label=11)], "label 1 is out of range; expected 0 to 9, found 11"),
    ],
)
def test_damage_is_named(tmp_path, rows, message):
    path = put(tmp_path, rows)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        Digits(tmp_path)
    assert caught.value.file == str(path)


def test_damaged_gzip_and_bomb(tmp_path):
    path = put(tmp_path, [row()] * 50)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="the compressed file is truncated"):
        Digits(tmp_path)
    path.write_bytes(gzip.compress(bytes(1 << 23)))
    with pytest.raises(DataError, match="the file is too large; expected less than 4194304 bytes unpacked"):
        Digits(tmp_path)


def test_missing(tmp_path, monkeypatch):
    with pytest.raises(
        DataNotFoundError, match="the file is not there; without root= the one inside scikit-learn is read"
    ):
        Digits(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        DataNotFoundError, match=r"come with scikit-learn, which is not installed: python -m pip install scikit-learn"
    ):
        Digits()
