"""ZFNet: AlexNet with a finer first layer.

Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", ECCV, figure 3.
"""

from __future__ import annotations

from minidl import nn
from minidl.registry import register

from ._convnet import ConvNet, conv_and_linear, local_response_norm, normal_init, two_hidden_layers


class ZFNet(ConvNet):
    """Five convolutions and three fully connected layers; smaller filters and strides at the bottom than AlexNet.

    | layer | | out |
    |---|---|---|
    | conv1 | 96 @ 7x7/2, pad 1 | 96x110x110 |
    | pool1, norm1 | 3x3/2, rounded up | 96x55x55 |
    | conv2 | 256 @ 5x5/2 | 256x26x26 |
    | pool2, norm2 | 3x3/2, rounded up | 256x13x13 |
    | conv3, conv4, conv5 | w1, w2, w3 @ 3x3, pad 1 | 13x13 |
    | pool5 | 3x3/2 | w3x6x6 |
    | fc6, fc7, fc8 | 4096, 4096, 1000 | 1000 |
    """

    def __init__(self, widths: tuple[int, int, int], num_classes: int, dropout: float, lrn: str | None) -> None:
        w1, w2, w3 = widths
        features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            local_response_norm("zfnet", lrn),
            nn.Conv2d(96, 256, 5, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            local_response_norm("zfnet", lrn),
            nn.Conv2d(256, w1, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(w1, w2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(w2, w3, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        super().__init__(features, two_hidden_layers(w3 * 6 * 6, num_classes, dropout))
        normal_init(conv_and_linear(self), 0.01)  # section 3 of the paper


@register((3, 224, 224), "Zeiler and Fergus 2014, figure 3: 62,357,608 parameters")
def zfnet(num_classes: int = 1000, dropout: float = 0.5, lrn: str | None = "paper") -> ZFNet:
    """ZFNet with 384, 384 and 256 maps in the upper convolutions: (N, 3, 224, 224) -> (N, num_classes).

    The paper normalises contrast; here it is AlexNet's local response normalisation, ``lrn`` "paper", "caffe" or
    None.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.zfnet()
    >>> sum(p.numel() for p in net.parameters())
    62357608
    """
    return ZFNet((384, 384, 256), num_classes, dropout, lrn)


@register((3, 224, 224), "Zeiler and Fergus 2014, the wider net of their table 3 and of lecture 001: 107,627,624")
def zfnet_512(num_classes: int = 1000, dropout: float = 0.5, lrn: str | None = "paper") -> ZFNet:
    """ZFNet with 512, 1024 and 512 maps in the upper convolutions, the one of the lectures' slide."""
    return ZFNet((512, 1024, 512), num_classes, dropout, lrn)
