"""Weights that people pass around: CIFAR-10 ResNets in PyTorch's older format, from DataParallel."""

import io
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.io import load_into, load_torch, load_weights, save_weights

FILES = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(params=FILES)
def depth(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def file(shared_data: Path, depth: int) -> Path:
    return shared_data / "weights" / "cifar_resnet" / FILES[depth]


def test_names_and_numbers(file: Path, depth: int) -> None:
    loaded = load_torch(file)
    assert (loaded.key, loaded.prefix, list(loaded.extra)) == ("state_dict", "module.", ["best_prec1"])
    assert loaded.extra["best_prec1"] == pytest.approx({20: 91.78, 56: 93.62}[depth], abs=0.01)
    batch_norm = ("weight", "bias", "running_mean", "running_var")
    expected = ["conv1.weight", *(f"bn1.{name}" for name in batch_norm)]
    for stage in (1, 2, 3):
        for block in range((depth - 2) // 6):
            for layer in (1, 2):
                expected.append(f"layer{stage}.{block}.conv{layer}.weight")
                expected += [f"layer{stage}.{block}.bn{layer}.{name}" for name in batch_norm]
    assert list(loaded) == [*expected, "linear.weight", "linear.bias"]
    assert {array.dtype for array in loaded.values()} == {np.dtype(np.float32)}
    assert loaded["conv1.weight"].shape == (16, 3, 3, 3) and loaded["linear.weight"].shape == (10, 64)


@pytest.mark.torch
def test_equal_to_what_pytorch_reads_and_writes(file: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.load(file, map_location="cpu", weights_only=False)["state_dict"]
    ours = load_torch(file, strip_prefix=False)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor.numpy())
    save_weights(tmp_path / "x.pth", ours)
    back = torch.load(tmp_path / "x.pth", weights_only=True)
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.items())


def network(file: Path, depth: int) -> nn.Module:
    model = models.create(f"cifar_resnet{depth}", pad="both")
    report = load_into(model, file)
    assert report.loaded == len(load_weights(file)) and not report.skipped and not report.renamed
    return model.eval()


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Of images (N, 32, 32, 3) of bytes, in percent."""
    right = 0
    with minidl.no_grad():
        for start in range(0, len(images), 250):
            x = (images[start : start + 250] / 255 - MEAN) / STD  # (N, H, W, C)
            scores = model(minidl.tensor(x.transpose(0, 3, 1, 2).astype(np.float32)))  # (N, C, H, W) -> (N, 10)
            right += int((scores.numpy().argmax(1) == labels[start : start + 250]).sum())
    return 100 * right / len(images)


def test_scores_of_training_images(file: Path, depth: int, shared_data: Path) -> None:
    with np.load(shared_data / "cifar10" / "train_first4000_lossless.npz") as data:
        images, labels = data["x"][:500], data["y"][:500]
    assert accuracy(network(file, depth), images, labels) >= 99.8


def test_another_number_of_classes(file: Path, depth: int) -> None:
    model = models.create(f"cifar_resnet{depth}", pad="both", num_classes=7)
    report = load_into(model, file, head="auto")
    assert report.skipped == {"linear.weight": ((10, 64), (7, 64)), "linear.bias": ((10,), (7,))}


@pytest.mark.slow
def test_scores_of_test_images(file: Path, depth: int, shared_data: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    with np.load(shared_data / "cifar10" / "test_jpeg.npz") as data:
        raw, offsets, labels = data["jpeg"].tobytes(), data["offset"], data["y"]
    ends = np.append(offsets, len(raw))[1:]
    places = range(0, len(labels), 4)  # PyTorch's own functions find these; docs/results/pretrained.md has those of all
    images = np.stack([np.asarray(image.open(io.BytesIO(raw[offsets[i] : ends[i]]))) for i in places])
    assert accuracy(network(file, depth), images, labels[::4]) == pytest.approx({20: 81.44, 56: 83.16}[depth], abs=0.05)
