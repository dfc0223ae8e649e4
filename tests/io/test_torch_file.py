"""PyTorch's checkpoints: read without PyTorch, both formats, and nothing in them is run."""

import io
import pickle
import re
import struct
import tracemalloc
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from minidl.io import Weights, WeightsError, load_torch, save_torch
from minidl.io.torch_write import _text
from tests.io.torch_files import MAGIC, SIX, both_formats, dictionary, older_file, storage, tensor, zip_file

DTYPES = (
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
)


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    named = {f"layer.{kind}": rng.integers(0, 2, (2, 3)).astype(kind) + np.zeros((), kind) for kind in DTYPES}
    named |= {"scalar": np.array(3), "empty": np.zeros((0, 3), np.float32), "transposed": named["layer.float32"].T}
    return named


def read(path: Path, data: bytes, **options: object) -> Weights:
    path.write_bytes(data)
    return load_torch(path, **options)  # type: ignore[arg-type]


def assert_equal(loaded: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(loaded) == list(expected)
    for name, array in expected.items():
        assert loaded[name].dtype == array.dtype and loaded[name].shape == array.shape, name
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)


# Reading and writing -----------------------------------------------------------------------------------


def test_round_trip(tmp_path: Path) -> None:
    save_torch(tmp_path / "a.pth", arrays())
    assert_equal(load_torch(tmp_path / "a.pth"), arrays())


@pytest.mark.parametrize("version", ["zip", "older"])
def test_both_formats_by_hand(tmp_path: Path, version: str) -> None:
    named = {"b": np.arange(6, dtype="<f4").reshape(2, 3), "a": np.array(7), "none": np.zeros((0, 2), "<f8")}
    loaded = read(tmp_path / "x", both_formats(named)[version])
    assert_equal(loaded, named)
    loaded["b"][0, 0] = 5  # writable


def test_equal_arrays_give_equal_bytes_with_aligned_storages(tmp_path: Path) -> None:
    save_torch(tmp_path / "1", arrays())
    save_torch(tmp_path / "2", {name: array.copy(order="K") for name, array in arrays().items()})
    data = (tmp_path / "1").read_bytes()
    assert data == (tmp_path / "2").read_bytes()
    with zipfile.ZipFile(tmp_path / "1") as archive:
        for member in archive.infolist():
            start = member.header_offset
            name, extra = struct.unpack("<HH", data[start + 26 : start + 30])
            assert (start + 30 + name + extra) % 64 == 0
            assert (member.date_time, member.create_system) == ((1980, 1, 1, 0, 0, 0), 3)


def test_large_entries_get_the_long_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl.io import torch_write

    monkeypatch.setattr(torch_write, "_ZIP64_FROM", 20)  # bytes, instead of 2 GB
    test_round_trip(tmp_path)
    test_equal_arrays_give_equal_bytes_with_aligned_storages(tmp_path)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"x": np.zeros(2, np.uint16)}, r"array 'x': files of PyTorch have no uint16; change it with array.astype"),
        ({"x": np.array(["text"])}, "array 'x': files of PyTorch have no <U4"),
        ({3: np.zeros(2)}, "the name of an array is a string, not 3"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, named: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        save_torch(tmp_path / "x.pth", named)
    assert not list(tmp_path.iterdir())


def test_the_byte_order_of_the_machine_that_wrote_it(tmp_path: Path) -> None:
    pickled = dictionary(
        x=tensor(storage()), c=tensor(storage("1", "ComplexFloatStorage", 2), (2,), (1,)),
        h=tensor(storage("2", "BFloat16Storage", 2), (2,), (1,)),
    )  # fmt: skip
    c = np.array([1 + 2j, 3 - 4j], "<c8")
    halves = np.array([0x3FC0, 0xC080], "<u2")  # 1.5 and -4
    for order, sign in ((b"little", "<"), (b"big", ">")):
        stored = {
            "0": SIX.astype(f"{sign}f4").tobytes(), "1": c.astype(f"{sign}c8").tobytes(),
            "2": halves.astype(f"{sign}u2").tobytes(),
        }  # fmt: skip
        loaded = read(tmp_path / "x", zip_file(pickled, stored, order))
        assert_equal(loaded, {"x": SIX.reshape(2, 3), "c": c, "h": np.array([1.5, -4], np.float32)})
        assert all(array.dtype.isnative for array in loaded.values())
    with pytest.raises(WeightsError, match="byte order b'middle'"):
        read(tmp_path / "x", zip_file(pickled, stored, b"middle"))


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    everything = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16)
    save_torch(tmp_path / "x.pth", {"x": everything})
    loaded = load_torch(tmp_path / "x.pth")["x"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, everything.astype(np.float32))


