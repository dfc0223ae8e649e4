import gzip
import re
import struct

import numpy as np
import pytest

from minidl.data import DataError, read_idx, write_idx

DTYPES = [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]


@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0, 28, 28)])
def test_round_trip(tmp_path, name, dtype, shape):
    array = (np.random.default_rng(0).normal(size=shape) * 50).astype(dtype)
    write_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert back.dtype == dtype and back.dtype.isnative and back.flags.writeable
    np.testing.assert_array_equal(back, array)
    assert [p.name for p in tmp_path.iterdir()] == [name]  # no temporary file is left


def test_bytes_are_the_format(tmp_path):
    write_idx(tmp_path / "a", np.array([[1, -2]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xFF, 0xFE])


def test_non_contiguous_and_big_endian_arrays(tmp_path):
    array = np.arange(12, dtype=">f4").reshape(3, 4).T[::2]
    write_idx(tmp_path / "a", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


def test_same_array_same_gzip_bytes(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, np.arange(100, dtype=np.uint8))
    a, b = (tmp_path / "a.gz").read_bytes(), (tmp_path / "b.gz").read_bytes()
    assert a == b


def test_unknown_dtype_is_not_written(tmp_path):
    with pytest.raises(TypeError, match="IDX has no dtype int64; it knows uint8, int8"):
        write_idx(tmp_path / "a", np.arange(3))
    assert not list(tmp_path.iterdir())


def idx_bytes(shape=(2, 3), code=0x08, payload=None):
    payload = bytes(range(6)) if payload is None else payload
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + payload


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (
            b"PK\x03\x04rest",
            0,
            "wrong magic number; expected two zero bytes, found 0x504b0304. This is not an IDX file",
        ),
        (
            b"\0\0",
            0,
            "the file is too short for the magic number; expected 4 bytes in all, found 2. Fetch the file again",
        ),
        (idx_bytes(code=0x0A), 2, "unknown dtype in the magic number; expected one of 0x08, 0x09, 0x0b"),
        (b"\0\0\x08\x03\0\0\0\x01", 4, "the file is too short for the 3 sizes; expected 16 bytes in all, found 8"),
        (
            idx_bytes()[:-2],
            12,
            "short for the values of an array 2x3; expected 18 bytes in all, found 16",
        ),
        (idx_bytes() + b"x", 18, "the file goes on after its data; expected its end, found more bytes"),
        (idx_bytes((0, 2**32 - 1, 2**32 - 1, 2**32 - 1), payload=b""), 4, "sizes that no array can have"),
        (
            b"\0\0\x08\x21" + struct.pack(">33I", *[1] * 33) + b"x",
            3,
            "too many dimensions; expected at most 32, found 33",
        ),
    ],
)
def test_damage_is_named(tmp_path, data, offset, message):
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}, byte {offset}: ")
    assert caught.value.offset == offset and caught.value.file == str(path)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda z: z[: len(z) // 2], "the compressed file is truncated. Fetch the file again"),
        (lambda z: z[:40] + bytes(40) + z[80:], "the compressed data is corrupt"),
        (lambda z: z[:-8] + bytes(8), "the compressed data is corrupt (CRC check failed"),
        (lambda z: z + b"garbage", "the compressed data is corrupt (Not a gzipped file"),
    ],
)
def test_damaged_gzip_is_named(tmp_path, spoil, message):
    values = np.random.default_rng(0).integers(0, 256, 4000, np.uint8)
    path = tmp_path / "bad.gz"
    path.write_bytes(spoil(gzip.compress(idx_bytes((4000,), payload=values.tobytes()), mtime=0)))
    with pytest.raises(DataError, match=re.escape(message)):
        read_idx(path)


def test_gzip_that_ends_inside_the_values(tmp_path):
    path = tmp_path / "short.gz"
    path.write_bytes(gzip.compress(idx_bytes((2, 3))[:-2]))
    with pytest.raises(DataError, match=r"byte 16: the file ends inside .*; expected 6 bytes from byte 12, found 4"):
        read_idx(path)


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    (tmp_path / "a.gz").write_bytes(idx_bytes())
    (tmp_path / "b").write_bytes(gzip.compress(idx_bytes()))
    np.testing.assert_array_equal(read_idx(tmp_path / "a.gz"), read_idx(tmp_path / "b"))


@pytest.mark.parametrize("packed", [False, True])
def test_hostile_header_allocates_nothing(tmp_path, packed):
    tracemalloc = pytest.importorskip("tracemalloc")
    data = idx_bytes((2**31, 1, 1))
    path = tmp_path / "hostile"
    path.write_bytes(gzip.compress(data) if packed else data)
    tracemalloc.start()
    try:
        with pytest.raises(
            DataError, match=r"(more than this compressed file may hold|too short for the values)\b.*2147483664 bytes"
        ):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_gzip_bomb_stops_at_the_limit(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx_bytes((10_000_000,), payload=bytes(10_000_000))))
    with pytest.raises(DataError, match=r"may hold; expected at most 1000000 bytes, found 10000008 bytes promised"):
        read_idx(path, max_bytes=1_000_000)
    assert len(read_idx(path)) == 10_000_000
