import re

import numpy as np
import pytest

from minidl.data import ArrayDataset, Mapped, sample_rng
from minidl.data import transforms as T
from minidl.data._photometric import grayscale, rotate_hue
from minidl.data.rng import SampleRngs

RANDOM = [
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(0.3),
    T.RandomCrop((4, 3), padding=2),
    T.RandomResizedCrop((5, 4)),
    T.RandomScaledCrop((4, 3), (5, 9)),
    T.RandomTranslate((2, 1)),
    T.RandomRotation(30),
    T.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10, fill=0.5),
    T.ColorJitter(0.4, 0.4, 0.4, 0.2),
    T.PCAColorJitter(),
    T.Cutout(3),
    T.RandomErasing(0.8),
    T.Compose(
        [T.RandomCrop(5, padding=1), T.RandomHorizontalFlip(), T.ColorJitter(0.2), T.ToFloat(), T.Normalize(0.5, 0.2)]
    ),
]
FIXED = [
    T.Pad((1, 2, 3, 0)),
    T.CenterCrop((3, 2)),
    T.Resize(9),
    T.Resize((3, 8)),
    T.ToFloat(),
    T.Lambda(lambda x: x[::-1]),
]
ALL = RANDOM + FIXED


def name(transform):
    return type(transform).__name__


def images(dtype, n=6):
    x = np.random.default_rng(0).integers(0, 256, (n, 3, 7, 5), np.uint8)
    return x if dtype == np.uint8 else (x / 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("transform", ALL, ids=name)
def test_single_and_batch_agree_bit_for_bit(transform, dtype):
    x = images(dtype)
    before = x.copy()
    batch = transform.batch(x, SampleRngs(1, 2, range(6)))
    singles = [transform(x[i], sample_rng(1, 2, i)) for i in range(6)]
    np.testing.assert_array_equal(batch, np.stack(singles))
    np.testing.assert_array_equal(x, before)  # inputs are not written
    assert not np.shares_memory(batch, x) or isinstance(transform, T.Lambda)


@pytest.mark.parametrize("transform", ALL, ids=name)
def test_dtype_is_kept(transform):
    for dtype in (np.uint8, np.float32, np.float64):
        got = transform(images(dtype)[0], np.random.default_rng(0))
        changes = isinstance(transform, (T.ToFloat, T.Compose))
        assert got.dtype == (np.float32 if changes else dtype)


@pytest.mark.parametrize("transform", RANDOM, ids=name)
def test_same_seed_same_result_and_another_seed_another(transform):
    x = images(np.uint8, 1)[0]

    def run(epoch):
        return [transform(x, sample_rng(0, epoch, i)) for i in range(20)]

    for a, b in zip(run(0), run(0)):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(run(0), run(1)))
    assert transform.random


@pytest.mark.parametrize("transform", RANDOM, ids=name)
def test_random_transforms_ask_for_a_generator(transform):
    with pytest.raises(TypeError, match=r"\w+ is random and needs a generator: call transform\(image, numpy.random"):
        transform(images(np.uint8)[0])


@pytest.mark.parametrize("transform", ALL, ids=name)
def test_labels_are_preserved(transform):
    x, y = images(np.uint8), np.array([4, 2, 0, 9, 9, 1])
    data = ArrayDataset(x, y, transform=transform)
    assert [int(data[i][1]) for i in range(6)] == y.tolist()
    np.testing.assert_array_equal(data.get_batch(np.arange(6), SampleRngs(0, 0, range(6)))[1], y)
    assert Mapped(ArrayDataset(x, y), transform)[3][1] == 9


@pytest.mark.parametrize("transform", [*RANDOM[:-1], *FIXED[:-1]], ids=name)
def test_wrong_axes_are_explained(transform):
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=re.escape("got an array of shape (4, 5). The channel axis is missing: pass image[None]")
    ):
        transform(np.zeros((4, 5)), rng)
    with pytest.raises(ValueError, match=rf"For a batch \(N, C, H, W\) call {name(transform)}.batch\(images, rngs\)"):
        transform(np.zeros((2, 3, 4, 5)), rng)
    with pytest.raises(ValueError, match="Reshape it to channels, height, width"):
        transform(np.zeros(4), rng)
    with pytest.raises(
        ValueError, match=re.escape(f"{name(transform)}.batch works on (N, C, H, W), got shape (3, 4, 5)")
    ):
        transform.batch(np.zeros((3, 4, 5)), [rng] * 3)


