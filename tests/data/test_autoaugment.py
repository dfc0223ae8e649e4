"""AutoAugment's operations against Pillow's, and its policy against the table of the paper."""

import re

import numpy as np
import pytest

from minidl.data import _autoaugment as auto
from minidl.data import transforms as T

SHAPES = [(3, 17, 23), (3, 40, 31), (3, 3, 3)]


def picture(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Noise on a ramp, so that some values are rare; the channels differ."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(20, 200, shape[2])
    return np.clip(ramp + 30 * rng.standard_normal(shape) * [[[1]], [[0.2]], [[2]]], 0, 255).astype(np.uint8)


def pillow(name: str, image: np.ndarray, value: float | None) -> np.ndarray:
    modules = (
        pytest.importorskip("PIL.Image"),
        pytest.importorskip("PIL.ImageOps"),
        pytest.importorskip("PIL.ImageEnhance"),
    )
    image_module, ops, enhance = modules
    photo = image_module.fromarray(image.transpose(1, 2, 0))
    done = {
        "posterize": lambda: ops.posterize(photo, round(value)),
        "solarize": lambda: ops.solarize(photo, value),
        "invert": lambda: ops.invert(photo),
        "autocontrast": lambda: ops.autocontrast(photo),
        "equalize": lambda: ops.equalize(photo),
        "color": lambda: enhance.Color(photo).enhance(value),
        "contrast": lambda: enhance.Contrast(photo).enhance(value),
        "sharpness": lambda: enhance.Sharpness(photo).enhance(value),
        "rotate": lambda: photo.rotate(value),
        "shear_x": lambda: photo.transform(photo.size, image_module.Transform.AFFINE, (1, value, 0, 0, 1, 0)),
    }[name]()
    return np.asarray(done).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", auto.OPERATIONS)
def test_each_operation_is_pillows(name: str, shape: tuple[int, ...]) -> None:
    for seed, magnitude in enumerate(range(10)):
        for positive in (True, False):
            image, value = picture(seed, shape), auto.amount(name, magnitude, positive)
            before = image.copy()
            found = auto.OPERATIONS[name][0](image, *(() if value is None else (value,)))
            np.testing.assert_array_equal(found, pillow(name, image, value), err_msg=f"{name} {value}")
            np.testing.assert_array_equal(image, before)
            assert found.dtype == np.uint8


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast", "sharpness"])
def test_images_of_one_or_two_values(name: str) -> None:
    for image in (np.full((3, 5, 6), 77, np.uint8), np.full((3, 5, 6), 0, np.uint8), np.full((3, 5, 6), 255, np.uint8)):
        value = auto.amount(name, 9)
        for _ in range(2):
            found = auto.OPERATIONS[name][0](image, *(() if value is None else (value,)))
            np.testing.assert_array_equal(found, pillow(name, image, value))
            image[:, 2:, 1:4] = 80


def test_the_policy_has_the_pairs_of_the_table() -> None:
    """Counted by operation in table 9."""
    assert len(auto.IMAGENET_POLICY) == 25 and all(len(pair) == 2 for pair in auto.IMAGENET_POLICY)
    names = [name for pair in auto.IMAGENET_POLICY for name, _, _ in pair]
    assert {name: names.count(name) for name in sorted(set(names))} == {
        "autocontrast": 2, "color": 6, "contrast": 2, "equalize": 17, "invert": 3, "posterize": 5, "rotate": 6,
        "sharpness": 1, "shear_x": 1, "solarize": 7,
    }  # fmt: skip


def test_what_magnitudes_mean() -> None:
    """The ends of the ranges of table 6."""
    ends = {name: (auto.amount(name, 0), auto.amount(name, 9)) for name in auto.OPERATIONS}
    assert ends == {
        **dict.fromkeys(("color", "contrast", "sharpness"), (0.1, 1.9)),
        **dict.fromkeys(("autocontrast", "equalize", "invert"), (None, None)),
        "rotate": (0, 30), "shear_x": (0, 0.3), "solarize": (0, 256), "posterize": (4, 8),
    }  # fmt: skip
    assert [round(auto.amount("posterize", m)) for m in (5, 6, 7, 8)] == [6, 7, 7, 8]
    assert auto.amount("shear_x", 5, positive=False) == pytest.approx(-0.3 * 5 / 9)


def test_a_pair_with_certainty_is_its_operations_in_order() -> None:
    image = picture(3, (3, 12, 15))
    both = T.AutoAugment([(("solarize", 1.0, 3), ("equalize", 1.0, 0))])
    wanted = auto.equalize(auto.solarize(image, 256 / 3))
    np.testing.assert_array_equal(both(image, np.random.default_rng(0)), wanted)
    turned = T.AutoAugment([(("rotate", 1.0, 9), ("invert", 0.0, 0))], fill=128)
    seen = {turned(image, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert seen == {auto.rotate(image, angle, 128).tobytes() for angle in (30, -30)}


def test_how_often_an_operation_is_applied() -> None:
    draw = T.AutoAugment([(("invert", 0.25, 0), ("solarize", 0.5, 9))]).draw
    rng = np.random.default_rng(1)
    names = [tuple(name for name, _ in draw(rng, (3, 4, 4))) for _ in range(4000)]
    for pair, share in (((), 0.375), (("invert",), 0.125), (("solarize",), 0.375), (("invert", "solarize"), 0.125)):
        assert names.count(pair) == pytest.approx(4000 * share, abs=130)  # 4 standard deviations


def test_a_batch_is_its_images() -> None:
    images = np.stack([picture(seed, (3, 9, 11)) for seed in range(30)])
    augment = T.AutoAugment()
    together = augment.batch(images, [np.random.default_rng(seed) for seed in range(30)])
    for seed, image in enumerate(images):
        np.testing.assert_array_equal(together[seed], augment(image, np.random.default_rng(seed)))
    assert not np.array_equal(together, images) and together.dtype == np.uint8


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="AutoAugment has no operation 'blur'; it has shear_x, rotate"):
        T.AutoAugment([(("blur", 1.0, 0), ("invert", 1.0, 0))])
    with pytest.raises(ValueError, match=r"takes a probability of 0 to 1 and a magnitude of 0 to 9, got 1\.0 and 10"):
        T.AutoAugment([(("rotate", 1.0, 10), ("invert", 1.0, 0))])
    message = (
        "AutoAugment works on uint8 images (3, H, W), got float32 (3, 4, 4); put it before ToFloat(), and channels"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        T.AutoAugment()(np.zeros((3, 4, 4), np.float32), np.random.default_rng(0))
