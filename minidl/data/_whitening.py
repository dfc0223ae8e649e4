"""Transforms that are fitted on images: contrast, the mean image, and whitening."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ._transform import Transform

_MOST = 1 << 13  # values of an image that can be whitened; their matrix then takes 512 MiB


def _check_float(images: np.ndarray, name: str) -> None:
    if images.dtype.kind != "f":
        raise TypeError(f"{name} needs a float image, got {images.dtype}; put ToFloat() before it")


def _batches(images: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """One array (N, C, H, W), or several, as arrays of float64."""
    for batch in [images] if isinstance(images, np.ndarray) else images:
        if batch.ndim != 4:
            raise ValueError(f"a transform is fitted on images (N, C, H, W), or batches of them, not on {batch.shape}")
        yield batch.astype(np.float64)


class GlobalContrastNormalization(Transform):
    """Each image less its mean, divided so that its length, the root of the sum of all squares, is ``scale``.

    The root is of ``sqrt_bias`` and the sum; an image whose length is less than ``min_divisor``, one colour all over,
    stays at 0.  Floats (C, H, W); dtype kept.  Names as in Pylearn2, with which Goodfellow et al. 2013 ("Maxout
    networks", section 5.2) prepared CIFAR-10, there with scale 55, about the root of its 3072 values.

    >>> import numpy as np
    >>> GlobalContrastNormalization(scale=5.0)(np.array([[[1.0, 1.0, 7.0, 7.0]]])).ravel().tolist()
    [-2.5, -2.5, 2.5, 2.5]
    """

    def __init__(self, scale: float = 1.0, sqrt_bias: float = 0.0, min_divisor: float = 1e-8) -> None:
        if not (scale > 0 and sqrt_bias >= 0):
            raise ValueError(f"scale must be above 0 and sqrt_bias at least 0, got {scale} and {sqrt_bias}")
        self.scale, self.sqrt_bias, self.min_divisor = float(scale), float(sqrt_bias), float(min_divisor)

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        _check_float(images, "GlobalContrastNormalization")
        out = np.array(images, order="C")
        # one by one: sums over a batch could round differently
        for image in out.reshape(len(out), math.prod(out.shape[1:])):
            image -= image.mean(dtype=np.float64)
            length = math.sqrt(self.sqrt_bias + np.square(image, dtype=np.float64).sum())
            image *= self.scale / length if length / self.scale >= self.min_divisor else 1.0
        return out


class SubtractMeanImage(Transform):
    """The image less ``mean`` (C, H, W): the mean of each pixel and channel over the training images (:meth:`fit`).

    Floats; dtype kept.  Krizhevsky et al. 2012, section 2; He et al. 2016, section 4.2.

    >>> import numpy as np
    >>> SubtractMeanImage.fit(np.array([[[[1.0, 2.0]]], [[[3.0, 8.0]]]]))(np.array([[[3.0, 8.0]]]))
    array([[[1., 3.]]])
    """

    def __init__(self, mean: np.ndarray) -> None:
        self.mean = np.asarray(mean, np.float32)
        if self.mean.ndim != 3:
            raise ValueError(f"the mean image is an array (C, H, W), got shape {self.mean.shape}")

    @classmethod
    def fit(cls, images: np.ndarray | Iterable[np.ndarray]) -> SubtractMeanImage:
        """With the mean of ``images`` (N, C, H, W), or of an iterable of such batches."""
        total: Any = 0.0
        count = 0
        for batch in _batches(images):
            total, count = total + batch.sum(0), count + len(batch)
        if not count:
            raise ValueError("a mean image is the mean of images, and there were none")
        return cls(total / count)

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        _check_float(images, "SubtractMeanImage")
        _check_shape("SubtractMeanImage", "the mean image", images.shape[1:], self.mean.shape)
        return images - self.mean.astype(images.dtype)

    def __repr__(self) -> str:
        return f"SubtractMeanImage(mean of shape {self.mean.shape})"


def _check_shape(name: str, what: str, image: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if image != wanted:
        raise ValueError(
            f"{name}: {what} is for images (C, H, W) = {wanted}, got one of shape {image}; bring the images to the "
            "size that it was fitted on"
        )


class LinearTransformation(Transform):
    """``(image - mean) @ matrix`` on the image as one row of D = C H W values; torchvision's name and arguments.

    ``transformation_matrix`` (D, D), ``mean_vector`` (D,).  Floats; shape and dtype kept.

    >>> import numpy as np
    >>> swap = LinearTransformation(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 0.0]))
    >>> swap(np.array([[[5.0, 7.0]]])).ravel().tolist()
    [7.0, 4.0]
    """

    def __init__(self, transformation_matrix: np.ndarray, mean_vector: np.ndarray) -> None:
        self.transformation_matrix = np.asarray(transformation_matrix, np.float32)
        self.mean_vector = np.asarray(mean_vector, np.float32)
        d = self.mean_vector.size
        if self.mean_vector.ndim != 1 or self.transformation_matrix.shape != (d, d):
            raise ValueError(
                "LinearTransformation takes a matrix (D, D) and a mean (D,), got "
                f"{self.transformation_matrix.shape} and {self.mean_vector.shape}"
            )
        # Columns and images become whole numbers, shorter than 2^25 and 2^26 as vectors.  All sums of their products
        # then stay below 2^52, so that float64 adds them without rounding: in whatever order a product of matrices
        # adds, and however many images it has, an image gets the same bits.
        matrix = self.transformation_matrix.astype(np.float64)
        self._exponent = _exponent(np.sqrt(np.square(matrix).sum(0)).max(initial=0.0))
        self._columns = np.rint(np.ldexp(matrix, 25 - self._exponent))  # (D, D)

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        name = type(self).__name__
        _check_float(images, name)
        d = self.mean_vector.size
        if math.prod(images.shape[1:]) != d:
            shape = " x ".join(map(str, images.shape[1:]))
            raise ValueError(
                f"{name} is for images of {d} values, got C x H x W = {shape} = {math.prod(images.shape[1:])}; bring "
                "the images to the size that it was fitted on"
            )
        rows = images.reshape(len(images), d).astype(np.float64) - self.mean_vector
        exponents = np.array([[_exponent(math.sqrt(np.square(row).sum()))] for row in rows], np.int32).reshape(-1, 1)
        whole = np.rint(np.ldexp(rows, 26 - exponents)) @ self._columns  # (N, D)
        return np.ldexp(whole, exponents + self._exponent - 51).astype(images.dtype).reshape(images.shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(matrix of shape {self.transformation_matrix.shape})"


def _exponent(length: float) -> int:
    """e with length < 2^e."""
    return math.frexp(float(length))[1]


class ZCAWhitening(LinearTransformation):
    """Whitening that changes images as little as it can: their values become uncorrelated, with variances near 1.

    ``matrix`` is ``V (L + eps)^(-1/2) V^T``, with the eigenvectors V and eigenvalues L of the covariance of the
    training images, which :meth:`fit` measures.  Bell and Sejnowski 1997 ("The 'independent components' of natural
    scenes are edge filters"); Krizhevsky 2009, appendix A; for CIFAR-10 Goodfellow et al. 2013, section 5.2, whose
    program (Pylearn2) has eps 0.1.

    >>> import numpy as np
    >>> images = np.random.default_rng(0).standard_normal((500, 1, 2, 2)) @ np.array([[3.0, 1.0], [0.0, 1.0]])
    >>> white = ZCAWhitening.fit(images, eps=0.0).batch(images, [])
    >>> bool(np.allclose(np.cov(white.reshape(500, 4), rowvar=False, bias=True), np.eye(4), atol=1e-5))
    True
    """

    @classmethod
    def fit(cls, images: np.ndarray | Iterable[np.ndarray], eps: float = 0.1) -> ZCAWhitening:
        """With mean and covariance of ``images`` (N, C, H, W), or of an iterable of such batches."""
        total: Any = 0.0
        products: Any = 0.0
        count = 0
        for batch in _batches(images):
            rows = batch.reshape(len(batch), -1)  # (N, D)
            if rows.shape[1] > _MOST:
                d = rows.shape[1]
                raise ValueError(
                    f"whitening takes a matrix of D x D numbers with D = C x H x W = "
                    f"{' x '.join(map(str, batch.shape[1:]))} = {d:,}: {d * d * 8 / 2**30:,.1f} GiB. Images of at most "
                    f"{_MOST:,} values can be whitened; make them smaller"
                )
            total, products, count = total + rows.sum(0), products + rows.T @ rows, count + len(rows)
        if not count:
            raise ValueError("whitening is fitted on images, and there were none")
        mean = total / count
        variances, axes = np.linalg.eigh(products / count - np.outer(mean, mean))
        return cls((axes / np.sqrt(np.maximum(variances, 0) + eps)) @ axes.T, mean)
