"""Data sets by name at the input of a model."""

import struct
from pathlib import Path

import numpy as np
import pytest

from minidl.data import DataLoader, DataNotFoundError, Digits
from minidl.data.sampling import resize
from minidl.train import TrainingError, load_task
from minidl.train.normalization import measure
from minidl.train.tasks import find_source, to_input


def write_mnist(folder: Path, count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(71)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())
    return images


def write_folder(folder: Path, classes: dict[str, int], seed: int = 0) -> None:
    from PIL import Image

    rng = np.random.default_rng(seed)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            h, w = rng.integers(20, 40, 2)
            Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")


def images_of(dataset: object) -> np.ndarray:
    return np.concatenate([x for x, _ in DataLoader(dataset, 64, to_tensor=False)])


def test_digits_are_enlarged_and_normalised() -> None:
    task = load_task("digits", (1, 32, 32))
    train = images_of(task.train)
    assert train.shape == (1437, 1, 32, 32) and train.dtype == np.float32
    assert abs(train.mean()) < 1e-4 and abs(train.std() - 1) < 1e-4
    assert task.classes == tuple("0123456789")
    raw = Digits(size=32).data
    np.testing.assert_allclose(train, (raw - task.mean[0]) / task.std[0], rtol=1e-4, atol=1e-5)
    assert load_task("digits", (1, 8, 8)).test[0][0].shape == (1, 8, 8)


def test_mnist_is_padded_not_resized(tmp_path: Path) -> None:
    images = write_mnist(tmp_path)
    task = load_task("mnist", (1, 32, 32), data_dir=str(tmp_path))
    x = images_of(task.test)[:, 0] * task.std[0] + task.mean[0]
    np.testing.assert_allclose(x[:, 2:30, 2:30], images / 255, atol=1e-5)
    x[:, 2:30, 2:30] = 0
    np.testing.assert_allclose(x, 0, atol=1e-6)
    smaller = load_task("mnist", (3, 14, 14), data_dir=str(tmp_path))
    assert smaller.test[0][0].shape == (3, 14, 14)
    assert images_of(load_task("mnist", (1, 28, 28), data_dir=str(tmp_path)).train).shape == (12, 1, 28, 28)


