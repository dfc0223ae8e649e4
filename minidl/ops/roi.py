"""RoI pooling: the winners of each window are found once; from there on values are copied, and gradients added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd.tape import Primitive, vjp
from ..backend import array_module, together
from ..kernels import roi as kernel
from ..kernels.errors import ShapeError
from ..kernels.geometry import per_axis
from ._common import as_operand, floating, is_tensor

_roi_pool: Primitive = Primitive(
    "roi_pool",
    lambda x, *, regions, size: kernel.roi_pool(x, regions, size),
    vjp(
        lambda g, y, x, *, regions, size: _roi_scatter(g[0], indices=y[1]._array, regions=regions, shape=x.shape),
        uses="y1",
    ),
)
_roi_scatter: Primitive = Primitive(
    "roi_scatter",
    lambda g, *, indices, regions, shape: kernel.roi_pool_grad(g, indices, regions, shape),
    vjp(lambda u, y, g, *, indices, regions, shape: _roi_gather(u, indices=indices, regions=regions)),
)
_roi_gather: Primitive = Primitive(
    "roi_gather",
    lambda u, *, indices, regions: kernel.roi_gather(u, indices, regions),
    vjp(lambda g, y, u, *, indices, regions: _roi_scatter(g, indices=indices, regions=regions, shape=u.shape)),
)


def roi_pool(input: Any, boxes: Any, output_size: int | Sequence[int], spatial_scale: float = 1.0) -> Any:
    """The largest values inside each box, on a grid of one size: Girshick 2015, "Fast R-CNN", section 2.1.

    (N, C, H, W) and ``boxes`` -> (K, C, P, Q).  ``boxes`` is (K, 5), each row an image's number and x1, y1, x2, y2, or
    a list with boxes (L, 4) for each image.  Corners are multiplied by ``spatial_scale`` (1/16 where the network has
    made the image 16 times smaller) and rounded; the pixels of both belong to the box.  Its rows and columns are shared
    among P x Q windows as evenly as whole numbers allow (see :func:`adaptive_max_pool2d`); a window outside of the
    image is 0.  No gradient goes to the boxes.  torchvision has it as ``torchvision.ops.roi_pool``.

    Raises ShapeError where shapes do not fit, IndexError for an image that there is not, ValueError for a corner that
    is not a number (on a device such a box gives zeros, because looking would make the host wait).

    >>> import minidl
    >>> x = minidl.arange(16.0).reshape(1, 1, 4, 4)
    >>> minidl.nn.functional.roi_pool(x, minidl.tensor([[0.0, 0.0, 0.0, 3.0, 1.0]]), (1, 2))
    tensor([[[[5., 7.]]]])
    """
    x = floating(input)
    if x.ndim != 4:
        raise ShapeError(f"roi_pool: the input must be (N, C, H, W), not {x.shape}")
    rows, columns = per_axis(output_size, 2, "output_size", "roi_pool")
    if min(rows, columns) < 1:
        raise ShapeError(f"roi_pool: output_size must be at least 1 on both axes, got {output_size}")
    by_image = isinstance(boxes, (list, tuple)) and all(map(is_tensor, boxes))
    given = list(boxes) if by_image else [as_operand(boxes)]
    with together("roi_pool", ["input", *["boxes"] * len(given)], [x, *given]):
        table = _numbered(x, given) if by_image else _checked(given[0])
        if array_module(table) is np:
            _check_numbers(table, len(x))
        return _roi_pool(x, regions=kernel.regions(table, spatial_scale), size=(rows, columns))[0]


def _check_numbers(table: np.ndarray, images: int) -> None:
    for k, (n, *corners) in enumerate(table.tolist()):
        if not 0 <= n < images:
            there = f"images 0 to {images - 1}" if images else "no images"
            raise IndexError(f"roi_pool: box {k} is of image {n:g}, and the input has {there}")
        if any(map(math.isnan, corners)):
            raise ValueError(f"roi_pool: box {k} has a corner that is not a number: {', '.join(map(str, corners))}")


def _numbered(x: Any, boxes: Sequence[Any]) -> Any:
    """Boxes (L, 4) of each image as one array (K, 5)."""
    if len(boxes) != len(x) or any(b.ndim != 2 or b.shape[1] != 4 for b in boxes):
        shapes = ", ".join(str(b.shape) for b in boxes) or "none"
        raise ShapeError(f"roi_pool: a list of boxes has (L, 4) for each of the {len(x)} images, this one has {shapes}")
    xp = x._xp
    parts = [xp.concatenate([xp.full((len(b), 1), n, b._array.dtype), b._array], 1) for n, b in enumerate(boxes)]
    return xp.concatenate([xp.zeros((0, 5), x.dtype), *parts])


def _checked(boxes: Any) -> Any:
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ShapeError(
            f"roi_pool: boxes must be (K, 5), the number of an image and x1, y1, x2, y2 in a row, not {boxes.shape}"
        )
    return boxes._array
