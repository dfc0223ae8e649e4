"""All-CNN: can a convolution replace every other layer?

Three base nets (A, B, C), each in four forms: with max-pooling (Model), with strides in its place (Strided), with
another convolution in front of the pooling (ConvPool), and with a strided convolution for the pooling (ALL-CNN).
ConvPool shows that ALL-CNN's further layer alone does not explain what it gains.

Source: Springenberg, Dosovitskiy, Brox and Riedmiller 2015, "Striving for simplicity: the all convolutional net",
ICLR workshop, arXiv:1412.6806, tables 1 and 2.
"""

from __future__ import annotations

from collections import OrderedDict

from minidl import nn
from minidl.registry import register

# filter sizes of each of the two blocks, 96 and 192 maps wide
BASES: dict[str, tuple[int, ...]] = {"A": (5,), "B": (5, 1), "C": (3, 3)}


class AllCNN(nn.Sequential):
    """Two blocks, then 192 @ 3x3, 192 @ 1x1, classes @ 1x1 and the mean of each map.

    | | A | B | C |
    |---|---|---|---|
    | block 1, 32x32 | 96 @ 5x5 | 96 @ 5x5, 1x1 | 96 @ 3x3, 3x3 |
    | halved | 16x16 | 16x16 | 16x16 |
    | block 2, 16x16 | 192 @ 5x5 | 192 @ 5x5, 1x1 | 192 @ 3x3, 3x3 |
    | halved | 8x8 | 8x8 | 8x8 |
    | tail | 192 @ 3x3 (6x6), 192 @ 1x1, 10 @ 1x1, mean | | |

    What halves: Model max 3x3/2; Strided the block's last convolution, stride 2; ConvPool one more 3x3 convolution,
    then max 3x3/2; ALL-CNN one more 3x3 convolution with stride 2.  Names: conv1, conv2, ...
    """

    def __init__(
        self, base: str, form: str, num_classes: int, input_dropout: float, dropout: float, padded: bool
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(drop0=nn.Dropout(input_dropout))
        channels, count = 3, 0

        def conv(maps: int, size: int, stride: int = 1, padding: int | None = None) -> None:
            nonlocal channels, count
            count += 1
            padding = size // 2 if padding is None else padding
            layers[f"conv{count}"] = nn.Conv2d(channels, maps, size, stride=stride, padding=padding)
            layers[f"relu{count}"] = nn.ReLU()
            channels = maps

        for block, maps in enumerate((96, 192), 1):
            *first, last = BASES[base]
            for size in first:
                conv(maps, size)
            conv(maps, last, stride=2 if form == "strided" else 1)
            if form in ("convpool", "all"):
                conv(maps, 3, stride=2 if form == "all" else 1)
            if form in ("model", "convpool"):
                layers[f"pool{block}"] = nn.MaxPool2d(3, 2, ceil_mode=True)  # 32 -> 16 -> 8
            layers[f"drop{block}"] = nn.Dropout(dropout)
        conv(192, 3, padding=1 if padded else 0)
        conv(192, 1)
        conv(num_classes, 1)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        super().__init__(layers)
        for layer in self.children():
            if isinstance(layer, nn.Conv2d):
                nn.init.lecun_uniform_(layer.weight)  # U(+-sqrt(3 / fan in)): what Caffe calls xavier
                nn.init.zeros_(layer.bias)


_SOURCE = "Springenberg et al. 2015 (arXiv:1412.6806), table"


@register((3, 32, 32), f"{_SOURCE} 1: 839,242 parameters")
def allcnn_model_a(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """Model A: the base net, max-pooling halves: (N, 3, 32, 32) -> (N, num_classes).

    Dropout 0.2 on the input and 0.5 behind each halving, as in the paper.  ``padded``: the last 3x3 convolution keeps
    8x8 (as StefOe/all-conv-pytorch has it) where the paper's text says 6x6.

    >>> from minidl import models
    >>> sum(p.numel() for p in models.allcnn_model_a().parameters())
    839242
    """
    return AllCNN("A", "model", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 839,242 parameters")
def strided_cnn_a(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """Strided-CNN-A: the last convolution of each block halves, no pooling."""
    return AllCNN("A", "strided", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 1,254,250 parameters")
def convpool_cnn_a(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """ConvPool-CNN-A: one more 3x3 convolution in front of each max-pooling."""
    return AllCNN("A", "convpool", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 1,254,250 parameters")
def all_cnn_a(num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False) -> AllCNN:
    """ALL-CNN-A: a strided 3x3 convolution in place of each max-pooling."""
    return AllCNN("A", "all", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 1: 885,610 parameters")
def allcnn_model_b(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """Model B: the base net: max-pooling halves."""
    return AllCNN("B", "model", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 885,610 parameters")
def strided_cnn_b(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """Strided-CNN-B: the 1x1 convolution of each block has the stride, so three values of four are not read."""
    return AllCNN("B", "strided", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 1,300,618 parameters")
def convpool_cnn_b(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """ConvPool-CNN-B: one more 3x3 convolution in front of each max-pooling."""
    return AllCNN("B", "convpool", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 1,300,618 parameters")
def all_cnn_b(num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False) -> AllCNN:
    """ALL-CNN-B: a strided 3x3 convolution in place of each max-pooling."""
    return AllCNN("B", "all", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 1: 954,730 parameters")
def allcnn_model_c(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """Model C: the base net: max-pooling halves.

    The paper prints 1.3 M parameters for it, which is ConvPool-CNN-C; its layers have 0.95 M.
    """
    return AllCNN("C", "model", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 954,730 parameters")
def strided_cnn_c(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """Strided-CNN-C: the last convolution of each block halves, no pooling.

    The paper prints 1.3 M parameters for it, which is ConvPool-CNN-C; its layers have 0.95 M.
    """
    return AllCNN("C", "strided", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 1,369,738 parameters")
def convpool_cnn_c(
    num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False
) -> AllCNN:
    """ConvPool-CNN-C: one more 3x3 convolution in front of each max-pooling."""
    return AllCNN("C", "convpool", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2: 1,369,738 parameters")
def all_cnn_c(num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5, padded: bool = False) -> AllCNN:
    """ALL-CNN-C: a strided 3x3 convolution in place of each max-pooling."""
    return AllCNN("C", "all", num_classes, input_dropout, dropout, padded)


@register((3, 32, 32), f"{_SOURCE} 2, with padding in every 3x3 layer: 1,369,738 parameters")
def all_cnn_c_padded(num_classes: int = 10, input_dropout: float = 0.2, dropout: float = 0.5) -> AllCNN:
    """ALL-CNN-C whose mean is over 8x8: :func:`all_cnn_c` with ``padded=True``."""
    return AllCNN("C", "all", num_classes, input_dropout, dropout, padded=True)
