"""Thousands of damaged files: a DataError, or a good result; nothing else, and no memory to speak of."""

import gzip
import tracemalloc
import warnings

import numpy as np
import pytest

from minidl.data import CIFAR10, CIFAR100, MNIST, DataError, load_data_pickle, read_idx, write_idx
from minidl.data.cifar import parse_cifar_binary, parse_cifar_pickle
from tests.data.cifar_files import binary_batch, python2_batch, random_images, write_archive
from tests.mutated import mutated


def survives(read, cases):
    """Run ``read(case)`` for each; count the DataErrors, let everything else through."""
    refused = 0
    tracemalloc.start()
    try:
        for case in cases:
            try:
                read(case)
            except DataError as error:
                assert str(error)
                refused += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000
    return refused


@pytest.mark.parametrize("packed", [False, True])
def test_idx(tmp_path, packed):
    source, path = tmp_path / ("a.gz" if packed else "a"), tmp_path / "bad"
    write_idx(source, np.random.default_rng(0).integers(0, 256, (6, 9, 5), np.uint8))
    data, rng = source.read_bytes(), np.random.default_rng(1)

    def read(case):
        path.write_bytes(case)
        read_idx(path)

    assert survives(read, (mutated(data, rng) for _ in range(1200))) > 500


def test_idx_inside_a_good_gzip(tmp_path):
    source, path = tmp_path / "a", tmp_path / "bad.gz"
    write_idx(source, np.random.default_rng(0).integers(0, 256, (6, 9, 5), np.uint8))
    data, rng = source.read_bytes(), np.random.default_rng(2)

    def read(case):
        path.write_bytes(gzip.compress(case, 1))
        read_idx(path)

    assert survives(read, (mutated(data, rng) for _ in range(800))) > 300


def test_mnist_set(tmp_path):
    names = {"images-idx3": np.zeros((4, 28, 28), np.uint8), "labels-idx1": np.arange(4, dtype=np.uint8)}
    good = {}
    for name, array in names.items():
        write_idx(tmp_path / f"train-{name}-ubyte", array)
        good[name] = (tmp_path / f"train-{name}-ubyte").read_bytes()
    rng = np.random.default_rng(3)

    def read(case):
        name, data = case
        (tmp_path / f"train-{name}-ubyte").write_bytes(data)
        try:
            assert MNIST(tmp_path).targets.max(initial=0) <= 9
        finally:
            (tmp_path / f"train-{name}-ubyte").write_bytes(good[name])

    cases = ((name, mutated(good[name], rng)) for _ in range(300) for name in names)
    assert survives(read, cases) > 250


def test_cifar_binary():
    data, rng = binary_batch(random_images(3), [1, 2, 3]), np.random.default_rng(4)
    assert (
        survives(lambda case: parse_cifar_binary(case, "f", 1, (10,)), (mutated(data, rng) for _ in range(1500))) > 500
    )


@pytest.mark.parametrize("labels", [0, 400])
def test_cifar_pickle(labels):
    # with no pixels almost every byte is structure
    data = python2_batch(random_images(labels // 400 * 3), {"labels": [1, 2, 3][: labels // 400 * 3]})
    rng = np.random.default_rng(5 + labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in texts of protocol 0
        refused = survives(
            lambda case: parse_cifar_pickle(case, "f", (b"labels",), (10,)), (mutated(data, rng) for _ in range(2500))
        )
    assert refused > 800


def test_random_programs():
    """Random opcodes behind a good head: whatever the machine does, it stays inside."""
    opcodes = b".(}])tlds\x85\x86\x87Rb0120NKMJIqrhjgpueaUTXVcS\x88\x89\x8aF\n\x93\x94"
    names = (
        b"cnumpy\ndtype\n",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"c_codecs\nencode\n",
        b"cnumpy\nndarray\n",
        b"U\x02u1",
    )
    rng = np.random.default_rng(6)

    def program():
        parts = [
            names[rng.integers(len(names))] if rng.random() < 0.25 else bytes([opcodes[rng.integers(len(opcodes))]])
            for _ in range(rng.integers(1, 30))
        ]
        return b"\x80\x02" + b"".join(parts) + b"."

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert survives(lambda case: load_data_pickle(case, "f"), (program() for _ in range(5000))) > 3000


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_archives(tmp_path, kind):
    folder = kind.folders[0]
    labels = {key.decode(): [1, 2] for key in kind.keys}
    archive = tmp_path / kind.archives[0].name
    write_archive(archive, {f"{folder}/{name}": python2_batch(random_images(2), labels) for name in kind.members[0][1]})
    data, tar, rng = archive.read_bytes(), gzip.decompress(archive.read_bytes()), np.random.default_rng(7)

    def read(case):
        archive.write_bytes(case)
        kind(tmp_path, train=False)

    assert survives(read, (mutated(data, rng) for _ in range(200))) > 100
    assert survives(read, (gzip.compress(mutated(tar, rng), 1) for _ in range(400))) > 100
