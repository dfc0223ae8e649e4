"""Files of Caffe: written here field by field, as the description of the format says."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from minidl.io import WeightsError, load_caffe, load_weights


def varint(number: int) -> bytes:
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, content: bytes | int) -> bytes:
    """A field of bytes (kind 2) or of a number (kind 0)."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array: np.ndarray, packed: bool = True) -> bytes:
    shape = b"".join(map(varint, array.shape))
    shape = field(1, shape) if packed else b"".join(field(1, n) for n in array.shape)
    number, kind = (5, 5) if array.dtype == np.float32 else (8, 1)
    if packed:
        data = field(number, array.tobytes())
    else:
        data = b"".join(varint(number << 3 | kind) + value.tobytes() for value in array.ravel())
    return field(7, shape) + data


def old_blob(array: np.ndarray) -> bytes:
    n, c, h, w = (1,) * (4 - array.ndim) + array.shape
    return field(1, n) + field(2, c) + field(3, h) + field(4, w) + field(5, array.astype("<f4").tobytes())


def net(layers: dict[str, list[bytes]], old: bool = False) -> bytes:
    """A name, then the layers with a kind, arrays, and a field of parameters that is passed over."""
    out = field(1, b"a net")
    for name, blobs in layers.items():
        if old:
            body = b"".join(field(6, b) for b in blobs) + field(4, name.encode()) + field(5, 14)
        else:
            body = field(1, name.encode()) + field(2, b"Convolution") + b"".join(field(7, b) for b in blobs)
        out += field(2 if old else 100, body + field(117, b"\x08\x05"))
    return out + varint(3 << 3 | 5) + struct.pack("<f", 1.5)


@pytest.fixture
def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 2, 5), (4,), (7, 300), (7,))]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_names_shapes_and_numbers(tmp_path: Path, arrays: list[np.ndarray], packed: bool, dtype: type) -> None:
    a, b, c, d = (array.astype(dtype) for array in arrays)
    layers = {"conv1/3x3": [blob(a, packed), blob(b, packed)], "data": [], "bn": [blob(x, packed) for x in (b, b, d)]}
    path = tmp_path / "a.caffemodel"
    path.write_bytes(net(layers | {"ip1": [blob(c, packed), blob(d, packed)]}))
    expected = {
        "conv1/3x3.weight": a, "conv1/3x3.bias": b, "bn.weight": b, "bn.bias": b, "bn.2": d,
        "ip1.weight": c, "ip1.bias": d,
    }  # fmt: skip
    for weights in (load_caffe(path), load_weights(path)):
        assert list(weights) == list(expected)
        for name, array in expected.items():
            assert weights[name].dtype == dtype
            np.testing.assert_array_equal(weights[name], array)
    with pytest.raises(WeightsError, match="chooses inside PyTorch files; this is a caffe file"):
        load_weights(path, key="x")


def test_the_format_of_2014(tmp_path: Path, arrays: list[np.ndarray]) -> None:
    a, b, c, d = arrays
    path = tmp_path / "a"
    layers = {"conv": [old_blob(a), old_blob(b)], "ip": [old_blob(c), old_blob(d)]}
    for content in (net(layers, old=True), net(layers, old=True)[7:]):  # with a name of the net and without
        path.write_bytes(content)
        found = load_weights(path)
        for name, array in zip(("conv.weight", "conv.bias", "ip.weight", "ip.bias"), arrays, strict=True):
            assert found[name].shape == array.shape
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "content, message",
    [
        (field(1, b"a net"), "no layers in it: this is no file of Caffe's weights"),
        (field(100, field(7, field(7, field(1, 6)) + field(5, bytes(20)))), "an array of the shape (6,) has 5 numbers"),
        (field(100, field(7, field(7, field(1, varint(0) + varint(1 << 63))))), "an array of 0 numbers: "),
        (field(100, field(7, field(7, field(1, b"\x01" * 70)) + field(5, bytes(4)))), "an array of 1 numbers: "),
        (field(100, field(7, field(5, bytes(21)))), "21 bytes are no numbers of 4 bytes (at byte"),
        (field(100, field(7, varint(5 << 3 | 1) + bytes(8))), "8 bytes are no numbers of 4 bytes"),
        (field(100, b"\x0a\x7f"), "a field goes on for 127 bytes behind the end of what holds it (at byte"),
        (field(1, b"a") + b"\x0b", "a field of the kind 3, which Caffe's files do not have (at byte 3)"),
        (field(1, b"a") + b"\x08\x80", "the file ends inside a number (at byte 5)"),
        (field(1, b"a") + b"\x08" + b"\xff" * 12, "a number of more than ten bytes"),
        (field(1, b"a") + varint(2 << 3 | 2) + varint(1 << 62), "behind the end of what holds it"),
    ],
)
def test_files_that_are_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(message)):
        load_weights(tmp_path / "a")


def test_any_damage_is_refused_or_changes_numbers_only(tmp_path: Path, arrays: list[np.ndarray]) -> None:
    """2,000 files with bytes changed, cut out or put in: a WeightsError, or arrays no larger than the file."""
    a, b, c, d = arrays
    whole = net({"conv": [blob(a), blob(b)]}) + net({"ip": [old_blob(c[:, :9]), old_blob(d)]}, old=True)
    rng = np.random.default_rng(1)
    path = tmp_path / "a"
    refused = 0
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(damaged)))
            match rng.integers(3):
                case 0:
                    damaged[at] = rng.integers(256)
                case 1:
                    del damaged[at : at + int(rng.integers(1, 40))]
                case 2:
                    damaged[at:at] = rng.bytes(int(rng.integers(1, 40)))
        path.write_bytes(damaged)
        try:
            found = load_caffe(path)
        except WeightsError:
            refused += 1
        else:
            assert sum(array.nbytes for array in found.values()) <= len(damaged)
    assert 500 < refused < 2000
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            load_caffe(path)
        except WeightsError:
            continue


def test_a_file_of_caffe_itself(shared_data: Path) -> None:
    folder = shared_data / "weights" / "lenet_caffe"
    found = load_weights(folder / "lenet_iter_10000.caffemodel")
    with np.load(folder / "lenet.npz") as expected:
        for (name, array), other in zip(found.items(), expected.values(), strict=True):
            np.testing.assert_array_equal(array, other.reshape(array.shape), err_msg=name)
    assert list(found)[:2] == ["conv1.weight", "conv1.bias"] and found["ip1.weight"].shape == (500, 800)
