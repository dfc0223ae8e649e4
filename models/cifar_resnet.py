"""ResNet for CIFAR-10, and the plain networks that get worse where these get better as they grow.

Source: He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385, section 4.2.
"""

from __future__ import annotations

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.registry import ModelOptionError, register

from .resnet import BasicBlock, Recalibration, conv3x3, he_init, projection


class PadShortcut(nn.Module):
    """Option A of the paper: every ``stride``-th pixel, and maps of zeros for those that the input lacks.

    ``pad`` "after" puts the zeros behind the input's maps, as the authors' program did; "both" half of them in front,
    as the checkpoints need it that are passed around for PyTorch (akamaster/pytorch_resnet_cifar10).

    >>> import minidl
    >>> PadShortcut(4, 8, 2)(minidl.ones(1, 4, 6, 5)).shape
    (1, 8, 3, 3)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, pad: str = "after") -> None:
        super().__init__()
        self.stride = stride
        zeros = out_channels - in_channels
        self.before = zeros // 2 if pad == "both" else 0
        self.after = zeros - self.before

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))  # (N, before + C + after, H / stride, W / stride)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, before={self.before}, after={self.after}"


class CifarResNet(nn.Module):
    """16 @ 3x3, three stages of (depth - 2) / 6 blocks of two 3x3 convolutions, the mean, one linear layer.

    | out | maps | layers with weights |
    |---|---|---|
    | 32x32 | 16 | 1 + 2n |
    | 16x16 | 32 | 2n |
    | 8x8 | 64 | 2n |
    | 1x1 | 10 classes | 1 |

    n = 3, 5, 7, 9, 18, 200 for 20, 32, 44, 56, 110, 1202 layers.  ``shortcut``: "A" without parameters, "B" a 1x1
    convolution where the shape changes, "none" for the plain network.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        shortcut: str = "A",
        pad: str = "after",
        se: Recalibration | None = None,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ModelOptionError(f"cifar_resnet: depth is 6n + 2 (8, 14, 20, ...), not {depth}")
        if shortcut not in ("A", "B", "none"):
            raise ModelOptionError(f"cifar_resnet: shortcut is 'A', 'B' or 'none', not {shortcut!r}")
        if pad not in ("after", "both"):
            raise ModelOptionError(f"cifar_resnet: pad is 'after' or 'both', not {pad!r}")
        self.conv1 = conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        channels = 16
        stages: list[nn.Module] = []
        for maps in (16, 32, 64):
            blocks = []
            for _ in range((depth - 2) // 6):
                stride = 1 if maps == channels else 2
                other: nn.Module | None = None
                if shortcut == "A" and stride != 1:
                    other = PadShortcut(channels, maps, stride, pad)
                elif shortcut == "B":
                    other = projection(channels, maps, stride)
                residual = shortcut != "none"
                blocks.append(BasicBlock(channels, maps, maps, stride, shortcut=other, residual=residual, se=se))
                channels = maps
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)
        he_init(self, "fan_in")
        nn.init.kaiming_normal_(self.linear.weight)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn1.then_relu(x, behind=self.conv1)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))


@register((3, 32, 32), "He et al. 2015, table 6: 269,722 parameters, error 8.75 %")
def cifar_resnet20(num_classes: int = 10, shortcut: str = "A", pad: str = "after") -> CifarResNet:
    """20 layers, n = 3: (N, 3, 32, 32) -> (N, num_classes).

    ``shortcut``: "A" (the paper's for CIFAR: zeros for the new maps) or "B" (a projection).  ``pad="both"`` for the
    checkpoints of akamaster/pytorch_resnet_cifar10; in a state dict the last layer is called ``linear``.

    >>> import minidl
    >>> from minidl import models
    >>> models.cifar_resnet20(pad="both")(minidl.zeros(2, 3, 32, 32)).shape
    (2, 10)
    """
    return CifarResNet(20, num_classes, shortcut, pad)


