"""minidl explain, step, diff, shape, break, algorithms."""

import json

import numpy as np
import pytest

from minidl.__main__ import main


def test_explain_prints_terms_and_proof(capsys):
    assert main(["explain", "lenet5", "--input", "digits:17", "--at", "conv2[0,3,5,5]", "--terms", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("features.3[0,3,5,5] = ")
    assert "150 terms, the 3 largest of them:" in out and "features.3.bias[3]" in out and "stored" in out


def test_explain_of_gradients_as_json(capsys):
    arguments = ["explain", "lenet5", "--at", "conv1.weight.grad[0,0,1,1]", "loss", "--target", "3", "--json"]
    assert main(arguments) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["what"] == "gradient" and first["exact"] and second["at"] == "loss"
    assert main(["explain", "lenet5", "--scatter", "--at", "conv1[0,0,1,1]"]) == 0
    assert "sends it through conv (features.0/conv) to" in capsys.readouterr().out


@pytest.mark.parametrize(
    "input, message",
    [
        ("digits:99999", "there are 1797 digits, numbered from 0"),
        ("random:x", "after random: comes a whole number, as in random:17"),
        ("bad.npy", "holds float64 (1, 2); the model takes numbers of shape (N, *(1, 32, 32))"),
        ("none.png", "none.png"),
    ],
)
def test_inputs_that_are_none(capsys, tmp_path, monkeypatch, input, message):
    monkeypatch.chdir(tmp_path)
    np.save("bad.npy", np.zeros(2))
    assert main(["explain", "lenet5", "--input", input, "--at", "loss"]) == 2
    assert message in capsys.readouterr().err


def test_inputs_from_files(capsys, tmp_path):
    from PIL import Image

    np.save(tmp_path / "x.npy", np.ones((1, 32, 32)))
    Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "x.png")
    for name in ("x.npy", "x.png"):
        assert main(["explain", "lenet5", "--input", str(tmp_path / name), "--at", "conv1[0,0,0,0]"]) == 0
    from minidl.see.inputs import load_input

    with pytest.raises(ValueError, match="an image cannot become an input of shape"):
        load_input(str(tmp_path / "x.png"), (3,))
