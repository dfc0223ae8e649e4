"""Networks with their weights by name: what belongs to a file comes along with it."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl import models
from minidl.data import DataError, DataNotFoundError
from minidl.io import save_weights
from minidl.models import UnknownModelError, weights
from minidl.models.weights import UnknownWeightsError
from minidl.nn import StateDictError
from minidl.predict import (
    PREPROCESS,
    PredictError,
    Preprocess,
    Views,
    find_images,
    load_classifier,
    load_samples,
    read_photo,
    score,
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    minidl.manual_seed(5)
    save_weights(tmp_path / "mine.pth", models.cifar_resnet20(num_classes=7))
    return tmp_path / "mine.pth"


def test_a_file_of_yours_for_any_number_of_classes(saved: Path) -> None:
    classifier = load_classifier("cifar_resnet20", saved)
    assert classifier.classes == tuple("0123456") and classifier.preprocess == Preprocess(resize=32, crop=32)
    assert classifier.name == "cifar_resnet20" and not classifier.model.training
    image = np.random.default_rng(0).integers(0, 256, (3, 40, 50), np.uint8)
    model = models.cifar_resnet20(num_classes=7).eval()
    minidl.io.load_into(model, saved)
    with minidl.no_grad():
        expected = model(minidl.tensor(classifier.preprocess(image)[None])).softmax(1).numpy()
    np.testing.assert_allclose(classifier.probabilities([image]), expected, rtol=1e-5)


def test_names_of_the_classes(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("red\ngreen\n\nblue\na\nb\nc\nd d\n")
    assert load_classifier("cifar_resnet20", saved, classes=str(tmp_path / "names.txt")).classes[:3] == (
        "red",
        "green",
        "blue",
    )
    assert load_classifier("cifar_resnet20", saved, classes=list("abcdefg")).classes == tuple("abcdefg")
    with pytest.raises(PredictError, match="the weights are for 7 classes, but there are 10 names"):
        load_classifier("cifar_resnet20", saved, classes="cifar10")
    with pytest.raises(PredictError, match="classes is imagenet, cifar10, mnist or a file with a name a line, not 'x'"):
        load_classifier("cifar_resnet20", saved, classes="x")


def test_another_preprocessing(saved: Path) -> None:
    views = Views(crops=10)
    classifier = load_classifier("cifar_resnet20", saved, preprocess="cifar,resize=40", views=views, batch_size=3)
    assert (classifier.preprocess.resize, classifier.views, classifier.batch_size) == (40, views, 3)


def test_a_thousand_classes_are_those_of_imagenet(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.npz", models.squeezenet1_1())
    assert load_classifier("squeezenet1_1", tmp_path / "a.npz").classes == weights.class_names("imagenet")


def test_mistakes(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="did you mean resnet50"):
        load_classifier("resnet500")
    with pytest.raises(DataNotFoundError, match=r"nowhere\.pth: there is no such file of weights"):
        load_classifier("cifar_resnet20", tmp_path / "nowhere.pth")
    with pytest.raises(StateDictError, match="missing"):
        load_classifier("cifar_resnet32", saved)
    with pytest.raises(UnknownWeightsError, match="no public weights of 'lenet5' are known"):
        load_classifier("lenet5")


def test_a_public_file_brings_its_options_names_and_preprocessing(shared_data: Path) -> None:
    folder = shared_data / "weights"
    resnet = load_classifier("cifar_resnet20", folder / "cifar_resnet" / "resnet20-12fca82f.th")
    assert (resnet.name, resnet.classes[3]) == ("cifar_resnet20.akamaster", "cat")
    assert resnet.preprocess == PREPROCESS["cifar"] and resnet.model.layer2[0].downsample.before == 8
    squeezenet = load_classifier("squeezenet1_0", folder / "squeezenet_dc" / "compressed_SqueezeNet.net")
    assert squeezenet.name == "squeezenet1_0.deep_compression" and squeezenet.preprocess == PREPROCESS["caffe"]
    named = load_classifier("squeezenet1_0.deep_compression", folder / "squeezenet_dc" / "squeezenet_v1.0_decoded.npz")
    for name, value in named.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), squeezenet.model.state_dict()[name].numpy())


def test_the_file_of_caffe_and_its_arrays_are_the_same_network(shared_data: Path) -> None:
    folder = shared_data / "weights" / "lenet_caffe"
    recognised = load_classifier("lenet_caffe", folder / "lenet_iter_10000.caffemodel")
    named = load_classifier("lenet_caffe.caffe", folder / "lenet.npz")
    assert recognised.name == named.name == "lenet_caffe.caffe" and recognised.preprocess == PREPROCESS["mnist_caffe"]
    for name, value in named.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), recognised.model.state_dict()[name].numpy())


# ---- what the files score: commands and figures are in docs/results/pretrained.md ----------------------------------


def test_lenet_of_caffe_on_the_first_digits(shared_data: Path) -> None:
    lenet = load_classifier("lenet_caffe.caffe", shared_data / "weights" / "lenet_caffe" / "lenet.npz")
    samples = load_samples("mnist", lenet.classes, data_dir=shared_data / "mnist")
    samples = type(samples)(samples.items[:500], samples.labels[:500])
    assert score(lenet, samples).correct[1] >= 495


@pytest.mark.slow
def test_lenet_of_caffe_on_mnist(shared_data: Path) -> None:
    lenet = load_classifier("lenet_caffe.caffe", shared_data / "weights" / "lenet_caffe" / "lenet.npz")
    samples = load_samples("mnist", lenet.classes, data_dir=shared_data / "mnist")
    assert str(score(lenet, samples)).startswith("top-1 99.05 % (9,905 of 10,000)")


@pytest.mark.slow
def test_a_cifar_resnet_on_training_images(shared_data: Path) -> None:
    entry = weights.find("cifar_resnet20")
    net = load_classifier(entry.model, shared_data / "weights" / "cifar_resnet" / entry.file)
    samples = load_samples(shared_data / "cifar10" / "train_first4000_lossless.npz", net.classes)
    assert score(net, samples).correct[1] == pytest.approx(3992, abs=1)


# ---- which files are meant -----------------------------------------------------------------------------------------


def test_files_folders_patterns_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "notes.txt", "deep/c.webp", ".hidden.png", "odd[1].png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("list.txt").write_text("b.png\n\n  deep/c.webp \n")

    def found(*what: str) -> list[str]:
        return [path.as_posix() for path in find_images(what)]

    assert found(".") == ["a.JPG", "b.png", "deep/c.webp", "odd[1].png"]
    assert found("*.png", "odd[1].png") == ["b.png", "odd[1].png", "odd[1].png"]
    assert found("**/*.webp", "missing.png") == ["deep/c.webp", "missing.png"]
    assert found("@list.txt") == ["b.png", "deep/c.webp"]
    Path("windows.txt").write_text("b.png\n", encoding="utf-8-sig")
    assert found("@windows.txt") == ["b.png"]
    Path("@home.png").touch()
    assert found("@home.png") == ["@home.png"]


def test_strips_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    """Shorter side to 256: a file of 90 bytes would take 3 GB."""
    for size in ((5000, 1), (2, 2001)):
        Image.new("L", size).save(tmp_path / "strip.png")
        w, h = size
        with pytest.raises(DataError, match=rf"strip\.png: a strip of {h}x{w} pixels \(height x width\): cut a part"):
            read_photo(tmp_path / "strip.png")
    Image.new("L", (2, 2000)).save(tmp_path / "strip.png")
    assert read_photo(tmp_path / "strip.png").shape == (3, 2000, 2)


def test_nothing_is_meant(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list").touch()
    for what, message in [
        (tmp_path / "empty", "a folder without an image; extensions: .jpg"),
        (tmp_path / "*.png", "a pattern that no file fits"),
        (f"@{tmp_path / 'list'}", "a list without a line"),
    ]:
        with pytest.raises(PredictError, match=re.escape(message)):
            find_images([what])
    with pytest.raises(FileNotFoundError):
        find_images([f"@{tmp_path / 'no list'}"])
    (tmp_path / "list").write_bytes("a.png\nKäfer.png\n".encode("latin-1"))
    with pytest.raises(PredictError, match=r"list: this is no text in UTF-8 \(byte 7\); save it as UTF-8"):
        find_images([f"@{tmp_path / 'list'}"])