def test_shared_and_strided_storages(tmp_path: Path) -> None:
    pickled = dictionary(
        whole=tensor(storage()), turned=tensor(storage(), (3, 2), (1, 3)), part=tensor(storage(), (2,), (2,), 1),
        spread=tensor(storage(), (4, 2), (0, 1)), one=tensor(storage(), (1, 2), (2**62, 1)),
    )  # fmt: skip
    for data in (zip_file(pickled, {"0": SIX.tobytes()}), older_file(pickled, {"0": (6, SIX.tobytes())})):
        loaded = read(tmp_path / "x", data)
        whole = SIX.reshape(2, 3)
        expected = {"whole": whole, "turned": whole.T, "part": SIX[1:4:2], "spread": np.tile(SIX[:2], (4, 1))}
        assert_equal(loaded, {**expected, "one": SIX[:2].reshape(1, 2)})
        loaded["whole"][0, 1] = 9
        assert loaded["turned"][1, 0] == 9 and loaded["part"][0] == 9  # they share memory, as in PyTorch


@pytest.mark.parametrize("older", [False, True])
def test_a_lazy_negative_is_refused_and_not_read_with_the_wrong_sign(tmp_path: Path, older: bool) -> None:
    torch = pytest.importorskip("torch")
    imaginary = torch.tensor([1 + 2j, 3 - 4j]).conj().imag  # a view with the mark "neg"
    assert imaginary.is_neg()
    torch.save({"x": imaginary}, tmp_path / "x.pt", _use_new_zipfile_serialization=not older)
    with pytest.raises(WeightsError, match="a tensor whose numbers are stored with the other sign"):
        load_torch(tmp_path / "x.pt")
    torch.save({"x": imaginary.resolve_neg()}, tmp_path / "y.pt", _use_new_zipfile_serialization=not older)
    np.testing.assert_array_equal(load_torch(tmp_path / "y.pt")["x"], [-2.0, 4.0])


def test_parts_of_storages_of_the_older_format(tmp_path: Path) -> None:
    def view(start: int, count: int) -> bytes:
        return b"(" + b"U\x02v1" + b"J" + struct.pack("<i", start) + b"J" + struct.pack("<i", count) + b"t"

    def file(start: int, count: int) -> bytes:
        pickled = dictionary(x=tensor(storage(view=view(start, count)), (2,), (1,), 1))
        return older_file(pickled, {"0": (6, SIX.tobytes())})

    assert read(tmp_path / "x", file(2, 3))["x"].tolist() == [3, 4]
    with pytest.raises(WeightsError, match=r"a part \[4, 7\) of a storage of 6 elements"):
        read(tmp_path / "x", file(4, 3))
    with pytest.raises(WeightsError, match=r"needs 3 elements, its storage 'v1' has 2"):
        read(tmp_path / "x", file(2, 2))


