import gzip
import pickle
import re
import tarfile

import numpy as np
import pytest

from minidl.data import CIFAR10, CIFAR100, DataError, DataNotFoundError
from minidl.data import cifar as cifar_module
from tests.data.cifar_files import binary_batch, python2_batch, random_images, write_archive

N = 4
IMAGES = random_images(5 * N)
LABELS = (np.arange(5 * N) * 3 % 10).tolist()
FINE = (np.arange(5 * N) * 7 % 100).tolist()
COARSE = (np.arange(5 * N) * 7 % 20).tolist()


def cifar10_files(binary):
    files = {}
    for i in range(5):
        part = slice(i * N, (i + 1) * N)
        if binary:
            files[f"cifar-10-batches-bin/data_batch_{i + 1}.bin"] = binary_batch(IMAGES[part], LABELS[part])
        else:
            files[f"cifar-10-batches-py/data_batch_{i + 1}"] = python2_batch(IMAGES[part], {"labels": LABELS[part]})
    if binary:
        files["cifar-10-batches-bin/test_batch.bin"] = binary_batch(IMAGES[:2], LABELS[:2])
    else:
        files["cifar-10-batches-py/test_batch"] = python2_batch(IMAGES[:2], {"labels": LABELS[:2]})
    return files


def cifar100_files(binary):
    if binary:
        return {
            f"cifar-100-binary/{p}.bin": binary_batch(IMAGES[:n], COARSE[:n], FINE[:n])
            for p, n in (("train", 9), ("test", 2))
        }
    return {
        f"cifar-100-python/{p}": python2_batch(IMAGES[:n], {"coarse_labels": COARSE[:n], "fine_labels": FINE[:n]})
        for p, n in (("train", 9), ("test", 2))
    }


def put(root, files, how, archive):
    if how == "archive":
        write_archive(root / archive, files)
        return
    for name, data in files.items():
        path = root / (name if how == "folder" else name.split("/")[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["folder", "flat", "archive"])
@pytest.mark.parametrize("binary", [False, True])
def test_cifar10(tmp_path, how, binary):
    put(tmp_path, cifar10_files(binary), how, f"cifar-10-{'binary' if binary else 'python'}.tar.gz")
    train, test = CIFAR10(tmp_path), CIFAR10(tmp_path, train=False)
    np.testing.assert_array_equal(train.data, IMAGES)
    assert train.targets.tolist() == LABELS and train.targets.dtype == np.int64 and train.data.flags.writeable
    np.testing.assert_array_equal(test.data, IMAGES[:2])
    assert train[0][0].shape == (3, 32, 32) and train.class_to_idx["truck"] == 9


@pytest.mark.parametrize("how", ["folder", "archive"])
@pytest.mark.parametrize("binary", [False, True])
def test_cifar100(tmp_path, how, binary):
    put(tmp_path, cifar100_files(binary), how, f"cifar-100-{'binary' if binary else 'python'}.tar.gz")
    fine, coarse = CIFAR100(tmp_path), CIFAR100(tmp_path, coarse=True)
    np.testing.assert_array_equal(fine.data, IMAGES[:9])
    assert fine.targets.tolist() == FINE[:9] and coarse.targets.tolist() == COARSE[:9]
    assert len(fine.classes) == 100 and len(coarse.classes) == 20
    assert list(fine.classes) == sorted(fine.classes) and coarse.classes[2] == "flowers"
    assert len(CIFAR100(tmp_path, train=False)) == 2


def test_pickles_of_python_3_are_read_too(tmp_path):
    (tmp_path / "test_batch").write_bytes(
        pickle.dumps({"data": IMAGES[:2].reshape(2, -1), "labels": np.array([1, 2])}, protocol=2)
    )
    assert CIFAR10(tmp_path, train=False).targets.tolist() == [1, 2]


def test_missing_files_are_listed(tmp_path):
    with pytest.raises(DataNotFoundError) as caught:
        CIFAR10(tmp_path)
    text = str(caught.value)
    assert "CIFAR10 (one of the two, packed or unpacked) needs these files in" in text
    assert (
        "cifar-10-python.tar.gz  (md5:c58f30108f718f92721af3b95e74349a)" in text
        and "download=True), or --download on the command line" in text
    )
    files = cifar10_files(False)
    del files["cifar-10-batches-py/data_batch_4"]
    put(tmp_path, files, "folder", "")
    with pytest.raises(DataNotFoundError, match=r"data_batch_4: the file is missing beside the others of its set"):
        CIFAR10(tmp_path)
    assert len(CIFAR10(tmp_path, train=False)) == 2


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (binary_batch(IMAGES[:2], [1, 2])[:-1], 3073, "inside a record; expected records of 3073 bytes, found 3072"),
        (b"", 0, "the file is empty; expected records of 3073 bytes, found 0 bytes"),
        (binary_batch(IMAGES[:3], [1, 2, 10]), 6146, "label 2 is out of range; expected 0 to 9, found 10"),
    ],
)  # fmt: skip
def test_damaged_binary_files(tmp_path, data, offset, message):
    path = tmp_path / "test_batch.bin"
    path.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        CIFAR10(tmp_path, train=False)
    assert str(caught.value).startswith(f"{path}, byte {offset}: ") and caught.value.offset == offset


