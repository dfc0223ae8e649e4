"""`minidl convert`: from any kind of weights to any other, with a list of what is in them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import models
from minidl.__main__ import main
from minidl.data.download import hash_of
from minidl.io import load_weights, save_weights
from minidl.models import weights
from minidl.predict import load_classifier
from minidl.train.start import find_start
from tests.io.torch_files import SIX, dictionary, storage, tensor, zip_file

pytest.importorskip("cyclopts")
NAMED = {"module.fc.weight": np.arange(6, dtype=np.float16).reshape(2, 3), "module.n": np.array(3)}


def test_around_all_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights(tmp_path / "a.pth", NAMED)
    for source, target in (("a.pth", "b.npz"), ("b.npz", "c.safetensors"), ("c.safetensors", "d.pt"), ("d.pt", "d.pt")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 0
        printed = capsys.readouterr().out
        assert "fc.weight" in printed and "2, 3" in printed and "float16" in printed and "a number" in printed
        assert "2 arrays, 7 numbers: " in printed
        assert ("without 'module.', with which all names began" in printed) == (source == "a.pth")
        loaded = load_weights(tmp_path / target)
        np.testing.assert_array_equal(loaded["fc.weight"], NAMED["module.fc.weight"])
        assert loaded["n"].shape == () and loaded["n"] == 3


def test_a_nested_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = dictionary(x=tensor(storage()))[2:-1]
    data = zip_file(dictionary(G=inner, D=inner, epoch=b"K\x03"), {"0": SIX.tobytes()})
    (tmp_path / "gan.pt").write_bytes(data)
    arguments = ["convert", str(tmp_path / "gan.pt"), str(tmp_path / "g.npz")]
    assert main(arguments) == 2
    assert "several sets of tensors: 'G', 'D'; choose one, as in key='G'" in capsys.readouterr().err
    assert main([*arguments, "--key", "G"]) == 0
    printed = capsys.readouterr().out
    assert "they were in 'G' of the file" in printed and "left out: epoch" in printed
    assert main([*arguments, "--key", "G", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> weights.PublicWeights:
    """old.pth of a cifar_resnet20 that pads on both sides, made the only file of the table, and a photograph."""
    minidl.manual_seed(3)
    model = models.cifar_resnet20(pad="both")
    with minidl.no_grad():
        model.linear.weight.mul_(0.003)  # without it one class of an untrained network is certain
    save_weights(tmp_path / "old.pth", {f"module.{name}": p for name, p in model.state_dict().items()})
    entry = dataclasses.replace(weights.find("cifar_resnet20"), sha256=hash_of(tmp_path / "old.pth", "sha256"))
    monkeypatch.setattr(weights, "table", lambda: {"cifar_resnet20": [entry]})
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("test/3").mkdir(parents=True)
    for i in range(4):
        pytest.importorskip("PIL.Image").fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(f"test/3/{i}.png")
    return entry


def test_a_public_file_keeps_what_the_table_knows(public: weights.PublicWeights, capsys) -> None:
    """The same probabilities, score and run from each format, without another word."""

    def answers(file: str) -> list[str]:
        said = []
        for command in (
            ("predict", "cifar_resnet20", "test", "--json", "--top", "10"),
            ("eval", "cifar_resnet20", "--data", "test"),
        ):
            assert main([*command, "--weights", file]) == 0
            said.append(capsys.readouterr().out)
        assert said[1].startswith("cifar_resnet20.akamaster: shorter side to 32") and "airplane" in said[0]
        start = find_start(file, "cifar_resnet20")
        return [*said, str(start.options), str(start.statistics((3, 32, 32)))]

    expected = answers("old.pth")
    assert "pad" in expected[2]
    for source, target in (
        ("old.pth", "a.safetensors"),
        ("a.safetensors", "b.npz"),
        ("b.npz", "c.th"),
        ("c.th", "c.th"),
    ):
        assert main(["convert", source, target]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert (
            "it is cifar_resnet20.akamaster of minidl weights list, and minidl will take the new file for the same"
            in printed
        )
        assert "left out" not in printed and answers(target) == expected
    plain = {name: np.array(array) for name, array in load_weights("c.th").items()}
    save_weights("plain.npz", plain)  # somebody else's: nothing is known of it, but on demand
    assert main(["predict", "cifar_resnet20", "test", "--json", "--top", "10", "--weights", "plain.npz"]) == 0
    assert capsys.readouterr().out != expected[0]
    assert main(["predict", "cifar_resnet20.akamaster", "test", "--json", "--top", "10", "--weights", "plain.npz"]) == 0
    assert capsys.readouterr().out == expected[0]


@pytest.mark.parametrize(
    "name, file",
    [
        ("lenet_caffe", "lenet_caffe/lenet_iter_10000.caffemodel"),
        ("squeezenet1_0", "squeezenet_dc/compressed_SqueezeNet.net"),
        ("cifar_resnet56", "cifar_resnet/resnet56-4bfd9763.th"),
    ],
)
@pytest.mark.parametrize("end", ["safetensors", "npz", "pth"])
def test_published_files(shared_data: Path, tmp_path: Path, name: str, file: str, end: str) -> None:
    source, target = shared_data / "weights" / file, tmp_path / f"converted.{end}"
    assert main(["convert", str(source), str(target)]) == 0
    ours, theirs = load_classifier(name, target), load_classifier(name, source)
    assert (ours.name, ours.preprocess, ours.classes) == (theirs.name, theirs.preprocess, theirs.classes)
    image = np.random.default_rng(0).integers(0, 256, (len(ours.mode), 60, 50), np.uint8)
    np.testing.assert_array_equal(ours.probabilities([image]), theirs.probabilities([image]))
    again = load_classifier(theirs.name, target)
    np.testing.assert_array_equal(again.probabilities([image]), theirs.probabilities([image]))


def test_errors_are_one_line_and_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.pth").write_bytes(b"<html>")
    save_weights(tmp_path / "text.npz", {"x": np.array(["a"])})
    save_weights(tmp_path / "good.npz", NAMED)
    for source, target, message in (
        ("bad.pth", "x.npz", "it looks like a web page"),
        ("text.npz", "x.pth", "files of PyTorch have no <U1"),
        ("text.npz", "x.h5", "the end of the name says the format"),
        ("missing.npz", "x.pth", "No such file"),
        ("good.npz", "nowhere/x.pth", "nowhere: there is no such folder to write a file into"),
    ):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.pth", "good.npz", "text.npz"]