def test_archives_without_checksums(tmp_path: Path) -> None:
    data = zip_file(dictionary(x=tensor(storage())), {"0": SIX.tobytes()})
    without = bytearray(data)
    for signature, at in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        for match in re.finditer(signature, data):
            without[match.start() + at : match.start() + at + 4] = bytes(4)
    assert read(tmp_path / "x", bytes(without))["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    damaged = data.replace(SIX.tobytes(), SIX[::-1].tobytes())
    with pytest.raises(WeightsError, match="Bad CRC-32 for file 'archive/data/0'"):
        read(tmp_path / "x", damaged)


# Where the weights are ---------------------------------------------------------------------------------

X = tensor(storage())


def nested(**values: bytes) -> bytes:
    return dictionary(**values)[2:-1]


@pytest.mark.parametrize(
    ("pickled", "names", "key", "extra"),
    [
        (dictionary(x=X, epoch=b"K\x03"), ["x"], "", {"epoch": 3}),
        (dictionary(state_dict=nested(x=X), epoch=b"K\x03", best=b"G\x3f\xf0" + bytes(6)), ["x"], "state_dict",
         {"epoch": 3, "best": 1.0}),
        (dictionary(model=nested(state_dict=nested(x=X, n=b"N"), arch=b"U\x03r20")), ["x"], "model.state_dict",
         {"arch": "r20", "n": None}),
        (dictionary(net=nested(x=X), optimizer=nested(state=nested(momentum=X), lr=b"K\x01")), ["x"], "net", {}),
        (dictionary(generator=nested(x=X), options=nested(width=b"K\x02")), ["x"], "generator",
         {"options": {"width": 2}}),
        (dictionary(best_array=X, state_dict=nested(y=X)), ["y"], "state_dict", {}),
        (dictionary(**{"module.a": X, "module.b": X}), ["a", "b"], "", {}),
        (dictionary(**{"module._orig_mod.a": X}), ["a"], "", {}),
        (dictionary(**{"module.a": X, "b": X}), ["module.a", "b"], "", {}),
        (b"\x80\x02}.", [], "", {}),
    ],
)  # fmt: skip
def test_the_state_dict_is_found(
    tmp_path: Path, pickled: bytes, names: list[str], key: str, extra: dict[str, object]
) -> None:
    loaded = read(tmp_path / "x", zip_file(pickled, {"0": SIX.tobytes()}))
    assert (list(loaded), loaded.key, loaded.extra) == (names, key, extra)


def test_prefix_and_key(tmp_path: Path) -> None:
    data = zip_file(dictionary(a=nested(**{"module.x": X}), b=nested(state_dict=nested(y=X))), {"0": SIX.tobytes()})
    with pytest.raises(WeightsError, match=r"it has several sets of tensors: 'a'|it has no named") as caught:
        read(tmp_path / "x", zip_file(dictionary(a=nested(x=X), b=nested(y=X)), {"0": SIX.tobytes()}))
    assert "'a', 'b'; choose one, as in key='a'" in str(caught.value)
    loaded = read(tmp_path / "x", data, key="a")
    assert (list(loaded), loaded.prefix, loaded.key) == (["x"], "module.", "a")
    assert list(read(tmp_path / "x", data, key="a", strip_prefix=False)) == ["module.x"]
    assert read(tmp_path / "x", data, key="b").key == "b.state_dict"
    with pytest.raises(WeightsError, match="it has no dictionary 'c'; it has 'a', 'b'"):
        read(tmp_path / "x", data, key="c")


def test_options_and_numbers_beside_the_weights(tmp_path: Path) -> None:
    beside = {
        "args": Namespace(lr=0.1, arch="resnet20"), "accuracy": np.float64(91.5), "seen": np.int64(7),
        "history": [1.0, 2.0], "classes": ("cat", "dog"), "order": OrderedDict(a=1), "curve": np.arange(3),
    }  # fmt: skip
    whole, here = pickle.dumps({**beside, "state_dict": "HERE"}, 2), b"X\x04\x00\x00\x00HERE"
    assert whole.count(here) == 1
    loaded = read(tmp_path / "x", zip_file(whole.replace(here, nested(x=X)), {"0": SIX.tobytes()}))
    assert loaded.extra == {
        "args": {"lr": 0.1, "arch": "resnet20"}, "accuracy": 91.5, "seen": 7, "history": [1.0, 2.0],
        "classes": ("cat", "dog"), "order": {"a": 1},
    }  # fmt: skip
    assert type(loaded.extra["accuracy"]) is float and type(loaded.extra["seen"]) is int


def test_texts_of_python_2(tmp_path: Path) -> None:
    arch = b"\x80\x02}(U\x04archU\x05r\xc3\xa9s2U\x03raw" + b"U\x02\xff\xfeU\x01x" + X + b"u."
    loaded = read(tmp_path / "x", older_file(arch, {"0": (6, SIX.tobytes())}))
    assert list(loaded) == ["x"] and loaded.extra == {"arch": "rés2", "raw": b"\xff\xfe"}


# What is refused ---------------------------------------------------------------------------------------

RAW = {"0": SIX.tobytes()}


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (dictionary(x=tensor(storage(), (2, 4), (3, 1))), "needs 7 elements, its storage '0' has 6"),
        (dictionary(x=tensor(storage(), (2, 3), (3, 1), 1)), "needs 7 elements"),
        (dictionary(x=tensor(storage(), (2**40, 2**40), (2**60, 2**60))), "needs"),
        (dictionary(x=tensor(storage(), (2, 3), (3, 1), -1)), "malformed shape"),
        (dictionary(x=tensor(storage(), (2, -3), (3, 1))), "malformed shape or strides"),
        (dictionary(x=tensor(storage(), (2, 3), (-3, 1))), "malformed shape or strides"),
        (dictionary(x=tensor(storage(), (2, 3), (1,))), "a tensor with malformed shape or strides"),
        (dictionary(x=tensor(storage(), (1,) * 65, (1,) * 65)), "malformed shape or strides"),
        (dictionary(x=tensor(storage(), (0, 2**62), (1, 1))), "big"),
        (dictionary(x=tensor(storage(), (2**50, 6), (0, 1))), "bytes with tensors of .* bytes that overlap"),
        (dictionary(x=tensor(b"K\x01")), "a tensor without a storage"),
        (dictionary(x=tensor(storage(count=7))), "'data/0' has 24 bytes instead of 28"),
        (dictionary(x=tensor(storage("1"))), "no entry 'data/1'"),
        (dictionary(x=tensor(storage("../../x"))), "no entry 'data/../../x'"),
        (dictionary(x=tensor(storage()), y=tensor(storage(kind="IntStorage"))), "two accounts of the storage '0'"),
        (dictionary(x=tensor(storage(kind="QInt8Storage"))), r"it asks for torch\.QInt8Storage, which is no part of"),
        (dictionary(x=tensor(b"ctorch\nFloatStorage\n)R")), "torch.FloatStorage called by itself"),
        (dictionary(x=b"ctorch._utils\n_rebuild_parameter\nN\x85R"), "a parameter without a tensor"),
        (dictionary(x=b"K\x01"), "it has no named tensors; it has 'x'"),
        (b"\x80\x02" + X + b".", "one tensor without a name"),
        (b"\x80\x02].", "it holds a list, not a dictionary of named tensors"),
        (b"\x80\x02(U\x06moduleNtQ.", "it is a model that was saved whole, .* torch.save"),
        (dictionary(x=tensor(storage()), to=b"cpathlib\nPosixPath\n)R"), "pathlib.PosixPath, .* if it has options"),
        (b"\x80\x02K\x01Q.", "a malformed storage"),
        (b"\x80\x02ctorchvision.models.resnet\nResNet\n)\x81.", r"asks for torchvision\.models\.resnet\.ResNet"),
        (b"\x80\x02}]b.", "it sets a malformed state"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.", "a malformed OrderedDict"),
        (b"\x80\x02}}s.", "ends too early|index|something"),
        (b"\x80\x02}}K\x01s.", r"something \(dict\) as a key of a dictionary"),
    ],
)  # fmt: skip
def test_what_pickles_may_not_say(tmp_path: Path, pickled: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        read(tmp_path / "x", zip_file(pickled, RAW))
    assert str(caught.value).startswith(f"{tmp_path / 'x'}: not a usable PyTorch file: ")
    older = older_file(pickled, {"0": (6, SIX.tobytes())})
    with pytest.raises(WeightsError):
        read(tmp_path / "x", older)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (Path("never-made"),)  # type: ignore[return-value]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("version", ["zip", "older"])
def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, version: str) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps({"x": Evil()}, protocol)
    data = zip_file(pickled, {}) if version == "zip" else older_file(pickled, {})
    with pytest.raises(WeightsError, match="not a usable PyTorch file"):
        read(tmp_path / "x", data)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    pickle.loads(pickled)  # the same bytes, read by pickle, do run
    assert (tmp_path / "never-made").is_dir()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it begins neither as a zip archive nor as an older file of PyTorch"),
        (b"<!DOCTYPE html>", "it looks like a web page: the download went wrong"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"\x1f\x8b\x08", "a gzip file: unpack it first"),
        (b"storages".ljust(257, b"\0") + b"ustar", r"a tar file \(PyTorch before 0.2\)"),
        (pickle.dumps({"a": 1}, 2), "a pickle, but not one of PyTorch's"),
        (pickle.dumps(MAGIC, 2) + pickle.dumps(1002, 2), "version 1002 of the older format; known is 1001"),
        (pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2), "it ends too early"),
        (b"PK\x03\x04", "not a zip file"),
        (zip_file(dictionary(x=X), RAW, compress=True), "'data.pkl' is compressed, which PyTorch never does"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "x", data)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    for data in both_formats({"x": SIX, "y": np.array(2)}).values():
        for length in range(len(data)):
            with pytest.raises(WeightsError):
                read(tmp_path / "x", data[:length])
    with pytest.raises(WeightsError, match=r"truncated: the storage '1' ends at byte [\d,]+, the file at"):
        read(tmp_path / "x", data[:-1])


