"""load_weights tells files by their content, save_weights by the end of the name."""

import io
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.io import WeightsError, load_torch, load_weights, read_metadata, save_safetensors, save_weights
from tests.io.torch_files import both_formats

SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".th", ".PTH")
NAMED = {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(2), "none": np.zeros((0, 2))}


def needs(suffix: str) -> None:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_content_decides_when_reading(tmp_path: Path, suffix: str) -> None:
    needs(suffix)
    path = tmp_path / f"x{suffix}"
    save_weights(path, NAMED)
    for name in ("y.pth", "y.npz", "y.safetensors", "y"):
        (tmp_path / name).write_bytes(path.read_bytes())
        loaded = load_weights(tmp_path / name)
        assert sorted(loaded) == sorted(NAMED)
        for key, array in NAMED.items():
            assert loaded[key].dtype == array.dtype
            np.testing.assert_array_equal(loaded[key], array)


@pytest.mark.parametrize("length", [128, 384, 640, 128 + 256 * 256])
def test_a_safetensors_header_of_any_length(tmp_path: Path, length: int) -> None:
    """Its length is the first byte of the file: 128 (and 640) begin as a pickle does, with 80 (and 80 02)."""
    entry = b'{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}'
    header = entry + b" " * (length - len(entry) - 1) + b"}"
    (tmp_path / "x").write_bytes(length.to_bytes(8, "little") + header + np.float64(3).tobytes())
    assert {name: array.tolist() for name, array in load_weights(tmp_path / "x").items()} == {"a": [3.0]}


def test_the_older_format_of_pytorch(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(both_formats(NAMED)["older"])
    assert list(load_weights(tmp_path / "x.npz")) == list(NAMED)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_modules_and_tensors(tmp_path: Path, suffix: str) -> None:
    needs(suffix)
    net = nn.Sequential(OrderedDict(conv=nn.Conv2d(2, 3, (1, 2)), bn=nn.BatchNorm2d(3)))
    for value in (net, net.state_dict(), {"x": minidl.ones(2, requires_grad=True)}):
        save_weights(tmp_path / f"x{suffix}", value)
        expected = value if isinstance(value, dict) else net.state_dict()
        loaded = load_weights(tmp_path / f"x{suffix}")
        assert sorted(loaded) == sorted(expected)
        for name, tensor in expected.items():
            np.testing.assert_array_equal(loaded[name], tensor.detach().numpy())


def test_an_unknown_end_of_the_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"the end of the name says the format: \.safetensors, \.npz, \.pth"):
        save_weights(tmp_path / "x.h5", NAMED)
    assert not list(tmp_path.iterdir())


def test_metadata_of_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    save_safetensors(tmp_path / "x", NAMED, {"epoch": "3"})
    assert load_weights(tmp_path / "x").extra == {"epoch": "3"}
    with pytest.raises(WeightsError, match="key='ema' chooses inside PyTorch files; this is a safetensors file"):
        load_weights(tmp_path / "x", key="ema")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_metadata_of_all_formats(tmp_path: Path, suffix: str) -> None:
    needs(suffix)
    path, texts = tmp_path / f"x{suffix}", {"epoch": "3", "käse": "日"}
    save_weights(path, NAMED, texts)
    assert read_metadata(path) == texts
    loaded = load_weights(path)
    assert loaded.extra == texts and loaded.path == str(path) and sorted(loaded) == sorted(NAMED)
    with pytest.raises(TypeError, match="metadata is text: 'epoch' -> 3; turn numbers into strings"):
        save_weights(path, {}, {"epoch": 3})  # type: ignore[dict-item]
    assert read_metadata(path) == texts
    save_weights(path, NAMED)
    assert read_metadata(path) == {}


def test_the_comment_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(ValueError, match="the comment of a zip archive has room for 65,535; write a"):
        save_weights(path, NAMED, {"x": "y" * 65_536})
    assert not path.exists()
    save_weights(path, NAMED, {"epoch": "3"})
    assert sorted(np.load(path)) == sorted(NAMED)
    other = '{"x": "1"}'.encode("utf-32-be")
    for comment in (b"packed on Monday", b"[" * 60_000, b'{"x": 1}', b"[1]", b"\xff", b"3", other):
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = comment
        assert load_weights(path).extra == {}
    (tmp_path / "x").write_bytes(b"PK\x03\x04 and no archive")
    with pytest.raises(WeightsError, match="a damaged or truncated zip archive"):
        read_metadata(tmp_path / "x")
    (tmp_path / "x").write_bytes(both_formats(NAMED)["older"])
    assert read_metadata(tmp_path / "x") == {}


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    for suffix in (".npz", ".pth", ".safetensors"):
        needs(suffix)
        save_weights(tmp_path / f"x{suffix}", {"x": np.array([1.5, -4]).astype(bfloat16)})
        loaded = load_weights(tmp_path / f"x{suffix}")["x"]
        assert loaded.dtype == np.float32 and loaded.tolist() == [1.5, -4]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and no archive", b"{}", b"\x80\x02}.", b"text", bytes(100)])