def test_given_statistics_are_used(tmp_path: Path) -> None:
    images = write_mnist(tmp_path)
    task = load_task("mnist", (1, 28, 28), data_dir=str(tmp_path), statistics=([0.5], [0.25]))
    np.testing.assert_allclose(images_of(task.test)[:, 0], (images / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-5)
    assert (task.mean, task.std) == ((0.5,), (0.25,))


def test_only_the_training_part_is_augmented(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    for name in ("shift", "affine", "flip"):
        task = load_task("mnist", (1, 32, 32), data_dir=str(tmp_path), augment=name)
        plain = load_task("mnist", (1, 32, 32), data_dir=str(tmp_path))
        np.testing.assert_array_equal(images_of(task.test), images_of(plain.test))
        first, again = images_of(task.train), images_of(task.train)
        assert (first != images_of(plain.train)).any((1, 2, 3)).mean() > 0.5
        np.testing.assert_array_equal(first, again)
        loader = DataLoader(task.train, 64, to_tensor=False)
        loader.set_epoch(1)
        assert (next(iter(loader))[0] != first).any()
        assert task.mean == plain.mean


def test_a_folder_with_train_and_test(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": 5, "dog": 4})
    write_folder(tmp_path / "val", {"cat": 2, "dog": 1}, seed=1)
    task = load_task(str(tmp_path), (3, 16, 16))
    assert (len(task.train), len(task.test), task.classes) == (9, 3, ("cat", "dog"))
    x = images_of(task.train)
    assert x.shape == (9, 3, 16, 16) and np.abs(x.mean((0, 2, 3))).max() < 1e-4
    assert load_task(str(tmp_path), (1, 12, 20)).test[0][0].shape == (1, 12, 20)
    write_folder(tmp_path / "val", {"fox": 1})
    with pytest.raises(TrainingError, match="the classes differ: train has cat, dog, val has cat, dog, fox"):
        load_task(str(tmp_path), (3, 16, 16))


def test_a_folder_without_parts_is_split(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 10, "b": 10})
    first, again = (load_task(str(tmp_path), (3, 8, 8)) for _ in range(2))
    assert (len(first.train), len(first.test)) == (16, 4)
    np.testing.assert_array_equal(images_of(first.test), images_of(again.test))


def test_images_of_any_size_keep_their_shape() -> None:
    """Resized by the shorter side and cropped in the middle, not squeezed."""
    steps = to_input((3, 0, 0), (3, 8, 8), ink=False)
    image = np.random.default_rng(73).integers(0, 256, (3, 24, 12), dtype=np.uint8)
    for step in steps:
        image = step(image)
    original = np.random.default_rng(73).integers(0, 256, (3, 24, 12), dtype=np.uint8)
    np.testing.assert_allclose(image, resize(original, (16, 8))[:, 4:12] / 255, atol=1e-6)


def test_colours() -> None:
    rgb = np.array([[[255, 0, 0, 10]], [[0, 255, 0, 20]], [[0, 0, 255, 30]]], np.uint8)  # (3, 1, 4)
    gray = rgb
    for step in to_input((3, 1, 4), (1, 1, 4), ink=False):
        gray = step(gray)
    np.testing.assert_allclose(gray * 255, [[[76, 150, 29, 18]]], atol=1e-4)
    with pytest.raises(TrainingError, match="images of 2 channels do not fit a model with 3 input channels"):
        to_input((2, 4, 4), (3, 4, 4), ink=False)


def test_measure_against_numpy() -> None:
    images = np.random.default_rng(72).random((700, 2, 3, 5)).astype(np.float32)
    mean, std = measure([(image, 0) for image in images])
    np.testing.assert_allclose(mean, images.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, images.std((0, 2, 3)), rtol=1e-5)
    assert measure([(np.zeros((1, 2, 2)), 0)])[1] == (1.0,)  # nothing to divide by


def test_wrong_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"there is no data set 'digit'; did you mean digits\? Known: digits, mnist"
    ):
        find_source("digit")
    with pytest.raises(TrainingError, match=r"no data set 'zzz'\. Known: .*, or the path of a folder"):
        find_source("zzz")
    with pytest.raises(DataNotFoundError, match="MNIST needs these files in"):
        load_task("mnist", (1, 32, 32), data_dir=str(tmp_path))


def test_the_real_mnist(shared_data: Path) -> None:
    task = load_task("mnist", (1, 28, 28), data_dir=str(shared_data / "mnist"))
    assert (len(task.train), len(task.test)) == (60_000, 10_000)
    assert task.mean[0] == pytest.approx(0.1307, abs=1e-3) and task.std[0] == pytest.approx(0.3081, abs=1e-3)


def test_photographs_as_the_papers_change_them(tmp_path: Path) -> None:
    """Crops of images of any size: the model's input comes out, values differ from epoch to epoch, tests stay."""
    write_folder(tmp_path / "photos", {"a": 5, "b": 5})
    for name in ("alexnet", "vgg", "resnet", "inception", "autoaugment"):
        task = load_task(f"folder:{tmp_path / 'photos'}", (3, 16, 16), augment=name)
        image = task.train[0][0]
        assert image.shape == (3, 16, 16) and image.dtype == np.float32 and np.isfinite(image).all()
    with pytest.raises(TrainingError, match="--augment vgg changes colours, but the model takes 1 channel"):
        load_task(str(tmp_path / "photos"), (1, 16, 16), augment="vgg")


def test_mirrored_borders(tmp_path: Path) -> None:
    task = load_task("digits", (1, 32, 32), augment="reflect")
    assert task.train[0][0].shape == (1, 32, 32)