def test_empty_batch():
    for transform in (*RANDOM, *FIXED):
        assert len(transform.batch(images(np.uint8)[:0], [])) == 0


# exact results


GRID = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)


def test_flips():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(T.RandomHorizontalFlip(1)(GRID, rng), GRID[:, :, ::-1])
    np.testing.assert_array_equal(T.RandomVerticalFlip(1)(GRID, rng), GRID[:, ::-1])
    np.testing.assert_array_equal(T.RandomVerticalFlip(0)(GRID, rng), GRID)
    flipped = sum(T.RandomHorizontalFlip(0.25)(GRID, sample_rng(0, 0, i))[0, 0, 0] == 3 for i in range(2000))
    assert 430 < flipped < 570
    with pytest.raises(ValueError, match=re.escape("p is a probability between 0 and 1, got 1.5")):
        T.RandomHorizontalFlip(1.5)


def test_pad():
    x = np.array([[[1, 2], [3, 4]]])
    np.testing.assert_array_equal(T.Pad(1, fill=7)(x)[0], [[7, 7, 7, 7], [7, 1, 2, 7], [7, 3, 4, 7], [7, 7, 7, 7]])
    np.testing.assert_array_equal(T.Pad((1, 0, 2, 1))(x)[0], [[0, 1, 2, 0, 0], [0, 3, 4, 0, 0], [0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(T.Pad((1, 0), padding_mode="reflect")(x)[0], [[2, 1, 2, 1], [4, 3, 4, 3]])
    np.testing.assert_array_equal(T.Pad((1, 0), padding_mode="edge")(x)[0], [[1, 1, 2, 2], [3, 3, 4, 4]])
    with pytest.raises(ValueError, match="padding_mode is one of constant, edge, reflect, symmetric, got 'wrap'"):
        T.Pad(1, padding_mode="wrap")
    for bad in ((1, 2, 3), -1):
        with pytest.raises(ValueError, match=r"padding is one number, \(left and right, top and bottom\) or \(left"):
            T.Pad(bad)


def test_center_crop():
    np.testing.assert_array_equal(T.CenterCrop((1, 2))(GRID), [[[5, 6]]])
    np.testing.assert_array_equal(T.CenterCrop((2, 3))(GRID), [[[0, 1, 2], [4, 5, 6]]])  # the odd one: below and right
    message = (
        "CenterCrop of height x width = 4 x 4 is larger than the image, H x W = 3 x 4; put Pad or Resize before "
        "it, or ask for at most 3 x 4"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        T.CenterCrop(4)(GRID)
    for bad in (0, (1, 2, 3)):
        with pytest.raises(ValueError, match=r"size is one side or \(height, width\), each >= 1, got"):
            T.CenterCrop(bad)


def test_random_crop_reaches_every_window_and_only_those():
    windows = {GRID[0, t : t + 2, l : l + 3].tobytes() for t in range(2) for l in range(2)}
    got = {T.RandomCrop((2, 3))(GRID, sample_rng(0, 0, i)).tobytes() for i in range(100)}
    assert got == windows
    padded = np.pad(GRID, ((0, 0), (1, 1), (2, 2)))
    windows = {padded[0, t : t + 3, l : l + 4].tobytes() for t in range(3) for l in range(5)}
    got = {T.RandomCrop((3, 4), padding=(2, 1))(GRID, sample_rng(0, 0, i)).tobytes() for i in range(400)}
    assert got == windows
    with pytest.raises(
        ValueError, match="RandomCrop of height x width = 6 x 6 is larger than the image, H x W = 5 x 6"
    ):
        T.RandomCrop(6, padding=1)(GRID, np.random.default_rng(0))


def test_translate():
    shift = T.RandomTranslate((2, 1), fill=9)
    moved = shift.apply(np.repeat(GRID[None], 2, 0), [(1, 0), (-2, -1)])
    np.testing.assert_array_equal(moved[0, 0], [[9, 9, 9, 9], [0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(moved[1, 0], [[9, 10, 11, 9], [9, 9, 9, 9], [9, 9, 9, 9]])
    drawn = {shift.draw(sample_rng(0, 0, i), (1, 3, 4)) for i in range(300)}
    assert drawn == {(y, x) for y in range(-2, 3) for x in range(-1, 2)}
    with pytest.raises(
        ValueError, match=r"shift is one number of pixels or \(vertical, horizontal\), each >= 0, got -1"
    ):
        T.RandomTranslate(-1)


def test_resize_sides():
    x = np.zeros((3, 4, 6), np.uint8)
    assert T.Resize(2)(x).shape == (3, 2, 3)
    assert T.Resize(8)(x.transpose(0, 2, 1)).shape == (3, 12, 8)
    assert T.Resize((5, 7))(x).shape == (3, 5, 7)
    np.testing.assert_array_equal(T.Resize((1, 2))(np.array([[[0, 10, 20, 30]]], np.uint8), None)[0, 0], [7, 23])
    np.testing.assert_array_equal(T.Resize((1, 2), antialias=False)(np.array([[[0.0, 10, 20, 30]]]))[0, 0], [5, 25])


def test_resized_crop_areas_ratios_and_content():
    crop = T.RandomResizedCrop(4, scale=(0.2, 0.5), ratio=(0.5, 2))
    boxes = np.array([crop.draw(sample_rng(0, 0, i), (3, 60, 80)) for i in range(500)])
    top, left, p, q = boxes.T
    area = p * q / 4800
    assert (top >= 0).all() and (left >= 0).all() and (top + p <= 60).all() and (left + q <= 80).all()
    assert 0.18 < area.min() < 0.22 and 0.47 < area.max() < 0.53
    assert 0.48 < (q / p).min() < 0.6 and 1.7 < (q / p).max() < 2.1
    # a box that never fits: the largest central one with an admitted ratio
    assert T.RandomResizedCrop(4, scale=(1, 1), ratio=(1, 1)).draw(sample_rng(0, 0, 0), (3, 4, 9)) == (0, 2, 4, 4)
    whole = T.RandomResizedCrop((3, 4), scale=(1, 1), ratio=(4 / 3, 4 / 3))
    np.testing.assert_array_equal(whole(GRID, np.random.default_rng(0)), GRID)
    for bad in ({"scale": (0, 1)}, {"ratio": (-1, 1)}):
        with pytest.raises(ValueError, match="scale and ratio must be > 0, got scale="):
            T.RandomResizedCrop(4, **bad)
    with pytest.raises(ValueError, match=re.escape("scale is (low, high) with low <= high, got (1.0, 0.5)")):
        T.RandomResizedCrop(4, scale=(1, 0.5))


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_quarter_turns_are_exact(turns):
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 5), np.uint8)
    got = T.RandomRotation((90 * turns, 90 * turns))(x, np.random.default_rng(0))
    np.testing.assert_array_equal(got, np.rot90(x, turns, axes=(1, 2)))  # both turn counter-clockwise


def test_rotation_fills_the_corners():
    got = T.RandomRotation((45, 45), fill=1.0)(np.zeros((1, 9, 9)), np.random.default_rng(0))
    assert got[0, 0, 0] == got[0, 8, 8] == 1 and got[0, 4, 4] == 0


def test_affine_parts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 5, 5))
    np.testing.assert_array_equal(T.RandomAffine(0)(x, rng), x)
    # twice as large: pixel (2 + d) shows what was at 2 + d / 2
    doubled = T.RandomAffine(0, scale=(2, 2))(x, rng)
    np.testing.assert_allclose(doubled[0, 0::2, 0::2], x[0, 1:4, 1:4], rtol=1e-12)
    # sheared by 45 degrees: row y slides by its distance from the middle row
    sheared = T.RandomAffine(0, shear=(45, 45))(x, rng)
    np.testing.assert_allclose(sheared[0, 2], x[0, 2], rtol=1e-12)
    np.testing.assert_allclose(sheared[0, 3, 1:], x[0, 3, :4], rtol=1e-9)
    np.testing.assert_allclose(sheared[0, 1, :4], x[0, 1, 1:], rtol=1e-9)
    # a shift of a whole pixel down and right
    cos_sin = (1.0, 0.0, 1.0, 0.0)
    moved = T.RandomAffine(0).apply(x[None], [(*cos_sin, 1.0, 2.0)])[0]
    np.testing.assert_array_equal(moved[0, 1:, 2:], x[0, :-1, :-2])
    draws = np.array([T.RandomAffine(0, (0.2, 0.1)).draw(sample_rng(0, 0, i), (1, 10, 30))[4:] for i in range(300)])
    assert (np.abs(draws).max(axis=0) <= [2, 3]).all() and (np.abs(draws).max(axis=0) > [1.9, 2.9]).all()


def test_affine_arguments():
    with pytest.raises(ValueError, match="degrees as one number must be >= 0, got -3"):
        T.RandomRotation(-3)
    with pytest.raises(ValueError, match=re.escape("scale must be > 0, got (0.0, 1.0); 1 is the original size")):
        T.RandomAffine(0, scale=(0, 1))
    with pytest.raises(
        ValueError, match=re.escape("translate is a fraction of (H, W), each between 0 and 1, got (3.0, 0.0)")
    ):
        T.RandomAffine(0, translate=(3, 0))


def test_to_float_and_normalize():
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        got = T.ToFloat()(np.array([[[0, top // 5, top]]], dtype))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, np.array([[[0, 0.2, 1]]], np.float32))
    assert T.ToFloat(np.float64)(np.ones((1, 1, 1), np.float32)).dtype == np.float64
    x = np.arange(6.0).reshape(3, 1, 2)
    got = T.Normalize((1, 2, 3), (1, 2, 4))(x)
    np.testing.assert_array_equal(got, [[[-1, 0]], [[0, 0.5]], [[0.25, 0.5]]])
    np.testing.assert_array_equal(T.Normalize(1, 2)(x), (x - 1) / 2)
    with pytest.raises(TypeError, match=re.escape("Normalize needs a float image, got uint8; put ToFloat() before it")):
        T.Normalize(0, 1)(GRID)
    message = "Normalize has 2 values in mean for an image (C, H, W) = (3, 1, 2) with C = 3 channels; give 1 or 3"
    with pytest.raises(ValueError, match=re.escape(message)):
        T.Normalize((1, 2), 1)(x)
    with pytest.raises(
        ValueError, match=re.escape("Normalize divides by std, which must be > 0 everywhere, got [1.0, 0.0]")
    ):
        T.Normalize(0, (1, 0))


def test_jitter_by_hand():
    rng = np.random.default_rng(0)
    x = np.array([0.2, 0.4, 0.9]).reshape(3, 1, 1)
    np.testing.assert_allclose(T.ColorJitter(brightness=(2, 2))(x, rng).ravel(), [0.4, 0.8, 1.0])
    grey = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.9
    np.testing.assert_allclose(T.ColorJitter(saturation=(0, 0))(x, rng).ravel(), [grey] * 3)
    np.testing.assert_allclose(T.ColorJitter(saturation=(0.5, 0.5))(x, rng).ravel(), (x.ravel() + grey) / 2)
    two = np.array([[[0.1, 0.5]]])
    np.testing.assert_allclose(T.ColorJitter(contrast=(0.5, 0.5))(two, rng).ravel(), [0.2, 0.4])
    np.testing.assert_array_equal(T.ColorJitter(saturation=0.5, hue=0.5)(two, rng), two)  # nothing to do for C = 1
    np.testing.assert_array_equal(T.ColorJitter()(images(np.uint8)[0], rng), images(np.uint8)[0])
    np.testing.assert_allclose(grayscale(x).ravel(), [grey])


def test_hue_like_colorsys():
    import colorsys

    colours = np.random.default_rng(0).random((50, 3))
    colours[:3] = [[0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 0]]
    for turn in (0.0, 0.1, -0.4, 0.5):
        got = rotate_hue(colours.T.reshape(3, 5, 10), turn).reshape(3, 50).T
        for (r, g, b), mine in zip(colours, got):
            h, s, v = colorsys.rgb_to_hsv(r, g, b)
            np.testing.assert_allclose(mine, colorsys.hsv_to_rgb((h + turn) % 1, s, v), atol=1e-12)


def test_jitter_arguments_and_images():
    rng = np.random.default_rng(0)
    assert T.ColorJitter(brightness=1.5).brightness == (0.0, 2.5)
    with pytest.raises(ValueError, match=re.escape("brightness is a factor >= 0, got (-1.0, 2.0)")):
        T.ColorJitter(brightness=(-1, 2))
    with pytest.raises(
        ValueError, match=re.escape("hue is a turn between -0.5 and 0.5 (half a round either way), got (-0.7, 0.7)")
    ):
        T.ColorJitter(hue=0.7)
    with pytest.raises(
        ValueError, match=re.escape("works on C = 1 or C = 3 channels, got an image (C, H, W) = (4, 5, 3); are the")
    ):
        T.ColorJitter(0.1)(np.zeros((4, 5, 3)), rng)
    with pytest.raises(
        ValueError, match=re.escape("floats in [0, 1], got values from -1 to 2; put it before Normalize")
    ):
        T.ColorJitter(0.1)(np.array([[[-1.0, 2.0]]]), rng)


def test_jitter_order_is_random():
    both = T.ColorJitter(brightness=(2, 2), contrast=(0.5, 0.5))
    x = np.array([[[0.2, 0.9]]])
    got = {tuple(np.round(both(x, sample_rng(0, 0, i)).ravel(), 6)) for i in range(30)}
    assert got == {(0.55, 0.85), (0.75, 1.0)}


def test_cutout():
    cut = T.Cutout((2, 3), fill=(7, 8))
    x = np.ones((2, 5, 6))
    for i in range(50):
        top, bottom, left, right = cut.draw(sample_rng(0, 0, i), x.shape)
        assert 0 <= top < bottom <= 5 and 0 <= left < right <= 6 and bottom - top <= 2 and right - left <= 3
        got = cut(x, sample_rng(0, 0, i))
        expected = x.copy()
        expected[0, top:bottom, left:right], expected[1, top:bottom, left:right] = 7, 8
        np.testing.assert_array_equal(got, expected)
    sizes = {int((T.Cutout(4)(np.ones((1, 6, 6)), sample_rng(0, 0, i)) == 0).sum()) for i in range(200)}
    assert max(sizes) == 16 and min(sizes) == 4  # whole inside, and a corner sticking out on two sides


def test_erasing():
    erase = T.RandomErasing(1.0, (0.1, 0.3), (0.5, 2), value=5)
    x = np.zeros((1, 20, 30))
    areas = []
    for i in range(200):
        top, bottom, left, right = erase.draw(sample_rng(0, 0, i), x.shape)
        assert 0 <= top < bottom <= 20 and 0 <= left < right <= 30
        assert 0.4 < (bottom - top) / (right - left) < 2.5
        areas.append((bottom - top) * (right - left) / 600)
        assert (erase(x, sample_rng(0, 0, i)) == 5).sum() == (bottom - top) * (right - left)
    assert 0.08 < min(areas) < 0.13 and 0.27 < max(areas) < 0.33
    erased = sum(T.RandomErasing(0.3).draw(sample_rng(0, 0, i), (1, 20, 30)) is not None for i in range(1000))
    assert 250 < erased < 350
    assert T.RandomErasing(1.0, (4, 4)).draw(sample_rng(0, 0, 0), (1, 4, 4)) is None  # never fits
    with pytest.raises(ValueError, match="scale and ratio must be > 0"):
        T.RandomErasing(scale=(0, 1))


def test_compose_mixes_transforms_and_functions():
    def add_noise(image, rng):
        return image + rng.normal()

    pipeline = T.Compose([np.negative, add_noise, T.RandomTranslate(0)])
    x = np.ones((1, 2, 2))
    noise = sample_rng(0, 0, 3).normal()
    np.testing.assert_array_equal(pipeline(x, sample_rng(0, 0, 3)), -x + noise)
    assert pipeline.random and not T.Compose([np.negative, T.ToFloat()]).random
    assert repr(T.Compose([T.ToFloat(), T.RandomTranslate(2)])) == (
        "Compose([\n  ToFloat(dtype=dtype('float32')),\n  RandomTranslate(shift=(2, 2), fill=0),\n])"
    )


def test_base_class_is_abstract():
    with pytest.raises(NotImplementedError):
        T.Transform()(GRID)


def test_scale_jitter_cuts_from_images_of_every_length():
    """The shorter side has the drawn length, the ratio stays, and every place of the crop occurs."""
    crop = T.RandomScaledCrop(4, (6, 8))
    rng = np.random.default_rng(3)
    drawn = [crop.draw(rng, (3, 10, 20)) for _ in range(400)]
    assert {scaled for scaled, _, _ in drawn} == {(6, 12), (7, 14), (8, 16)}
    assert {top for scaled, top, _ in drawn if scaled[0] == 8} == set(range(5))
    assert {left for scaled, _, left in drawn if scaled[0] == 6} == set(range(9))
    same = T.RandomScaledCrop((5, 7), (7, 7))
    x = images(np.float64)[:1].transpose(0, 1, 3, 2)  # (1, 3, 5, 7): shorter side 5
    larger = T.Resize((7, 9))(x[0])
    np.testing.assert_array_equal(same.apply(x, [((7, 9), 2, 1)])[0], larger[:, 2:, 1:8])
    with pytest.raises(ValueError, match=re.escape("length of the shorter side, at least the crop's 8, got (6, 9)")):
        T.RandomScaledCrop((8, 3), (6, 9))


def test_colours_move_along_their_principal_axes():
    x = images(np.float64)
    fitted = T.PCAColorJitter.fit(x, std=2.0)
    pixels = np.moveaxis(x, 1, 0).reshape(3, -1)
    axes = np.array(fitted.axes)
    np.testing.assert_allclose(axes.T @ np.cov(pixels) @ axes, np.diag(fitted.scales), atol=1e-12)
    assert list(fitted.scales) == sorted(fitted.scales, reverse=True)
    np.testing.assert_allclose(fitted.axes, T.PCAColorJitter.fit(images(np.uint8)).axes, rtol=1e-9)
    drawn = [[0.5, -1.0, 2.0]] * len(x)
    moved = fitted.apply(x, drawn) - x
    wanted = sum(amount * scale * axes[:, i] for i, (amount, scale) in enumerate(zip(drawn[0], fitted.scales)))
    np.testing.assert_allclose(moved, np.broadcast_to(wanted[:, None, None], x[0].shape)[None].repeat(6, 0), atol=1e-12)
    amounts = np.array([T.PCAColorJitter(0.3).draw(np.random.default_rng(i), (3, 1, 1)) for i in range(3000)])
    np.testing.assert_allclose(amounts.std(0), 0.3, atol=0.02)
    white = np.full((3, 2, 2), 255, np.uint8)
    assert T.PCAColorJitter().apply(white[None], [[-9.0, 0, 0]]).max() == 255  # first axis has negative weights
    with pytest.raises(
        ValueError, match=re.escape("PCAColorJitter works on C = 3 channels, got an image (C, H, W) = (1, 4, 4)")
    ):
        T.PCAColorJitter()(np.zeros((1, 4, 4)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="std of the amounts must be >= 0, got -1"):
        T.PCAColorJitter(-1)
