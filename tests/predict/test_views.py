"""Crops, mirror images, scales: which pixels they are."""

import re

import numpy as np
import pytest

from minidl.predict import PredictError, Preprocess, Views
from minidl.predict.views import squares

pytest.importorskip("PIL")
PLAIN = Preprocess(resize=20, crop=(12, 14), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), divide=1)


def photo(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(h + w).integers(0, 256, (3, h, w), np.uint8)


def look(views: Views, image: np.ndarray, preprocess: Preprocess = PLAIN) -> list[np.ndarray]:
    return list(views(image, preprocess))


def test_ten_crops_are_corners_and_centre_and_their_mirror_images() -> None:
    image = photo(20, 27)
    part = [image[:, a : a + 12, b : b + 14] for a, b in ((0, 0), (0, 13), (8, 0), (8, 13), (4, 6))]
    ten = look(Views(crops=10), image)
    assert len(ten) == 10
    for place, expected in enumerate(part):
        np.testing.assert_array_equal(ten[2 * place], expected)
        np.testing.assert_array_equal(ten[2 * place + 1], expected[:, :, ::-1])
    five = look(Views(crops=5), image)
    np.testing.assert_array_equal(five, ten[::2])
    np.testing.assert_array_equal(look(Views(crops=5, mirror=True), image), ten)
    np.testing.assert_array_equal(look(Views(), image), ten[8:9])
    np.testing.assert_array_equal(look(Views(mirror=True), image), ten[8:])


def test_scales_one_after_the_other() -> None:
    image = photo(50, 40)
    views = look(Views(crops=5, scales=(20, 30)), image)
    assert len(views) == 10 and {view.shape for view in views} == {(3, 12, 14)}
    np.testing.assert_array_equal(views[5], PLAIN.resized(image, 30)[:, :12, :14])
    assert PLAIN.resized(image, 30).shape == (3, 37, 30)


def test_dense_views_are_whole_images() -> None:
    image = photo(40, 50)
    views = look(Views(dense=True, scales=(20, 33), mirror=True), image)
    assert [view.shape for view in views] == [(3, 20, 25)] * 2 + [(3, 33, 41)] * 2
    np.testing.assert_array_equal(views[2], PLAIN.resized(image, 33))
    np.testing.assert_array_equal(views[1], views[0][:, :, ::-1])


@pytest.mark.parametrize("h, w", [(60, 80), (90, 60)])
def test_the_144_views_of_googlenet(h: int, w: int) -> None:
    """4 scales x 3 squares x (4 corners, centre, the square itself) x 2."""
    image, prepare = photo(h, w), Preprocess(resize=1, crop=21, mean=(0.0,) * 3, std=(1.0,) * 3, divide=1)
    views = look(Views(crops=144), image, prepare)
    assert len(views) == 144 and {view.shape for view in views} == {(3, 21, 21)}
    resized = prepare.resized(image, 33)  # the last scale, 11/7 of 21
    last = resized[:, -33:, -33:]
    np.testing.assert_array_equal(views[-12], last[:, :21, :21])
    np.testing.assert_array_equal(views[-1], prepare.resized(last, 21)[:, :, ::-1])
    default = [round(224 * k / 7) for k in (8, 9, 10, 11)]
    assert default == [256, 288, 320, 352]


def test_squares() -> None:
    wide = photo(4, 9)
    expected = [wide[:, :, 0:4], wide[:, :, 2:6], wide[:, :, 5:9]]
    for found, part in zip(squares(wide), expected, strict=True):
        np.testing.assert_array_equal(found, part)
    for found, part in zip(squares(wide.transpose(0, 2, 1)), expected, strict=True):
        np.testing.assert_array_equal(found, part.transpose(0, 2, 1))


def test_every_view_says_what_it_is() -> None:
    assert str(Views()) == "1 crop" and str(Views(crops=10)) == "10 crops"
    assert str(Views(scales=(256, 384), dense=True, mirror=True)) == "the whole image at 256, 384, mirrored too"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"crops": 3}, "crops is one of 1, 5, 10, 144, not 3"),
        ({"crops": 10, "dense": True}, "dense evaluation sees the whole image, so it takes no 10 crops"),
        ({"scales": (20, 0)}, "scales are sides in pixels, not 20, 0"),
    ],
)
def test_mistakes(options: dict, message: str) -> None:
    with pytest.raises(PredictError, match=re.escape(message)):
        Views(**options)


def test_an_image_too_small_for_dense_evaluation() -> None:
    with pytest.raises(PredictError, match="dense evaluation of 10x12 pixels: the network needs 12x14"):
        look(Views(dense=True, scales=(10,)), photo(20, 25))
