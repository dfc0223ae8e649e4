"""Wide ResNet: fewer layers with more maps.

Source: Zagoruyko and Komodakis 2016, "Wide residual networks", arXiv:1605.07146, table 1; the two networks for ImageNet
as in torchvision, section 3.4 of the paper.
"""

from __future__ import annotations

from minidl.registry import register

from .preact_resnet import CifarPreActResNet, PreActBasic, blocks_per_stage
from .resnet import Bottleneck, ResNet


def _wrn(depth: int, k: int, num_classes: int, dropout: float) -> CifarPreActResNet:
    """WRN-depth-k: (depth - 4) / 6 blocks a stage of 16k, 32k and 64k maps, pre-activated."""
    return CifarPreActResNet(
        lambda i, o, stride: PreActBasic(i, o, stride, dropout),
        blocks_per_stage("wrn", depth, 2, 4),
        (16 * k, 32 * k, 64 * k),
        num_classes,
    )


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-16-4: 2,748,890 parameters")
def wrn_16_4(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """16 layers, four times the maps: (N, 3, 32, 32) -> (N, num_classes).

    ``dropout`` acts between the two convolutions of a block; the paper tries 0.3.

    | out | WRN-d-k, n = (d - 4) / 6 |
    |---|---|
    | 32x32 | 3x3, 16 |
    | 32x32 | n x (3x3 16k, 3x3 16k) |
    | 16x16 | n x (3x3 32k, 3x3 32k) |
    | 8x8 | n x (3x3 64k, 3x3 64k) |
    | 1x1 | mean, 10 classes |

    >>> from minidl import models
    >>> sum(p.numel() for p in models.wrn_16_4().parameters())
    2748890
    """
    return _wrn(16, 4, num_classes, dropout)


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-16-8: 10,961,370 parameters, error 4.27 %")
def wrn_16_8(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """16 layers, eight times the maps; options as :func:`wrn_16_4`."""
    return _wrn(16, 8, num_classes, dropout)


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-16-10: 17,116,634 parameters")
def wrn_16_10(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """16 layers, ten times the maps; options as :func:`wrn_16_4`."""
    return _wrn(16, 10, num_classes, dropout)


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-22-8: 17,158,106 parameters")
def wrn_22_8(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """22 layers, eight times the maps; options as :func:`wrn_16_4`."""
    return _wrn(22, 8, num_classes, dropout)


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-28-10: 36,479,194 parameters, error 4.00 %")
def wrn_28_10(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """28 layers, ten times the maps: the paper's best; options as :func:`wrn_16_4`."""
    return _wrn(28, 10, num_classes, dropout)


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-28-12: 52,517,850 parameters")
def wrn_28_12(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """28 layers, twelve times the maps; options as :func:`wrn_16_4`."""
    return _wrn(28, 12, num_classes, dropout)


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-40-4: 8,949,210 parameters, error 4.53 %")
def wrn_40_4(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """40 layers, four times the maps; options as :func:`wrn_16_4`."""
    return _wrn(40, 4, num_classes, dropout)


@register((3, 32, 32), "Zagoruyko and Komodakis 2016, WRN-40-8: 35,748,314 parameters")
def wrn_40_8(num_classes: int = 10, dropout: float = 0.0) -> CifarPreActResNet:
    """40 layers, eight times the maps; options as :func:`wrn_16_4`."""
    return _wrn(40, 8, num_classes, dropout)


# ---- ImageNet -------------------------------------------------------------------------------------------------------


@register((3, 224, 224), "Zagoruyko and Komodakis 2016, table 8, as in torchvision: 68,883,240 parameters")
def wide_resnet50_2(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """ResNet-50 with twice the maps in its 3x3 convolutions: (N, 3, 224, 224) -> (N, num_classes)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, zero_init_residual=zero_init_residual, width_per_group=128)


@register((3, 224, 224), "as in torchvision: 126,886,696 parameters")
def wide_resnet101_2(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """ResNet-101 with twice the maps in its 3x3 convolutions."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, zero_init_residual=zero_init_residual, width_per_group=128)
