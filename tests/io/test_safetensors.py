"""safetensors: any memory layout (finding 3 of ECOSYSTEM), hostile files, full disks."""

import json
import os
import pickle
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.io import WeightsError, load_safetensors, read_header, save_safetensors

safetensors_numpy = pytest.importorskip("safetensors.numpy")
ROOT = Path(__file__).parents[2]


def random_array(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return (np.random.default_rng(5).standard_normal(shape) * 50).astype(dtype)


LAYOUTS = {
    "contiguous": random_array(3, 4),
    "transposed": random_array(4, 3).T,
    "permuted": random_array(2, 5, 3, 4).transpose(0, 3, 1, 2),  # an NCHW view of NHWC memory
    "strided": random_array(6, 8)[::2, 1::3],
    "sliced": random_array(6, 8)[:, 2:5],
    "reversed": random_array(7)[::-1],
    "broadcast": np.broadcast_to(random_array(3), (4, 3)),
    "zero stride": np.broadcast_to(np.float32(2.5), (2, 3)),
    "fortran": np.asfortranarray(random_array(3, 5)),
    "length one": random_array(5, 1, 3).transpose(1, 0, 2)[:, ::2],
    "scalar": np.array(1.5, np.float32),
    "empty": random_array(0, 3),
    "big endian": random_array(2, 3).astype(">f4"),
    "big endian transposed": random_array(2, 3).astype(">f4").T,
    "read only": np.frombuffer(random_array(4).tobytes(), np.float32),
    "from a field": np.zeros(4, [("a", "<f4"), ("b", "<i2")])["b"] + np.arange(4, dtype=np.int16),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_memory_layout_survives(tmp_path: Path, layout: str) -> None:
    array, path = LAYOUTS[layout], tmp_path / "w.safetensors"
    before = array.copy()
    save_safetensors(path, {"w": array})
    for read in (load_safetensors, safetensors_numpy.load_file):
        result = read(path)["w"]
        assert result.shape == array.shape and result.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(result, before)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "c8", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"])
def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    array = random_array(3, 2).astype(dtype).T
    save_safetensors(tmp_path / "w", {"w": array})
    for read in (load_safetensors, safetensors_numpy.load_file):
        result = read(tmp_path / "w")["w"]
        assert result.dtype == array.dtype
        np.testing.assert_array_equal(result, array)


def test_many_arrays_names_and_metadata(tmp_path: Path) -> None:
    arrays = {f"features.{i}.weight/ü": random_array(i, 3, dtype=["f4", "f8", "i1"][i % 3]) for i in range(9)}
    path = tmp_path / "w.safetensors"
    save_safetensors(path, arrays, {"epoch": "3", "note": "ä"})
    header = read_header(path)
    assert header.metadata == {"epoch": "3", "note": "ä"}
    assert {n: (e.dtype, e.shape) for n, e in header.entries.items()} == {
        n: (a.dtype.name, a.shape) for n, a in arrays.items()
    }
    loaded = load_safetensors(path)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].flags.writeable and loaded[name].flags.owndata


def test_a_file_of_the_library_is_read(tmp_path: Path) -> None:
    arrays = {"a": random_array(3, 4), "b": random_array(2, dtype="i8"), "none": random_array(0)}
    safetensors_numpy.save_file(arrays, tmp_path / "w", metadata={"format": "np"})
    loaded = load_safetensors(tmp_path / "w")
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_no_arrays(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "w", {})
    assert load_safetensors(tmp_path / "w") == {}


def test_bfloat16_needs_ml_dtypes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    write(path, {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\x80\x3f\x00\xc0")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(WeightsError, match="'w' is bfloat16, which NumPy lacks: python -m pip install ml-dtypes"):
        load_safetensors(path)


def test_bfloat16_with_ml_dtypes(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = random_array(3, 4).astype(ml_dtypes.bfloat16).T
    save_safetensors(tmp_path / "w", {"w": array})
    result = load_safetensors(tmp_path / "w")["w"]
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result.astype(np.float32), array.astype(np.float32))


# What cannot be saved ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"w": np.array([None])}, {}, "array 'w': safetensors has no dtype for NumPy's object"),
        ({"w": np.zeros(2, "c16")}, {}, "array 'w': safetensors has no dtype for NumPy's complex128"),
        ({"w": np.array(["a"])}, {}, "array 'w': safetensors has no dtype for NumPy's <U1"),
        ({3: np.zeros(2)}, {}, "the name of an array is a string other than '__metadata__', not 3"),
        ({"__metadata__": np.zeros(2)}, {}, "the name of an array is a string other than '__metadata__'"),
        ({"w": np.zeros(2)}, {"epoch": 3}, r"metadata is text: 'epoch' -> 3; .* e\.g\. str\(3\)"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    tmp_path: Path, tensors: dict[Any, np.ndarray], metadata: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        save_safetensors(tmp_path / "w", tensors, metadata)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_error_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match="python -m pip install safetensors"):
        save_safetensors(tmp_path / "w", {"w": np.zeros(2)})


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_safetensors(path, {"w": np.ones(3, np.float32)})
    code = f"""
        import resource, sys
        import numpy as np
        sys.path.insert(0, {str(ROOT)!r})
        from minidl.io import save_safetensors
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save_safetensors({str(path)!r}, {{"w": np.zeros(100_000)}})
        except OSError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert "larger than the limit for files here. The file from before is unchanged." in done.stdout, done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]
    np.testing.assert_array_equal(load_safetensors(path)["w"], np.ones(3, np.float32))


def test_a_library_that_writes_wrong_shapes_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    save_safetensors(path, {"w": np.ones(3)})
    old = path.read_bytes()
    save_file = safetensors_numpy.save_file

    def wrong(arrays: dict[str, np.ndarray], *args: Any, **options: Any) -> None:
        save_file({name: array.reshape(-1) for name, array in arrays.items()}, *args, **options)

    monkeypatch.setattr(safetensors_numpy, "save_file", wrong)
    with pytest.raises(WeightsError, match="does not read back as what was given; nothing was replaced"):
        save_safetensors(path, {"w": np.ones((2, 2))})
    assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 1


# Damaged and hostile files -------------------------------------------------------------------------------


def write(path: Path, header: Any, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE: dict[str, tuple[Any, bytes, str, int | None]] = {
    "not JSON": (b'{"a" 1}', b"", "the header is not JSON: Expecting ':' delimiter", 13),
    "not JSON after wide letters": ('{"äö" 1}'.encode(), b"", "the header is not JSON", 16),
    "not text": (b'{"\xff"}', b"", "the header is not text", 10),
    "a list": ([], b"", "the header is a JSON list, not an object", 8),
    "deep": (b"[" * 200_000, b"", "the header is not usable JSON", 8),
    "a number of 9999 digits": (b'{"a":' + b"1" * 9999 + b"}", b"", "the header is not usable JSON", 8),
    "twice": (b'{"a":1,"a":2}', b"", "the header names 'a' twice", 8),
    "metadata list": ({"__metadata__": []}, b"", "__metadata__ is not a table of strings", 8),
    "metadata number": ({"__metadata__": {"a": 1}}, b"", "__metadata__ is not a table of strings", 8),
    "entry number": ({"a": 3}, b"", "array 'a': its entry needs dtype, shape and data_offsets", 8),
    "entry without shape": ({"a": {"dtype": "F32", "data_offsets": [0, 0]}}, b"", "its entry needs", 8),
    "dtype": ({"a": entry("F3")}, b"0000", r"array 'a': unknown dtype 'F3'; known are F64, F32", 8),
    "dtype list": ({"a": entry(["F32"])}, b"0000", r"array 'a': unknown dtype \['F32'\]", 8),
    "negative shape": ({"a": entry(shape=[-1])}, b"0000", r"its shape \[-1\] is not a list of counts", 8),
    "fractional shape": ({"a": entry(shape=[1.0])}, b"0000", r"its shape \[1.0\] is not", 8),
    "boolean shape": ({"a": entry(shape=[True])}, b"0000", r"its shape \[True\] is not", 8),
    "shape number": ({"a": entry(shape=4)}, b"0000", "its shape 4 is not", 8),
    "three offsets": ({"a": entry(offsets=[0, 4, 8])}, b"0000", "are not two counts", 8),
    "negative offset": ({"a": entry(offsets=[-4, 0])}, b"0000", "are not two counts", 8),
    "swapped offsets": ({"a": entry(offsets=[4, 0])}, b"0000", "takes 4 bytes, data_offsets span -4", None),
    "too small": ({"a": entry(shape=[2])}, b"0000", r"F32 \[2\] takes 8 bytes, data_offsets span 4", None),
    "overflow": ({"a": entry(shape=[2**62, 4, 2**62])}, b"0000", "takes 340,", None),
    "an absurd empty array": ({"a": entry(shape=[0, 10**30], offsets=(0, 0))}, b"", "array 'a': ", None),
    "too many axes": ({"a": entry(shape=[1] * 99)}, b"0000", "array 'a': maximum supported dimension", None),
    "overlap": ({"a": entry(), "b": entry(offsets=(2, 6))}, b"000000", "'b' overlaps the array before", None),
    "same bytes": ({"a": entry(), "b": entry()}, b"0000", "'b' overlaps the array before it", None),
    "gap": ({"a": entry(), "b": entry(offsets=(6, 10))}, b"0" * 10, "'b' leaves a gap before it", None),
    "gap at the start": ({"a": entry(offsets=(2, 6))}, b"0" * 6, "'a' leaves a gap before it", None),
    "bytes at the end": ({"a": entry()}, b"0" * 7, "3 bytes follow the last array", None),
    "truncated": ({"a": entry()}, b"0", r"truncated: array 'a' ends at byte \d+, the file at \d+", None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_an_error_with_file_and_byte(tmp_path: Path, case: str) -> None:
    header, data, message, offset = HOSTILE[case]
    path = tmp_path / "bad.safetensors"
    write(path, header, data)
    with pytest.raises(WeightsError, match=message) as caught:
        load_safetensors(path)
    assert str(caught.value).startswith(str(path)) and caught.value.path == path
    assert caught.value.offset is not None and f"(at byte {caught.value.offset:,})" in str(caught.value)
    assert offset is None or caught.value.offset == offset
    again = pickle.loads(pickle.dumps(caught.value))  # as between worker processes
    assert (str(again), again.path, again.offset) == (str(caught.value), path, caught.value.offset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short for a safetensors file: 0 bytes, the header needs 8"),
        (b"1234567", "too short for a safetensors file: 7 bytes"),
        (b"\xff" * 8 + b"{}", "announce a header of 18,446,744,073,709,551,615 bytes, but 2 bytes follow"),
        (b"PK\x03\x04" + b"\0" * 40, "the file is truncated or not a safetensors file"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_safetensors(tmp_path / "bad")


def test_every_truncation_is_a_weights_error(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_safetensors(path, {"a": random_array(3), "b": random_array(2, 2, dtype="f8")}, {"k": "v"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            load_safetensors(path)


def test_random_damage_is_a_weights_error_or_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_safetensors(path, {"a": random_array(3), "b": random_array(2, 2, dtype="f8")}, {"k": "v"})
    whole = path.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    refused, rng = 0, random.Random(1)
    for _ in range(1500):
        damaged = bytearray(whole)
        damaged[rng.randrange(header_end)] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            load_safetensors(path)  # a name may have changed: that is no damage the format could show
        except WeightsError:
            refused += 1
    assert refused > 1000


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl.io import safetensors

    path = tmp_path / "w"
    save_safetensors(path, {"a": random_array(3)})
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:-5])
    monkeypatch.setattr(safetensors, "read_header", lambda _: header)
    with pytest.raises(WeightsError, match="the file ends inside the array 'a'"):
        load_safetensors(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_safetensors(tmp_path / "missing")
