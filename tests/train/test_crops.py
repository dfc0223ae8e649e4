"""Crops of photographs: the mean image they are subtracted from before, and tests on ten of them."""

from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.cli._app import run
from minidl.data import DataLoader, read_image
from minidl.data import transforms as T
from minidl.predict import Preprocess, Views
from minidl.train import TrainConfig, TrainingError, evaluate, load_run, load_task, predict, resume_run, start_run
from minidl.train.answers import prepare_image
from minidl.train.crops import TenCrops, ten_crops, whole_shape
from minidl.train.normalization import Normalization
from minidl.train.run import _known_or_name
from tests.train.test_tasks import write_folder

pytest.importorskip("PIL.Image")
SHAPE = (3, 21, 21)  # cut from 24 by 24


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        write_folder(tmp_path / "photos" / part, {"a": 6, "b": 5}, seed=len(part))
    return tmp_path / "photos"


def middle(path: Path) -> np.ndarray:
    """The shorter side at 24, the middle 24 x 24, of values 0 to 255: by transforms with tests of their own."""
    return T.CenterCrop(24)(T.Resize(24)(read_image(path))).astype(np.float64)


def test_ten_crops_are_those_of_predict() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 24, 26), np.uint8)
    how = Preprocess(resize=(24, 26), crop=(21, 20))
    wanted = list(Views(crops=10)(image, how))
    found = list(ten_crops(minidl.tensor(how.normalized(image)[None]), (21, 20)))
    pairs = [x.numpy()[0].tobytes() for x in found], [np.ascontiguousarray(x).tobytes() for x in wanted]
    assert len(found) == 10 and sorted(pairs[0][:8]) == sorted(pairs[1][:8])  # the corners
    assert {x.shape for x in found} == {(1, 3, 21, 20)}
    np.testing.assert_array_equal(found[9].numpy(), found[8].numpy()[..., ::-1])
    np.testing.assert_array_equal(found[8].numpy()[0], how.normalized(image)[:, 1:22, 3:23])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_are_averaged(dtype: str) -> None:
    minidl.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 19 * 19, 5)).to(dtype).eval()
    x = minidl.tensor(np.random.default_rng(2).standard_normal((3, 3, 24, 24)).astype(dtype) * 5)
    found = TenCrops(net, (21, 21))(x).exp().detach().numpy()
    views = [net(view).softmax(1).detach().numpy().astype("float64") for view in ten_crops(x, (21, 21))]
    np.testing.assert_allclose(found, np.mean(views, axis=0), rtol=2e-5 if dtype == "float32" else 1e-12)
    assert not TenCrops(net, (21, 21)).training and TenCrops(net.train(), (21, 21)).training


def test_the_mean_image_of_photographs(photos: Path) -> None:
    """Krizhevsky et al. 2012, section 2: of the middles, on the scale of 0 to 255, before crops are cut."""
    files = {part: sorted((photos / part).rglob("*.png")) for part in ("train", "test")}
    mean = np.mean([middle(path) for path in files["train"]], axis=0)  # (3, 24, 24)
    task = load_task(str(photos), SHAPE, normalize="mean_photo", augment="alexnet")
    assert task.normalization.arrays["mean"].shape == whole_shape(SHAPE) == (3, 24, 24)
    np.testing.assert_allclose(task.normalization.arrays["mean"] * 255, mean, rtol=1e-5)
    for i, path in enumerate(files["test"]):
        wanted = (middle(path) - mean)[:, 1:22, 1:22]
        np.testing.assert_allclose(task.test[i][0], wanted, rtol=1e-3, atol=1e-3)
    ten = load_task(str(photos), SHAPE, normalize=task.normalization, test_crops=10)
    np.testing.assert_allclose(ten.test[3][0], middle(files["test"][3]) - mean, rtol=1e-3, atol=1e-3)
    plain = load_task(str(photos), SHAPE, normalize=task.normalization, augment="none")
    np.testing.assert_allclose(
        plain.train[2][0], (middle(files["train"][2]) - mean)[:, 1:22, 1:22], rtol=1e-3, atol=1e-3
    )
    np.testing.assert_array_equal(plain.test[1][0], task.test[1][0])