def test_damaged_binary_labels_of_cifar100(tmp_path):
    (tmp_path / "test.bin").write_bytes(binary_batch(IMAGES[:2], [1, 2], [3, 100]))
    with pytest.raises(DataError, match="byte 3075: label 1 is out of range; expected 0 to 99, found 100"):
        CIFAR100(tmp_path, train=False)


GOOD = {"data": IMAGES[:2].reshape(2, -1), "labels": [1, 2]}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "not a CIFAR batch; expected a dict, found list"),
        ({"data": GOOD["data"]}, "not a CIFAR batch; expected an entry 'labels', found"),
        (GOOD | {"data": IMAGES[:2]}, "in 'data'; expected (N, 3072) of uint8, found (2, 3, 32, 32) of uint8"),
        (GOOD | {"data": GOOD["data"].astype(float)}, "expected (N, 3072) of uint8, found (2, 3072) of float64"),
        (GOOD | {"data": [1]}, "expected (N, 3072) of uint8, found list"),
        (GOOD | {"labels": [1, 2, 3]}, "as many 'labels' as images are needed; expected 2, found 3"),
        (GOOD | {"labels": [1, 10]}, "label 1 is out of range; expected 0 to 9, found 10"),
        (GOOD | {"labels": [1, -1]}, "label 1 is out of range; expected 0 to 9, found -1"),
        (GOOD | {"labels": [1, "cat"]}, "'labels' is not a list of labels; expected whole numbers, found list"),
        (GOOD | {"labels": [1, 2**80]}, "'labels' is not a list of labels"),
        (GOOD | {"labels": 7}, "'labels' is not a list of labels; expected whole numbers, found int"),
    ],
)
def test_pickles_that_are_no_batches(tmp_path, batch, message):
    path = tmp_path / "test_batch"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        CIFAR10(tmp_path, train=False)
    assert caught.value.file == str(path)


def test_truncated_pickle(tmp_path):
    data = python2_batch(IMAGES[:2], {"labels": [1, 2]})
    names = (data.index(b"cnumpy.core") + 3, data.index(b"cnumpy\n") + 4, data.index(b"_reconstruct") + 5)
    for length in (len(data) - 1, len(data) - 30, 4000, *names, data.index(b"\x86cnumpy") - 1):
        (tmp_path / "test_batch").write_bytes(data[:length])
        message = rf"test_batch, byte {length}: not a pickle of plain data \(it is truncated, it ends too early\)"
        with pytest.raises(DataError, match=message):
            CIFAR10(tmp_path, train=False)


def test_damaged_archives(tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    write_archive(archive, cifar10_files(False))
    whole = archive.read_bytes()
    for data in (
        whole[: len(whole) // 2],
        whole[:2000] + bytes(500) + whole[2500:],
        gzip.compress(b"x" * 2000),
        b"\x1f\x8b",
    ):
        archive.write_bytes(data)
        with pytest.raises(DataError, match="the archive is truncated or corrupt") as caught:
            CIFAR10(tmp_path)
        assert caught.value.file == str(archive)
    files = cifar10_files(False)
    del files["cifar-10-batches-py/data_batch_5"]
    write_archive(archive, files)
    with pytest.raises(
        DataError, match=r"a file is missing in the archive; expected cifar-10-batches-py/data_batch_5, found \["
    ):
        CIFAR10(tmp_path)


def test_links_in_an_archive_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(python2_batch(IMAGES[:1], {"labels": [1]}))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    with pytest.raises(DataError, match="a file is missing in the archive"):
        CIFAR10(tmp_path, train=False)


def test_bombs_stop_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_module, "_MOST", 1 << 20)
    bomb = bytes(3 << 20)
    write_archive(tmp_path / "cifar-10-python.tar.gz", {"something/else": bomb})
    with pytest.raises(DataError, match="the archive is too large; expected at most 1048576 bytes, found more"):
        CIFAR10(tmp_path)
    (tmp_path / "test_batch").write_bytes(bomb)
    with pytest.raises(DataError, match="the file is too large; expected at most 1048576 bytes, found 3145728"):
        CIFAR10(tmp_path, train=False)