def test_files_of_other_kinds(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(WeightsError):
        load_weights(tmp_path / "x")


def test_too_little_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*arguments: object, **more: object) -> None:
        raise MemoryError

    save_weights(tmp_path / "x.npz", NAMED)
    monkeypatch.setattr(np.lib.format, "read_array", none_left)
    with pytest.raises(WeightsError, match=r"x\.npz: there is not enough memory for what is in it$"):
        load_weights(tmp_path / "x.npz")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "x.pth")


# PyTorch as the judge ----------------------------------------------------------------------------------

torch_only = pytest.mark.torch
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64")


def widened(tensor: object) -> np.ndarray:
    torch = pytest.importorskip("torch")
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()  # type: ignore[attr-defined]


@torch_only
@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_pytorch_writes(tmp_path: Path, older: bool, protocol: int) -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    state = OrderedDict(
        (name, torch.randint(0, 5, (2, 3, 4), generator=generator).to(getattr(torch, name))) for name in DTYPES
    )
    base = torch.randn(6, 5, generator=generator)
    tagged = torch.nn.Parameter(torch.ones(2))
    tagged.note = "an attribute"
    state |= {
        "transposed": base.t(), "slice": base[1:5:2, ::3], "expanded": base[:, :1].expand(6, 4), "scalar": base[0, 0],
        "parameter": torch.nn.Parameter(base), "tagged": tagged, "empty": torch.zeros(0, 3), "uint16": None,
        "all_bfloat16": torch.arange(65536).to(torch.int32).to(torch.int16).view(torch.bfloat16),
    }  # fmt: skip
    if older:
        del state["uint16"]
    else:
        state["uint16"] = torch.arange(5).to(torch.uint16)
    whole = {"epoch": 3, "accuracy": np.float64(91.5), "device": torch.device("cuda:1"), "size": torch.Size([1, 2]),
             "dtype": torch.float32, "model": {f"module.{k}": v for k, v in state.items()}}  # fmt: skip
    path = tmp_path / "x.pth"
    torch.save(whole, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not older)
    loaded = load_torch(path)
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(loaded[name], widened(tensor), err_msg=name)
        assert loaded[name].dtype == widened(tensor).dtype
    assert loaded.extra == {
        "epoch": 3, "accuracy": 91.5, "device": "cuda:1", "size": (1, 2), "dtype": "torch.float32",
    }  # fmt: skip


@torch_only
def test_files_without_checksums_and_of_whole_models(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(2, 3)
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(module.state_dict(), tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    np.testing.assert_array_equal(load_torch(tmp_path / "x.pth")["weight"], module.weight.detach().numpy())
    for new in (True, False):
        torch.save(module, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
        with pytest.raises(WeightsError, match=r"torch\.nn\.modules\.linear\.Linear|a model that was saved whole"):
            load_torch(tmp_path / "x.pth")


@torch_only
@pytest.mark.parametrize("mapped", [False, True])
def test_pytorch_reads_what_is_written(tmp_path: Path, mapped: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    named = {n: np.asarray(rng.integers(0, 2, (2, 3))).astype(n) for n in DTYPES if n != "bfloat16"}
    named |= {"t": named["float32"].T, "scalar": np.array(2.5), "empty": np.zeros((2, 0)), "å/b": np.array([1], ">i4")}
    save_weights(tmp_path / "x.pth", named, {"told": "in the comment of the archive"})
    loaded = torch.load(tmp_path / "x.pth", weights_only=True, mmap=mapped)
    assert type(loaded) is OrderedDict and list(loaded) == list(named)
    for name, array in named.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array)
        assert loaded[name].numpy().dtype == array.dtype.newbyteorder("=")
    buffer = io.BytesIO((tmp_path / "x.pth").read_bytes())
    assert list(torch.load(buffer, weights_only=True)) == list(named)


@torch_only
def test_pytorch_loads_a_model_of_ours_strictly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = (
        lib.Sequential(lib.Conv2d(2, 4, (1, 3), groups=2), lib.BatchNorm2d(4), lib.Flatten(), lib.Linear(48, 5))
        for lib in (nn, torch.nn)
    )
    save_weights(tmp_path / "x.pth", ours)
    theirs.load_state_dict(torch.load(tmp_path / "x.pth", weights_only=True), strict=True)
    x = np.random.default_rng(0).standard_normal((3, 2, 3, 6)).astype(np.float32)
    expected = theirs.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours.eval()(minidl.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@torch_only
def test_a_module_of_pytorch_that_asks_for_its_version_loads_what_is_written(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Asking(torch.nn.Linear):  # as torchvision's MNASNet does
        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            assert local_metadata.get("version") in (1, 2)
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    save_weights(tmp_path / "x.pth", {"weight": np.ones((1, 2), "f"), "bias": np.zeros(1, "f")})
    theirs = Asking(2, 1)
    theirs.load_state_dict(torch.load(tmp_path / "x.pth", weights_only=True), strict=True)
    assert theirs.weight.tolist() == [[1.0, 1.0]]
    assert list(load_torch(tmp_path / "x.pth")) == ["weight", "bias"]
