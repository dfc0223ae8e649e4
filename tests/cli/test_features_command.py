"""minidl features: every verb prints its numbers and writes its picture; mistakes are one line."""

import json

import numpy as np
import pytest

from minidl.__main__ import main

LENET = ["lenet5", "--options.activation", "relu"]

VERBS = {
    "filters": (
        ["filters", "lenet5", "--layer", "conv2", "--rows", "3"],
        "features.3: 16 filters of 5x5 over 6 channels",
    ),
    "maps": (["maps", "lenet5", "--layer", "conv2", "--input", "digits:3"], "features.3: 16 maps of 10x10"),
    "neighbours": (
        ["neighbours", "lenet5", "--input", "digits:1", "digits:2", "--limit", "20", "--k", "2"],
        "of 4 neighbours ",
    ),
    "patches": (["patches", "lenet5", "--unit", "conv2[3]", "--limit", "9", "--k", "2"], "features.3[3]: "),
    "saliency": (["saliency", *LENET, "--input", "digits:3", "--unit", "1"], "saliency of output[1] = "),
    "deconv": (["deconv", *LENET, "--input", "digits:3", "--unit", "conv2[3]"], "deconvnet of features.3[3] at ("),
    "guided": (["guided", *LENET, "--input", "digits:3"], "guided of output["),
    "gradcam": (["gradcam", "lenet5", "--input", "digits:3", "--unit", "2"], "grad_cam of output[2] = "),
    "maximize": (["maximize", "lenet5", "--unit", "1", "conv2[3]", "--steps", "3"], "features.3[3] from "),
    "dream": (["dream", "lenet5", "--unit", "conv1", "--octaves", "2", "--steps", "1"], "mean square of features.0"),
    "occlusion": (
        ["occlusion", "lenet5", "--input", "digits:3", "--size", "16", "--stride", "8"],
        "of 9 squares of 16x16",
    ),
    "surface": (["surface", "lenet5", "--points", "3", "--limit", "10"], "loss 2.3"),
    "field": (["field", "lenet5", "--layer", "conv2", "--samples", "2"], "14x14 of 32x32"),
    "effects": (["effects", "sample:china", "--kernel", "identity", "sobel_x"], "sobel_x "),
    "shift": (["shift", "lenet5", "--input", "digits:3", "--layer", "conv1", "pool1", "--shifts", "1,2"], "features.2"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_prints_and_draws(verb, capsys, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    words, said = VERBS[verb]
    assert main(["features", *words]) == 0
    out = capsys.readouterr().out
    assert said in out and out.endswith(f"picture: {verb}.png\n")
    with Image.open(f"{verb}.png") as picture:
        assert picture.format == "PNG" and min(picture.size) >= 60


def test_numbers_for_programs_and_the_name_of_the_file(capsys, tmp_path):
    path = tmp_path / "a.png"
    assert main(["features", "filters", "lenet5", "--json", "-o", str(path)]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["filters"] == 6 and numbers["picture"] == str(path) and path.stat().st_size > 100


@pytest.mark.parametrize(
    "words, message",
    [
        (["filters", "lenet6"], "there is no"),
        (["filters", "lenet5", "--layer", "conv9"], "LeNet5 has no layer 'conv9'"),
        (["saliency", "lenet5", "--input", "none.png"], "none.png"),
        (["saliency", "lenet5", "--unit", "10"], "output has 10 channels, so 10 is outside 0 to 9"),
        (["guided", "lenet5"], "no ReLU runs before output"),
        (["dream", "lenet5", "--unit", "conv1", "--input", "sample:dog"], "sample:dog: scikit-learn's photographs are"),
        (
            ["patches", "lenet5", "--unit", "conv1", "--among", "train"],
            "--among train: only the folder of a training run",
        ),
        (
            ["patches", "lenet5", "--unit", "conv1", "--among", "nowhere"],
            "--among nowhere: that is digits, of a run also",
        ),
        (["patches", "lenet5", "--unit", "conv1", "--among", "."], "--among .: no image in this folder"),
        (["patches", "lenet5", "--unit", "conv1", "--limit", "0"], "--limit 0: at least one image"),
        (["surface", "lenet5", "--among", "x.npy"], "--among x.npy: a loss needs labels: digits, or test and train of"),
        (["shift", "lenet5", "--shifts", "a"], "--shifts a: whole numbers with commas, as 1,2,5, or from-to, as 1-8"),
        (["saliency", "lenet5", "--options.pool", "max", "--preprocess", "caffe"], "with --options give an .npy file"),
        (["filters", "lenet5", "-o", "a.gif"], "a picture is written as .png, .jpg or .webp, and a.gif ends in none"),
        (["effects", "--kernel", "typo"], "there is no kernel 'typo'"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((2, 1, 32, 32)))
    assert main(["features", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


def test_photographs_become_inputs_as_the_weights_want_them(tmp_path):
    from PIL import Image

    from minidl import io, manual_seed, models
    from minidl.cli._features import Network, Seen
    from minidl.predict import PREPROCESS
    from minidl.see.features import Colours
    from minidl.see.inputs import Subject

    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    manual_seed(1)
    io.save_weights(tmp_path / "w.safetensors", models.cifar_resnet20())
    seen = Network(weights=tmp_path / "w.safetensors", preprocess="cifar").open("cifar_resnet20")
    x, label = seen.input(str(tmp_path / "photo.png"))
    np.testing.assert_array_equal(x[0], PREPROCESS["cifar"](pixels.transpose(2, 0, 1)))
    assert label is None and seen.input_shape == (3, 32, 32) and seen.colours.pixels(x).max() <= 1
    plain = Network().open("cifar_resnet20")
    assert plain.input(str(tmp_path / "photo.png"))[0].min() >= 0 and plain.preprocess is None
    images, labels = seen.images(str(tmp_path), 5)
    assert images.shape == (1, 3, 32, 32) and labels is None
    with pytest.raises(ValueError, match="a photograph cannot become an input of shape"):
        Seen("two channels", Subject(None, (2, 8, 8)), Colours()).input("sample:china")


def test_a_run_knows_its_data_its_classes_and_its_colours(capsys, tmp_path, monkeypatch):
    from minidl.cli._features import Network
    from minidl.train import TrainConfig, start_run

    monkeypatch.chdir(tmp_path)
    start_run("lenet5", TrainConfig(epochs=1, augment="none"), tmp_path / "run").fit(1)
    seen = Network().open("run")
    x, labels = seen.images("train", 3)
    assert x.shape == (3, 1, 32, 32) and len(labels) == 3 and seen.classes == list("0123456789")
    pixels = seen.colours.pixels(x)
    np.testing.assert_allclose((pixels - seen.colours.mean[0]) / seen.colours.std[0], x, atol=1e-5)
    assert (
        main(["features", "neighbours", "run", "--input", "test:0", "--among", "train", "--limit", "30", "--k", "3"])
        == 0
    )
    assert "of 3 neighbours" in capsys.readouterr().out
    assert main(["features", "saliency", "run", "--preprocess", "caffe"]) == 2
    assert "--preprocess caffe: a run knows how its images were prepared" in capsys.readouterr().err


def test_sample_photographs_without_scikit_learn(monkeypatch):
    import sys

    from minidl.cli._features import sample_photo

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        ImportError, match="sample photographs come with scikit-learn: python -m pip install scikit-learn"
    ):
        sample_photo("china")