def test_storages_of_the_older_format_must_be_those_of_the_pickle(tmp_path: Path) -> None:
    pickled = dictionary(x=X)
    for storages, message in (
        ({"0": (7, SIX.tobytes())}, "the storage '0' has 7 elements instead of 6"),
        ({"1": (6, SIX.tobytes())}, "'1' as the key of a storage, which it is not"),
        ({}, "the storage '0' is missing"),
    ):
        with pytest.raises(WeightsError, match=message):
            read(tmp_path / "x", older_file(pickled, storages))


def test_the_archive_is_unambiguous(tmp_path: Path) -> None:
    data = io.BytesIO(zip_file(dictionary(x=X), RAW))
    with warnings.catch_warnings(), zipfile.ZipFile(data, "a") as archive:
        warnings.simplefilter("ignore", UserWarning)  # of the second entry of one name
        archive.writestr("archive/data/0", SIX.tobytes())
    with pytest.raises(WeightsError, match="two entries of one name"):
        read(tmp_path / "x", data.getvalue())
    data = io.BytesIO(zip_file(dictionary(x=X), RAW))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("other/data.pkl", dictionary(x=X))
    with pytest.raises(WeightsError, match=r"2 entries data\.pkl instead of one"):
        read(tmp_path / "x", data.getvalue())
    data = io.BytesIO(zip_file(dictionary(x=X), RAW))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(WeightsError, match="it is a TorchScript program; save the weights"):
        read(tmp_path / "x", data.getvalue())