def test_random_crops_of_what_is_left(photos: Path) -> None:
    """alexnet: any place, mirrored or not, plus one colour; corners: five places, mirrored or not."""
    whole = load_task(str(photos), SHAPE, normalize="mean_photo", test_crops=10)
    first = load_task(str(photos), SHAPE, normalize=whole.normalization, augment="none", test_crops=10).normalization
    images = {
        name: load_task(str(photos), SHAPE, normalize=first, augment=name).train for name in ("alexnet", "corners")
    }
    path = sorted((photos / "train").rglob("*.png"))[0]
    source = middle(path) - first.arrays["mean"].astype("float64") * 255
    windows = np.lib.stride_tricks.sliding_window_view(source, (21, 21), axis=(1, 2))  # (3, 4, 4, 21, 21)
    both = np.stack([windows, windows[..., ::-1]])  # (2, 3, 4, 4, 21, 21)
    seen = {"alexnet": set(), "corners": set()}
    for name, dataset in images.items():
        for epoch in range(40):
            loader = DataLoader(dataset, 1, seed=3, to_tensor=False)
            loader.set_epoch(epoch)
            crop = next(iter(loader))[0][0]
            rest = crop[None, :, None, None] - both  # of the right window one colour, or nothing
            spread = np.ptp(rest, axis=(-1, -2)).max(1)  # (2, 4, 4)
            place = np.unravel_index(spread.argmin(), spread.shape)
            assert spread.min() < 1e-2
            colour = abs(rest[place[0], :, place[1], place[2]]).max()
            assert (colour > 1e-2) == (name == "alexnet")
            seen[name].add(tuple(int(n) for n in place))
    assert len(seen["alexnet"]) > 15
    assert seen["corners"] == {(flip, *place) for flip in (0, 1) for place in ((0, 0), (0, 3), (3, 0), (3, 3), (1, 1))}


def test_a_run_is_tested_on_ten_crops_everywhere(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TrainConfig(
        data=str(photos), epochs=2, batch_size=4, lr=1e-3, optimizer="sgd", augment="corners",
        normalize="mean_photo", test_crops=10, options={"input_size": 28},
    )  # fmt: skip
    folder = photos.parent / "run"
    start_run("lenet5", config, folder).fit(1)
    history = resume_run(folder).fit(2)
    loaded = load_run(folder)
    assert loaded.fitted["mean"].shape == (3, 32, 32) and loaded.input_shape == (3, 28, 28)
    task = load_task(str(photos), (3, 28, 28), normalize=loaded.normalization, test_crops=10)
    net = TenCrops(loaded.model, (28, 28))
    assert evaluate(net, DataLoader(task.test, 256)).loss == history[-1]["test_loss"]
    assert (
        evaluate(
            loaded.model, DataLoader(load_task(str(photos), (3, 28, 28), normalize=loaded.normalization).test, 9)
        ).loss
        != history[-1]["test_loss"]
    )
    assert run(["eval", str(folder)]) == 0
    assert f"loss {history[-1]['test_loss']:.4f}" in capsys.readouterr().out
    path = sorted((photos / "test").rglob("*.png"))[4]
    (answer,) = predict(loaded, [path])
    wanted = net(minidl.tensor(task.test[4][0][None])).exp().detach().numpy()[0]
    assert dict(answer.ranking) == pytest.approx(dict(zip("ab", wanted.tolist(), strict=True)), rel=1e-5)
    assert prepare_image(path, loaded)[0].shape == (3, 28, 28)  # what the other commands look at


def test_weights_bring_their_mean_image_along() -> None:
    known = Normalization("mean_photo", (0.0,), (1.0,), {"mean": np.zeros((3, 24, 24), np.float32)})
    assert _known_or_name(known, "mean_photo", SHAPE) is known
    assert _known_or_name(known, "mean_photo", (3, 24, 24)) == "mean_photo"


def test_what_does_not_go_together(photos: Path) -> None:
    with pytest.raises(TrainingError, match="--test-crops is 1 or 10, not 5"):
        start_run("lenet5", TrainConfig(test_crops=5), photos.parent / "run")
    message = "--augment corners and --test-crops 10 cuts crops out of larger images, but --normalize mean_image is "
    message += "measured on images of the size of the crops: take --normalize mean_photo or colours"
    with pytest.raises(TrainingError, match=message):
        load_task(str(photos), SHAPE, normalize="mean_image", augment="corners", test_crops=10)
    message = "--augment vgg changes the size of photographs, and --normalize mean_photo subtracts a mean image, which"
    with pytest.raises(TrainingError, match=message):
        load_task(str(photos), SHAPE, normalize="mean_photo", augment="vgg")
