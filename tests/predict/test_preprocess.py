"""Preprocessing by its definition, and as everybody does it: with Pillow."""

import re

import numpy as np
import pytest

from minidl import models
from minidl.predict import PREPROCESS, PredictError, Preprocess, parse_preprocess, read_photo
from minidl.predict.load import default_preprocess

image_module = pytest.importorskip("PIL.Image")


def photo(h: int, w: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(h * w).integers(0, 256, (channels, h, w), np.uint8)


@pytest.mark.parametrize("h, w", [(300, 400), (401, 300), (256, 256), (100, 333), (256, 300)])
def test_as_torchvision_does_it_with_pillow(h: int, w: int) -> None:
    """Shorter side to 256, longer one rounded down; centre rounded half to even; x / 255 - mean, / std."""
    image = photo(h, w)
    picture = image_module.fromarray(image.transpose(1, 2, 0))
    size = (256, int(256 * h / w)) if w < h else (int(256 * w / h), 256)  # (width, height)
    small = np.asarray(picture.resize(size, image_module.Resampling.BILINEAR))
    top, left = int(round((size[1] - 224) / 2.0)), int(round((size[0] - 224) / 2.0))  # noqa: RUF046
    part = small[top : top + 224, left : left + 224].astype(np.float64) / 255
    expected = ((part - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    x = PREPROCESS["imagenet"](image)
    assert x.dtype == np.float32 and x.shape == (3, 224, 224)
    np.testing.assert_allclose(x, expected, atol=1e-6)


def test_caffe_distorts_and_has_blue_first() -> None:
    image = photo(300, 500)
    picture = image_module.fromarray(image.transpose(1, 2, 0)).resize((256, 256), image_module.Resampling.BILINEAR)
    pixels = np.asarray(picture)[14:241, 14:241].astype(np.float32)
    x = PREPROCESS["caffe"](image)
    assert x.shape == (3, 227, 227)
    for place, (channel, mean) in enumerate([(2, 104), (1, 117), (0, 123)]):
        np.testing.assert_array_equal(x[place], pixels[:, :, channel] - mean)


def test_gray_images_and_bicubic() -> None:
    gray = photo(40, 50, 1)
    x = PREPROCESS["mnist_caffe"](gray)
    small = np.asarray(image_module.fromarray(gray[0]).resize((35, 28), image_module.Resampling.BILINEAR))
    np.testing.assert_array_equal(x[0], small[:, 4:32].astype(np.float32) / 256)  # (35 - 28) / 2 = 3.5, to even
    sharp = Preprocess(resize=32, crop=(20, 30), interpolation="bicubic").resized(photo(64, 80))
    picture = image_module.fromarray(photo(64, 80).transpose(1, 2, 0)).resize((40, 32), image_module.Resampling.BICUBIC)
    np.testing.assert_array_equal(sharp, np.asarray(picture).transpose(2, 0, 1))


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    image = photo(32, 32)
    np.testing.assert_array_equal(PREPROCESS["cifar"].resized(image), image)


def test_every_one_says_what_it_does() -> None:
    said = {name: str(p) for name, p in PREPROCESS.items()}
    assert said["caffe"] == "256x256 (bilinear), centre 227x227, BGR, x - (104, 117, 123)"
    assert said["mnist_caffe"] == "shorter side to 28 (bilinear), centre 28x28, L, x / 256"
    assert said["inception"].endswith("RGB, (x / 255 - (0.5, 0.5, 0.5)) / (0.5, 0.5, 0.5)")


def test_the_words_of_the_command_line() -> None:
    assert parse_preprocess("imagenet") == Preprocess()
    assert parse_preprocess("resize=232") == Preprocess(resize=232)
    given = parse_preprocess("caffe, crop=224/200, mean=1/2/3.5, interpolation=bicubic, divide=2")
    assert given == Preprocess((256, 256), (224, 200), "bicubic", "BGR", 2.0, (1.0, 2.0, 3.5), (1.0, 1.0, 1.0))
    grey = parse_preprocess("channels=L,mean=0.5,std=0.25")
    assert (grey.mode, grey.mean, grey.std) == ("L", (0.5,), (0.25,))


@pytest.mark.parametrize(
    "text, message",
    [
        ("imagnet", "'imagnet' is no preprocessing: known are imagenet, inception"),
        ("imagenet,caffe", "'caffe' is no preprocessing: known are"),
        ("imagenet,caffe", ", and fields as in 'imagenet,resize=232,mean=0.5/0.5/0.5'"),
        ("croop=3", "preprocessing has no field 'croop'; did you mean crop? It has channels, crop, divide"),
        ("crop=a", "crop=a of the preprocessing is no number, and no numbers with / between"),
        ("crop=0", "crop is a side in pixels or (height, width), not 0"),
        ("resize=4/0", "resize is a side in pixels or (height, width), not (4, 0)"),
        ("resize=1/2/3", "resize is a side in pixels or (height, width), not (1, 2, 3)"),
        ("divide=1/2", "divide=1/2 of the preprocessing: all channels are divided by one number"),
        ("divide=nan", "divide and std are divided by, so they are positive: nan, "),
        ("std=1/inf/1", "divide and std are divided by, so they are positive: 255, (1.0, inf, 1.0)"),
        ("mean=1/2/nan", "the mean is a number for each channel, not (1.0, 2.0, nan)"),
        ("interpolation=best", "interpolation is one of nearest, bilinear, bicubic, lanczos, not 'best'"),
        ("channels=GBR", "channels is one of RGB, BGR, L, not 'GBR'"),
        ("mean=1/2", "RGB has 3 channels, but there are 2 numbers for the mean and 3 for the deviation"),
        ("std=0/1/1", "divide and std are divided by, so they are positive: 255, (0.0, 1.0, 1.0)"),
    ],
)
def test_mistakes_on_the_command_line(text: str, message: str) -> None:
    with pytest.raises(PredictError, match=re.escape(message)):
        parse_preprocess(text)


def test_a_crop_that_does_not_fit() -> None:
    with pytest.raises(
        PredictError, match="a crop of 224x224 does not fit into an image of 200x266: resize to 224 at least, or crop"
    ):
        Preprocess(resize=200)(photo(300, 400))


def test_defaults_for_networks_without_public_weights() -> None:
    assert default_preprocess(models.info("resnet50_v1")) == Preprocess()
    assert default_preprocess(models.info("nasnet_a_large")).crop == 331
    assert default_preprocess(models.info("nin_cifar10")) == Preprocess(resize=32, crop=32)
    assert default_preprocess(models.info("lenet5")).channels == "L"


def test_a_photograph_is_turned_as_the_camera_says(tmp_path) -> None:
    image = photo(6, 10)
    picture = image_module.fromarray(image.transpose(1, 2, 0))
    exif = image_module.Exif()
    exif[0x0112] = 6  # the top is at the right: to be turned by 90 degrees clockwise
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), np.rot90(image, -1, axes=(1, 2)))
