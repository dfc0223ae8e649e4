import re

import numpy as np
import pytest

from minidl.data.sampling import resize, resize_weights, sample_bilinear

SIZES = [(5, 5), (5, 8), (8, 5), (1, 7), (7, 1), (9, 3), (3, 9), (16, 2)]


def test_sampling_by_hand():
    image = np.array([[[[0.0, 10.0], [20.0, 30.0]]]])
    ys = np.array([[[0.0, 0.5, 1.0, -0.5, 1.5, -7.0, 1e9]]])
    xs = np.array([[[1.0, 0.5, 0.25, 0.0, 1.0, 0.0, 0.0]]])
    got = sample_bilinear(image, ys, xs, fill=100.0)
    np.testing.assert_allclose(got[0, 0, 0], [10, 15, 22.5, 50, 65, 100, 100])


def test_sampling_is_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    n, c, h, w, fill = 3, 2, 5, 4, -2.5
    images = rng.normal(size=(n, c, h, w))
    ys, xs = rng.uniform(-2, h + 1, (n, 6, 7)), rng.uniform(-2, w + 1, (n, 6, 7))

    def pixel(i, k, y, x):
        return images[i, k, y, x] if 0 <= y < h and 0 <= x < w else fill

    expected = np.empty((n, c, 6, 7))
    for i, k, p, q in np.ndindex(expected.shape):
        y, x = ys[i, p, q], xs[i, p, q]
        t, l = int(np.floor(y)), int(np.floor(x))
        fy, fx = y - t, x - l
        top = (1 - fx) * pixel(i, k, t, l) + fx * pixel(i, k, t, l + 1)
        low = (1 - fx) * pixel(i, k, t + 1, l) + fx * pixel(i, k, t + 1, l + 1)
        expected[i, k, p, q] = (1 - fy) * top + fy * low
    np.testing.assert_allclose(sample_bilinear(images, ys, xs, fill), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_resizing_without_antialias_is_sampling(n_in, n_out):
    images = np.random.default_rng(1).normal(size=(2, 3, n_in, 6))
    got = resize(images, (n_out, 4), antialias=False)
    ys = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)[None, :, None]
    xs = np.clip((np.arange(4) + 0.5) * 6 / 4 - 0.5, 0, 5)[None, None, :]
    ys, xs = np.broadcast_arrays(ys, xs)
    ys, xs = np.repeat(ys, 2, 0), np.repeat(xs, 2, 0)
    np.testing.assert_allclose(got, sample_bilinear(images, ys, xs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_resize_keeps_constants_and_means(n_in, n_out, antialias):
    weights = resize_weights(n_in, n_out, antialias)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-14)  # mirror symmetric
    if antialias:
        assert (weights.sum(axis=0) > 0).all()  # no input pixel is passed over


@pytest.mark.torch
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_resize_like_torch(n_in, n_out, antialias):
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(2).normal(size=(2, 3, n_in, 7))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images), size=(n_out, 5), mode="bilinear", align_corners=False, antialias=antialias
    )
    np.testing.assert_allclose(resize(images, (n_out, 5), antialias), expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [(20, 30), (7, 9), (100, 61)])
def test_resize_like_pillow_to_one_level(size):
    Image = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(3).integers(0, 256, (37, 53), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resize(image, size).astype(int) - expected).max() <= 1


def test_resize_dtypes_and_errors():
    for dtype in (np.uint8, np.float16, np.float32, np.float64):
        assert resize(np.ones((2, 3, 3), dtype), (5, 4)).dtype == dtype
    image = np.ones((3, 3))
    assert resize(image, (3, 3)) is not image  # never an alias
    with pytest.raises(ValueError, match=re.escape("an image of H x W = 3 x 3 to 0 x 4: every side must be >= 1")):
        resize(image, (0, 4))
