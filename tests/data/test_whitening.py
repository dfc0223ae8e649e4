"""Contrast, the mean image and whitening against their definitions in NumPy."""

import re

import numpy as np
import pytest

from minidl.data import transforms as T


def correlated(n: int = 60, shape: tuple[int, ...] = (3, 4, 5), seed: int = 0) -> np.ndarray:
    """Images whose neighbouring values are alike, each of another brightness and contrast."""
    rng = np.random.default_rng(seed)
    d = int(np.prod(shape))
    mixed = rng.standard_normal((n, d)) @ np.tril(rng.random((d, d)))
    return (mixed * rng.uniform(0.5, 3, (n, 1)) + rng.uniform(-2, 2, (n, 1))).reshape(n, *shape)


def bound(rows: np.ndarray, matrix: np.ndarray, dtype: str) -> np.ndarray:
    """How far fixed-point products may lie from exact ones: rows of less than 2^e and columns of less than 2^E are
    rounded to 2^(e - 26) and 2^(E - 25), each of D values by half of that at most."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True) * np.linalg.norm(matrix, axis=0).max()
    rounding = np.abs(rows @ matrix) * np.finfo(dtype).eps
    return 4 * lengths * np.sqrt(len(matrix)) * (2.0**-27 + 2.0**-26) + rounding


@pytest.mark.parametrize("dtype, close", [("float32", 1e-5), ("float64", 1e-12)])
def test_contrast_is_that_of_the_definition(dtype, close):
    x = correlated().astype(dtype)
    flat = x.reshape(len(x), -1).astype(np.float64)
    centred = flat - flat.mean(1, keepdims=True)
    for scale, bias in ((1.0, 0.0), (55.0, 0.0), (2.0, 10.0)):
        wanted = scale * centred / np.sqrt(bias + (centred**2).sum(1, keepdims=True))
        got = T.GlobalContrastNormalization(scale, bias).batch(x, [])
        assert got.dtype == dtype
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=close, atol=close * scale)


def test_an_image_of_one_colour_has_no_contrast():
    flat = np.full((1, 2, 3, 3), 0.25, np.float32)
    np.testing.assert_array_equal(T.GlobalContrastNormalization(55.0).batch(flat, []), np.zeros_like(flat))


def test_no_image_at_all_has_contrast_too():
    assert T.GlobalContrastNormalization(55.0).batch(np.zeros((0, 3, 2, 2), np.float32), []).shape == (0, 3, 2, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", [0.1, 1e-3])
def test_whitening_is_that_of_the_singular_value_decomposition(dtype, eps):
    """X = U S V^T of the centred images: the covariance is V S^2/N V^T, white images are X V (S^2/N + eps)^-1/2 V^T."""
    x = correlated().astype(dtype)
    white = T.ZCAWhitening.fit(x, eps)
    flat = x.reshape(len(x), -1).astype(np.float64)
    _, s, vt = np.linalg.svd(flat - flat.mean(0), full_matrices=True)
    variances = np.zeros(vt.shape[0])
    variances[: len(s)] = s**2 / len(x)
    matrix = (vt.T / np.sqrt(variances + eps)) @ vt
    np.testing.assert_allclose(white.transformation_matrix, matrix, rtol=1e-4, atol=1e-5 / np.sqrt(eps))
    new = correlated(7, seed=1).astype(dtype)
    rows = new.reshape(7, -1) - white.mean_vector.astype(np.float64)
    rounded = white.transformation_matrix.astype(np.float64)  # it is kept in float32
    got = white.batch(new, [])
    assert got.dtype == dtype and got.shape == new.shape
    assert (np.abs(got.reshape(7, -1) - rows @ rounded) <= bound(rows, rounded, dtype)).all()


def test_white_images_are_uncorrelated_and_like_what_they_were():
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((2000, 60)) @ (np.eye(60) + rng.random((60, 60)) / 4) + 3).reshape(2000, 3, 4, 5)
    white = T.ZCAWhitening.fit(x, eps=1e-6).batch(x, []).reshape(2000, -1)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(white.T @ white / 2000, np.eye(60), atol=1e-4)
    # of all whitenings this one keeps most of the image: its matrix is symmetric
    matrix = T.ZCAWhitening.fit(x).transformation_matrix
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)


def test_batches_are_fitted_as_one_array():
    x = correlated(50)
    for kind in (T.ZCAWhitening, T.SubtractMeanImage):
        whole, parts = kind.fit(x), kind.fit(x[i : i + 7] for i in range(0, 50, 7))
        for name, value in vars(whole).items():
            np.testing.assert_allclose(value, vars(parts)[name], rtol=1e-5, atol=1e-5 * np.abs(value).max())


def test_an_image_has_the_same_bits_in_any_batch():
    """Products of matrices add in an order that depends on how many rows there are; the sums here are exact."""
    x = correlated(300, (3, 8, 8)).astype("float32")
    x[5] *= 1e-4  # images of all sizes
    x[6] *= 1e6
    x[7] = 0
    white = T.ZCAWhitening.fit(x)
    whole = white.batch(x, [])
    for n in (1, 2, 3, 7, 64, 100):
        np.testing.assert_array_equal(np.concatenate([white.batch(x[i : i + n], []) for i in range(0, 300, n)]), whole)
    np.testing.assert_array_equal(white.batch(x[::-1], [])[::-1], whole)
    np.testing.assert_array_equal(white.batch(np.asfortranarray(x), []), whole)
    np.testing.assert_array_equal(np.stack([white(image) for image in x[:20]]), whole[:20])
    contrast = T.GlobalContrastNormalization(55.0)
    np.testing.assert_array_equal(np.stack([contrast(image) for image in x]), contrast.batch(x, []))


def test_the_mean_image_is_the_mean_of_each_pixel():
    x = correlated(9).astype("float32")
    mean = T.SubtractMeanImage.fit(x)
    np.testing.assert_allclose(mean.mean, x.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mean.batch(x, []), x - mean.mean)


def test_the_linear_transformation_multiplies_rows_by_the_matrix():
    """As torchvision's does: out[j] = sum of (image[i] - mean[i]) matrix[i, j]."""
    rng = np.random.default_rng(4)
    matrix, mean = rng.standard_normal((12, 12)).astype("float32"), rng.standard_normal(12).astype("float32")
    image = rng.standard_normal((3, 2, 2)).astype("float32")
    wanted = np.einsum("i,ij->j", image.ravel() - mean, matrix).reshape(3, 2, 2)
    np.testing.assert_allclose(T.LinearTransformation(matrix, mean)(image), wanted, rtol=1e-5, atol=1e-5)