@register((3, 32, 32), "He et al. 2015, table 6: 464,154 parameters, error 7.51 %")
def cifar_resnet32(num_classes: int = 10, shortcut: str = "A", pad: str = "after") -> CifarResNet:
    """32 layers, n = 5; options as :func:`cifar_resnet20`."""
    return CifarResNet(32, num_classes, shortcut, pad)


@register((3, 32, 32), "He et al. 2015, table 6: 658,586 parameters, error 7.17 %")
def cifar_resnet44(num_classes: int = 10, shortcut: str = "A", pad: str = "after") -> CifarResNet:
    """44 layers, n = 7; options as :func:`cifar_resnet20`."""
    return CifarResNet(44, num_classes, shortcut, pad)


@register((3, 32, 32), "He et al. 2015, table 6: 853,018 parameters, error 6.97 %")
def cifar_resnet56(num_classes: int = 10, shortcut: str = "A", pad: str = "after") -> CifarResNet:
    """56 layers, n = 9; options as :func:`cifar_resnet20`."""
    return CifarResNet(56, num_classes, shortcut, pad)


@register((3, 32, 32), "He et al. 2015, table 6: 1,727,962 parameters, error 6.43 %")
def cifar_resnet110(num_classes: int = 10, shortcut: str = "A", pad: str = "after") -> CifarResNet:
    """110 layers, n = 18; options as :func:`cifar_resnet20`."""
    return CifarResNet(110, num_classes, shortcut, pad)


@register((3, 32, 32), "He et al. 2015, table 6: 19,421,274 parameters, error 7.93 %")
def cifar_resnet1202(num_classes: int = 10, shortcut: str = "A", pad: str = "after") -> CifarResNet:
    """1202 layers, n = 200: it can be trained, and overfits; options as :func:`cifar_resnet20`."""
    return CifarResNet(1202, num_classes, shortcut, pad)


# ---- option B: projections ------------------------------------------------------------------------------------------


@register((3, 32, 32), "He et al. 2015, section 4.2 with option B: 272,474 parameters")
def cifar_resnet20_b(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet20` with projections where the shape changes."""
    return CifarResNet(20, num_classes, "B")


@register((3, 32, 32), "He et al. 2015, section 4.2 with option B: 855,770 parameters")
def cifar_resnet56_b(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet56` with projections where the shape changes."""
    return CifarResNet(56, num_classes, "B")


@register((3, 32, 32), "He et al. 2015, section 4.2 with option B: 1,730,714 parameters")
def cifar_resnet110_b(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet110` with projections where the shape changes."""
    return CifarResNet(110, num_classes, "B")


# ---- plain networks -------------------------------------------------------------------------------------------------


@register((3, 32, 32), "He et al. 2015, figure 6 left: 269,722 parameters")
def cifar_plain20(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet20` without its shortcuts."""
    return CifarResNet(20, num_classes, "none")


@register((3, 32, 32), "He et al. 2015, figure 6 left: 464,154 parameters")
def cifar_plain32(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet32` without its shortcuts."""
    return CifarResNet(32, num_classes, "none")


@register((3, 32, 32), "He et al. 2015, figure 6 left: 658,586 parameters")
def cifar_plain44(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet44` without its shortcuts."""
    return CifarResNet(44, num_classes, "none")


@register((3, 32, 32), "He et al. 2015, figures 1 and 6: 853,018 parameters")
def cifar_plain56(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet56` without its shortcuts: higher training error than :func:`cifar_plain20`."""
    return CifarResNet(56, num_classes, "none")


@register((3, 32, 32), "He et al. 2015, section 4.2 (error above 60 %): 1,727,962 parameters")
def cifar_plain110(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet110` without its shortcuts; it does not learn."""
    return CifarResNet(110, num_classes, "none")


@register((3, 32, 32), "not in He et al. 2015, the twin of :func:`cifar_resnet1202`: 19,421,274 parameters")
def cifar_plain1202(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet1202` without its shortcuts, which nobody has trained."""
    return CifarResNet(1202, num_classes, "none")
