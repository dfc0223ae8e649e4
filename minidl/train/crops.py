"""Photographs of which a network sees crops: what they are cut from, and tests that look at ten of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from .. import nn, stack

Shape = tuple[int, ...]


def whole_shape(input_shape: Shape) -> Shape:
    """The shape (C, H, W) of the middle of a photograph from which crops of ``input_shape`` are cut: an eighth is lost.

    Krizhevsky et al. 2012, section 2.

    >>> whole_shape((3, 224, 224))
    (3, 256, 256)
    """
    return (input_shape[0], *(round(side * 8 / 7) for side in input_shape[1:]))


def ten_crops(images: Any, size: Sequence[int]) -> Iterator[Any]:
    """Corners and centre of images (N, C, H, W), each (N, C, *size), and each mirrored.

    >>> import minidl
    >>> [crop.item() for crop in ten_crops(minidl.tensor([[[[1, 2, 3], [4, 5, 6]]]]), (1, 1))]
    [1, 1, 3, 3, 4, 4, 6, 6, 2, 2]
    """
    p, q = size
    down, right = images.shape[2] - p, images.shape[3] - q
    for top, left in ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)):
        crop = images[:, :, top : top + p, left : left + q]
        yield crop
        yield crop.flip(3)


class TenCrops(nn.Module):
    """A network that looks at ten crops of each image and averages their probabilities: (N, C, H, W) -> (N, classes).

    The scores are logarithms of the averaged probabilities, so that softmax and cross-entropy take them as they do
    those of ``model``, which sees crops of ``size``.  Krizhevsky et al. 2012, section 4.1.

    >>> import minidl
    >>> net = TenCrops(nn.Flatten(), (1, 1))
    >>> net(minidl.zeros(1, 2, 3, 3)).exp()
    tensor([[0.5, 0.5]])
    """

    def __init__(self, model: nn.Module, size: Sequence[int]) -> None:
        super().__init__()
        self.model, self.size = model, tuple(size)
        self.training = model.training

    def forward(self, x: Any) -> Any:
        views = [self.model(crop).log_softmax(1) for crop in ten_crops(x, self.size)]
        return stack(views).logsumexp(0) - math.log(len(views))
