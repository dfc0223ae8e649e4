"""`minidl convert`: from any kind of weights to any other, with a list of what is in them."""

from pathlib import Path

import numpy as np
import pytest

from minidl.__main__ import main
from minidl.io import load_weights, save_weights
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


def test_errors_are_one_line_and_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.pth").write_bytes(b"<html>")
    save_weights(tmp_path / "text.npz", {"x": np.array(["a"])})
    for source, target, message in (
        ("bad.pth", "x.npz", "it looks like a web page"),
        ("text.npz", "x.pth", "files of PyTorch have no <U1"),
        ("text.npz", "x.h5", "the end of the name says the format"),
        ("missing.npz", "x.pth", "No such file"),
    ):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.pth", "text.npz"]
