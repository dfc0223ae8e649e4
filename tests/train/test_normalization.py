"""What is measured on the training images: applied to all others, kept with the run, and taken along."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minidl
import minidl.models
from minidl.cli._app import run as main
from minidl.data import ArrayDataset, DataLoader, Digits
from minidl.data import transforms as T
from minidl.train import (
    CheckpointError,
    TrainConfig,
    TrainingError,
    evaluate,
    load_checkpoint,
    load_run,
    load_task,
    predict,
    resume_run,
    start_run,
)  # fmt: skip
from minidl.train import normalization as normalization_module
from minidl.train.answers import prepare_image
from minidl.train.checkpoint import save_checkpoint
from minidl.train.normalization import Normalization, fit_normalization
from minidl.train.start import find_start
from tests.train.small_run import outcome
from tests.train.test_tasks import images_of

KINDS = ("mean_image", "whiten")


def raw(train: bool) -> np.ndarray:
    """The digits as floats in [0, 1]."""
    task = load_task("digits", (1, 8, 8), statistics=((0.0,), (1.0,)))
    return images_of(task.train if train else task.test)


def wanted(name: str, images: np.ndarray, training: np.ndarray) -> np.ndarray:
    """By the definitions, in float64: contrast 55, then V (L + 0.1)^-1/2 V^T of the training images' covariance."""
    if name == "mean_image":
        return images - training.mean(0)

    def contrast(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1).astype(np.float64)
        flat = flat - flat.mean(1, keepdims=True)
        return 55 * flat / np.linalg.norm(flat, axis=1, keepdims=True)

    centre = contrast(training).mean(0)
    variances, axes = np.linalg.eigh(np.cov(contrast(training), rowvar=False, bias=True))
    return ((contrast(images) - centre) @ (axes / np.sqrt(variances + 0.1)) @ axes.T).reshape(images.shape)


@pytest.mark.parametrize("name", KINDS)
def test_all_images_are_normalised_by_what_the_training_images_are_like(name: str) -> None:
    training, testing = raw(True), raw(False)
    task = load_task("digits", (1, 8, 8), normalize=name)
    for dataset, images in ((task.train, training), (task.test, testing)):
        got = images_of(dataset)
        assert got.dtype == np.float32
        np.testing.assert_allclose(
            got, wanted(name, images, training), rtol=1e-3, atol=2e-3 if name == "whiten" else 1e-6
        )
    assert (task.mean, task.std) == ((0.0,), (1.0,))
    again = load_task("digits", (1, 8, 8), normalize=task.normalization)
    np.testing.assert_array_equal(images_of(again.test), images_of(task.test))


def test_images_are_moved_over_zeros_and_as_far_as_is_said() -> None:
    task = load_task("digits", (1, 8, 8), normalize="mean_image", augment="flip", max_shift=3)
    plain = images_of(load_task("digits", (1, 8, 8), normalize="mean_image").train)
    moved = images_of(task.train)
    black = -task.normalization.arrays["mean"]  # what is 0 in the picture
    edge = moved[:, 0, 0]  # (N, W): a row that a shift downwards has brought in is 0, not black
    assert (np.abs(edge).sum(1) == 0).mean() > 0.2 and np.abs(black[0, 0]).sum() > 0
    shifts = set()
    for before, after in zip(plain[:60], moved[:60]):
        framed = np.pad(before[0], 3)
        found = [
            (y - 3, x - 3) for y in range(7) for x in range(7) for image in (framed, framed[:, ::-1])
            if np.array_equal(image[y : y + 8, x : x + 8], after[0])
        ]  # fmt: skip
        assert found
        shifts.update(found)
    assert {abs(n) for pair in shifts for n in pair} == {0, 1, 2, 3}
    shifted = load_task("digits", (1, 8, 8), augment="shift", max_shift=0, statistics=((0.0,), (1.0,)))
    np.testing.assert_array_equal(images_of(shifted.train), raw(True))


