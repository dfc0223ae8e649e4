"""npz: any name, equal bytes for equal arrays, no pickles, damaged files."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from minidl.io import WeightsError, load_npz, save_npz

ARRAYS = {
    "file": np.arange(6, dtype=np.int16).reshape(2, 3).T,  # numpy.savez cannot take this name
    "a/b.weight": np.linspace(0, 1, 7)[::2],
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "text": np.array(["one", "två"]),
}


@pytest.mark.parametrize("compress", [False, True])
def test_round_trip_also_through_numpy(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "arrays"
    save_npz(path, ARRAYS, compress)
    with np.load(path, allow_pickle=False) as theirs:
        for loaded in (load_npz(path), dict(theirs)):
            assert loaded.keys() == ARRAYS.keys()
            for name, array in ARRAYS.items():
                assert loaded[name].dtype == array.dtype and loaded[name].shape == array.shape
                np.testing.assert_array_equal(loaded[name], array)


def test_a_file_of_numpy_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(3), b=np.ones((2, 2)))
    loaded = load_npz(tmp_path / "x.npz")
    np.testing.assert_array_equal(loaded["a"], np.arange(3))
    np.testing.assert_array_equal(loaded["b"], np.ones((2, 2)))


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    save_npz(tmp_path / "1", ARRAYS)
    save_npz(tmp_path / "2", {name: array.copy(order="K") for name, array in ARRAYS.items()})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    with zipfile.ZipFile(tmp_path / "1") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_objects_are_refused_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(TypeError, match="array 'o' holds Python objects"):
        save_npz(path, {"o": np.array([{}])})
    assert not path.exists()
    np.savez(path, o=np.array([{}]))
    with pytest.raises(WeightsError, match=r"x\.npz: array 'o': not a usable \.npz file: Object arrays"):
        load_npz(path)


def test_every_truncation_is_a_weights_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save_npz(path, {"a": np.arange(5)})
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="not a usable"):
            load_npz(path)


@pytest.mark.parametrize("compress", [False, True])
def test_a_changed_bit_is_a_weights_error(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "x.npz"
    array = np.random.default_rng(3).standard_normal(200)
    save_npz(path, {"a": array}, compress)
    damaged = bytearray(path.read_bytes())
    damaged[600] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match="array 'a': not a usable"):
        load_npz(path)


def test_a_shape_larger_than_the_data(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"0" * 64)
    message = r"array 'a': not a usable .* shape \(1000000000000,\) .* does not fit into its .* bytes"
    with pytest.raises(WeightsError, match=message):
        load_npz(path)


def test_an_array_of_zeros_packs_well_and_is_read(tmp_path: Path) -> None:
    save_npz(tmp_path / "x", {"a": np.zeros(1_000_000)}, compress=True)
    assert (tmp_path / "x").stat().st_size < 10_000
    assert load_npz(tmp_path / "x")["a"].shape == (1_000_000,)


def test_other_ways_of_packing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", bytes(1_000_000))
    with pytest.raises(WeightsError, match="packed in a way that NumPy never uses"):
        load_npz(tmp_path / "x")


def test_bytes_after_an_array(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.save(tmp_path / "a.npy", np.arange(3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", (tmp_path / "a.npy").read_bytes() + b"more")
    with pytest.raises(WeightsError, match="bytes follow the array"):
        load_npz(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "missing.npz")