def test_what_they_print_is_short():
    x = correlated(4)
    assert repr(T.ZCAWhitening.fit(x)) == "ZCAWhitening(matrix of shape (60, 60))"
    assert repr(T.SubtractMeanImage.fit(x)) == "SubtractMeanImage(mean of shape (3, 4, 5))"


def test_mistakes_are_told():
    x = correlated(4)
    small, cure = np.zeros((3, 2, 5)), "bring the images to the size that it was fitted on"
    for transform in (T.ZCAWhitening.fit(x), T.SubtractMeanImage.fit(x), T.GlobalContrastNormalization()):
        wanted = f"{type(transform).__name__} needs a float image, got uint8; put ToFloat() before it"
        with pytest.raises(TypeError, match=re.escape(wanted)):
            transform(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(ValueError, match=f"ZCAWhitening is for images of 60 values, got .* = 3 x 2 x 5 = 30; {cure}"):
        T.ZCAWhitening.fit(x)(small)
    with pytest.raises(ValueError, match=rf"the mean image is for .* = \(3, 4, 5\), got one of .*5\); {cure}"):
        T.SubtractMeanImage.fit(x)(small)
    with pytest.raises(ValueError, match=re.escape("the mean image is an array (C, H, W), got shape (5,)")):
        T.SubtractMeanImage(np.zeros(5))
    with pytest.raises(ValueError, match="a mean image is the mean of images, and there were none"):
        T.SubtractMeanImage.fit([])
    with pytest.raises(ValueError, match="whitening is fitted on images, and there were none"):
        T.ZCAWhitening.fit(iter(()))
    with pytest.raises(ValueError, match=re.escape("a transform is fitted on images (N, C, H, W), or batches of them")):
        T.ZCAWhitening.fit(np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"3 x 224 x 224 = 150,528: 168\.8 GiB\. Images of at most 8,192 values can"):
        T.ZCAWhitening.fit(np.zeros((1, 3, 224, 224), np.float32))
    with pytest.raises(ValueError, match=re.escape("takes a matrix (D, D) and a mean (D,), got (2, 3) and (3,)")):
        T.LinearTransformation(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="scale must be above 0 and sqrt_bias at least 0, got 0 and 0"):
        T.GlobalContrastNormalization(0)