@pytest.mark.parametrize("name", KINDS)
def test_a_run_keeps_what_was_measured(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(data="digits", epochs=2, batch_size=256, normalize=name, augment="shift")
    start_run("mlp", config, tmp_path / "whole").fit(2)
    start_run("mlp", config, tmp_path / "parts").fit(1)

    def measured_again(*args: object) -> None:
        raise AssertionError("it is in the checkpoint")

    monkeypatch.setattr("minidl.train.tasks.fit_normalization", measured_again)
    trainer = resume_run(tmp_path / "parts")
    history = trainer.fit(2)
    assert outcome(tmp_path / "whole") == outcome(tmp_path / "parts")

    loaded = load_run(tmp_path / "whole")
    task = load_task("digits", (1, 8, 8), normalize=loaded.normalization)
    assert evaluate(loaded.model, DataLoader(task.test, 256)).loss == history[-1]["test_loss"]
    pixels = np.round(255 * Digits(train=False).data[3]).astype(np.uint8)
    Image.fromarray(pixels[0]).save(tmp_path / "drawing.png")
    expected = T.Compose([T.ToFloat(), *task.normalization.transforms])(pixels)
    for path in (tmp_path / "whole", tmp_path / "whole" / "best.safetensors"):  # each file has all that it needs
        prepared, _ = prepare_image(tmp_path / "drawing.png", load_run(path), invert=False)
        np.testing.assert_array_equal(prepared, expected)
    (answer,) = predict(loaded, [tmp_path / "drawing.png"], invert=False)
    assert answer.ranking[0][0] == str(loaded.model(minidl.from_numpy(expected[None])).argmax(1).item())
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["eval", str(tmp_path / "whole")]) == 0
    assert f"test accuracy {100 * history[-1]['test_accuracy']:.2f} %" in capsys.readouterr().out


def test_weights_to_begin_with_bring_it_along(tmp_path: Path) -> None:
    quick = {"data": "digits", "epochs": 1, "batch_size": 512}
    first = start_run("mlp", TrainConfig(**quick, normalize="whiten"), tmp_path / "one")
    first.fit(1)
    weights = str(tmp_path / "one")
    taken = start_run("mlp", TrainConfig(**quick, weights=weights), tmp_path / "two")
    assert taken.config["settings"]["normalize"] == "whiten"
    for name, value in first.fitted.items():
        assert taken.fitted[name] is not value
        np.testing.assert_array_equal(taken.fitted[name], value)
    other = start_run("mlp", TrainConfig(**quick, weights=weights, normalize="colours"), tmp_path / "three")
    assert not other.fitted and other.config["std"] != [1.0]  # measured, not the 0 and 1 of the whitened run
    assert find_start(weights, "mlp").statistics((1, 8, 8)) is None
    small = Normalization("whiten", (0.0,), (1.0,), {"mean": np.zeros((1, 4, 4), np.float32)})
    from minidl.train.run import _known_or_name

    assert (
        _known_or_name(small, "whiten", (1, 8, 8)) == "whiten" and _known_or_name(small, "whiten", (1, 4, 4)) is small
    )


def test_a_checkpoint_that_lost_it_is_refused(tmp_path: Path) -> None:
    start_run("mlp", TrainConfig(data="digits", epochs=1, batch_size=512, normalize="mean_image"), tmp_path).fit(1)
    path = tmp_path / "checkpoint.safetensors"
    state = load_checkpoint(path)
    del state["fitted"]
    save_checkpoint(path, state)
    for use in (load_run, resume_run):
        with pytest.raises(CheckpointError, match="was not written by minidl train, it lacks fitted; load its weights"):
            use(tmp_path)


def test_samples_that_come_one_by_one_are_measured_as_in_batches() -> None:
    images = raw(True)[:300]
    for name in KINDS:
        one, many = (fit_normalization(name, data) for data in ([(x, 0) for x in images], ArrayDataset(images)))
        for key, value in one.arrays.items():
            np.testing.assert_array_equal(value, many.arrays[key])


def test_mistakes_are_told(tmp_path: Path) -> None:
    large = [(np.zeros((3, 64, 64), np.float32), 0)]
    with pytest.raises(TrainingError, match="--normalize whiten: whitening takes a matrix of D x D numbers with"):
        fit_normalization("whiten", large)
    with pytest.raises(
        TrainingError, match="--normalize is colours, mean_image, mean_photo, whiten or paper_ink, not zca"
    ):
        fit_normalization("zca", large)
    with pytest.raises(TrainingError, match="--max-shift must be at least 0, not -1"):
        start_run("mlp", TrainConfig(max_shift=-1), tmp_path)
    assert normalization_module.fit_normalization("mean_image", large).shape == (3, 64, 64)
    assert [type(t) for t in Normalization("colours", (0.5,), (0.5,)).transforms] == [T.Normalize]
    assert minidl.models.list()