def test_entries_that_share_their_bytes_are_no_bomb(tmp_path: Path) -> None:
    """Many entries of the directory that point to one large block."""
    count, size = 400, 100_000
    keys = [str(k) for k in range(count)]
    named = {f"x{k}": tensor(storage(k, "ByteStorage", size), (size,), (1,)) for k in keys}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", dictionary(**named))
        archive.writestr("archive/data/0", bytes(size))
        first = archive.infolist()[-1]
        for key in keys[1:]:
            copy = zipfile.ZipInfo(f"archive/data/{key}")
            copy.header_offset, copy.CRC, copy.file_size = first.header_offset, first.CRC, size
            copy.compress_size, copy.create_system = size, 3
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True  # type: ignore[attr-defined]
    tracemalloc.start()
    with pytest.raises(WeightsError):
        read(tmp_path / "x", data.getvalue())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_torch(tmp_path / "missing.pth")
    with pytest.raises(OSError):  # another one on each system
        load_torch(tmp_path)


def test_the_structure_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl.io import torch_file

    monkeypatch.setattr(torch_file, "_MOST_PICKLED", 150)
    for data in both_formats({"x": SIX, "y": SIX}).values():
        with pytest.raises(WeightsError, match="more than 150 bytes of structure"):
            read(tmp_path / "x", data)


def test_long_lists_beside_the_weights_are_left_out(tmp_path: Path) -> None:
    ten = [b"](" + (b"h" + bytes([i])) * 100 + b"eq" + bytes([i + 1]) for i in range(7)]
    lists = b"]q\x000" + b"0".join(ten)
    loaded = read(tmp_path / "x", zip_file(dictionary(x=X, lists=lists, few=b"]K\x01a"), RAW))
    assert loaded.extra == {"few": [1]}  # not the 100^7 elements of `lists`, if they were written out


@pytest.mark.parametrize(
    "pickled",
    [
        # a long list of pairs with one key, turned into a dictionary again and again
        b"]q\x00(" + b"NN\x86" * 50_000 + b"e0ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 50_000,
        # many options that become the state of many namespaces
        b"}q\x00(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(50_000))
        + b"ucargparse\nNamespace\nq\x01" + b"h\x01)\x81h\x00b" * 50_000,
    ],
)  # fmt: skip
def test_what_is_copied_again_and_again_must_fit_the_file(tmp_path: Path, pickled: bytes) -> None:
    with pytest.raises(WeightsError, match="more bytes than the file has"):
        read(tmp_path / "x", zip_file(b"\x80\x02" + pickled + b".", {}))


def test_one_dictionary_under_many_names(tmp_path: Path) -> None:
    numbers = b"}q\x01(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(20_000)) + b"u"
    many = b"".join(_text(str(i)) + b"h\x01" for i in range(20_000))
    with pytest.raises(WeightsError, match=r"it has no named tensors; it has 'a', '0', '1', .* and 19991 more"):
        read(tmp_path / "x", zip_file(b"\x80\x02}(U\x01a" + numbers + many + b"u.", {}))
    loaded = read(tmp_path / "x", zip_file(b"\x80\x02}(U\x01a" + nested(x=X) + b"q\x01U\x01bh\x01u.", RAW))
    assert (list(loaded), loaded.key) == (["x"], "a")


def test_a_prefix_without_end(tmp_path: Path) -> None:
    loaded = read(tmp_path / "x", zip_file(dictionary(**{"module." * 30_000 + "x": X}), RAW))
    assert list(loaded) == ["x"]
