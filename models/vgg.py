"""VGG: nothing but 3x3 convolutions, eleven to nineteen layers deep.

Source: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", ICLR,
table 1.
"""

from __future__ import annotations

from minidl import nn
from minidl.registry import ModelOptionError, register

from ._convnet import ConvNet, conv_and_linear, local_response_norm, normal_init, two_hidden_layers

# Convolutions of each block; maps 64, 128, 256, 512, 512; a 2x2 max-pooling ends each block.  3 is 3x3, 1 is 1x1.
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "A": ("3", "3", "33", "33", "33"),
    "B": ("33", "33", "33", "33", "33"),
    "C": ("33", "33", "331", "331", "331"),
    "D": ("33", "33", "333", "333", "333"),
    "E": ("33", "33", "3333", "3333", "3333"),
}
MAPS = (64, 128, 256, 512, 512)


class VGG(ConvNet):
    """Five blocks of convolutions, 224 -> 112 -> 56 -> 28 -> 14 -> 7, and three fully connected layers.

    | | A | A-LRN | B | C | D | E |
    |---|---|---|---|---|---|---|
    | name | vgg11 | vgg11_lrn | vgg13 | vgg16_c | vgg16 | vgg19 |
    | block 1 | 3 | 3 LRN | 3 3 | 3 3 | 3 3 | 3 3 |
    | block 2 | 3 | 3 | 3 3 | 3 3 | 3 3 | 3 3 |
    | block 3 | 3 3 | 3 3 | 3 3 | 3 3 1 | 3 3 3 | 3 3 3 3 |
    | block 4 | 3 3 | 3 3 | 3 3 | 3 3 1 | 3 3 3 | 3 3 3 3 |
    | block 5 | 3 3 | 3 3 | 3 3 | 3 3 1 | 3 3 3 | 3 3 3 3 |
    | parameters (M) | 132.9 | 132.9 | 133.0 | 133.6 | 138.4 | 143.7 |
    """

    def __init__(
        self,
        configuration: str,
        num_classes: int = 1000,
        dropout: float = 0.5,
        init: str = "torchvision",
        batch_norm: bool = False,
        conv_bias: bool = True,
        lrn: str | None = None,
    ) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for block, maps in zip(CONFIGURATIONS[configuration], MAPS):
            for size in map(int, block):
                layers.append(nn.Conv2d(channels, maps, size, padding=size // 2, bias=conv_bias))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(maps))
                layers.append(nn.ReLU())
                if lrn is not None and channels == 3:  # A-LRN: behind the very first layer
                    layers.append(local_response_norm("vgg", lrn))
                channels = maps
            layers.append(nn.MaxPool2d(2))
        head = two_hidden_layers(MAPS[-1] * 7 * 7, num_classes, dropout)
        super().__init__(nn.Sequential(*layers), head, nn.AdaptiveAvgPool2d((7, 7)))
        self._initialise(init)

    def _initialise(self, init: str) -> None:
        layers = conv_and_linear(self)
        if init == "paper":  # section 3.1: net A starts from a variance of 1e-2
            normal_init(layers, 0.1)
        elif init in ("torchvision", "xavier"):
            normal_init(layers, 0.01)
            for layer in layers:
                if init == "xavier":
                    nn.init.xavier_uniform_(layer.weight)
                elif isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        else:
            raise ModelOptionError(f"vgg: init is 'torchvision', 'paper' or 'xavier', not {init!r}")


def start_from(deep: VGG, shallow: VGG) -> VGG:
    """Copy the first four convolutions and the fully connected layers of ``shallow`` (A) into ``deep``; returns it.

    How the paper trained its deeper nets (section 3.1), before initial values of the right size were known.  A
    convolution of ``shallow`` goes to the next one of ``deep`` that has its shape, the other layers keep their values.
    """
    mine, theirs = conv_and_linear(deep), conv_and_linear(shallow)
    free = mine[:-3]
    for source in theirs[:4]:
        target = next((m for m in free if m.weight.shape == source.weight.shape), None)
        if target is None:
            raise ModelOptionError(f"start_from: no convolution of the deeper net is {source.weight.shape}")
        free = free[free.index(target) + 1 :]
        target.load_state_dict(source.state_dict())
    for target, source in zip(mine[-3:], theirs[-3:]):
        target.load_state_dict(source.state_dict())
    return deep


@register((3, 224, 224), "Simonyan and Zisserman 2015, net A: 132,863,336 parameters")
def vgg11(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision") -> VGG:
    """Net A, eight convolutions: (N, 3, 224, 224) -> (N, num_classes).  Other sizes from 32 on run too.

    ``init``: "torchvision" (normal, He et al. with fan out; 0.01 in the fully connected layers), "paper" (normal with
    variance 0.01) or "xavier", which the authors found to work afterwards.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.vgg11()
    >>> sum(p.numel() for p in net.parameters())
    132863336
    """
    return VGG("A", num_classes, dropout, init)


@register((3, 224, 224), "Simonyan and Zisserman 2015, net A-LRN: 132,863,336 parameters")
def vgg11_lrn(
    num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision", lrn: str | None = "paper"
) -> VGG:
    """Net A-LRN: net A with AlexNet's normalisation behind the first layer; it did not help."""
    return VGG("A", num_classes, dropout, init, lrn=lrn)


@register((3, 224, 224), "Simonyan and Zisserman 2015, net B: 133,047,848 parameters")
def vgg13(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision") -> VGG:
    """Net B, ten convolutions; options as :func:`vgg11`."""
    return VGG("B", num_classes, dropout, init)


@register((3, 224, 224), "Simonyan and Zisserman 2015, net C: 133,638,952 parameters")
def vgg16_c(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision") -> VGG:
    """Net C, thirteen convolutions of which three are 1x1; options as :func:`vgg11`."""
    return VGG("C", num_classes, dropout, init)


@register((3, 224, 224), "Simonyan and Zisserman 2015, net D: 138,357,544 parameters")
def vgg16(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision") -> VGG:
    """Net D, thirteen 3x3 convolutions; options as :func:`vgg11`."""
    return VGG("D", num_classes, dropout, init)


@register((3, 224, 224), "Simonyan and Zisserman 2015, net E: 143,667,240 parameters")
def vgg19(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision") -> VGG:
    """Net E, sixteen convolutions; options as :func:`vgg11`."""
    return VGG("E", num_classes, dropout, init)


# ---- with batch normalisation, which came a year later ------------------------------------------------------------


@register((3, 224, 224), "net A with batch normalisation, as in torchvision: 132,868,840 parameters")
def vgg11_bn(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision", conv_bias: bool = True) -> VGG:
    """Net A with batch normalisation behind each convolution; options as :func:`vgg11`.

    ``conv_bias``: torchvision keeps the biases of the convolutions, which the normalisation makes useless.
    """
    return VGG("A", num_classes, dropout, init, batch_norm=True, conv_bias=conv_bias)


@register((3, 224, 224), "net B with batch normalisation, as in torchvision: 133,053,736 parameters")
def vgg13_bn(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision", conv_bias: bool = True) -> VGG:
    """Net B with batch normalisation; options as :func:`vgg11_bn`."""
    return VGG("B", num_classes, dropout, init, batch_norm=True, conv_bias=conv_bias)


@register((3, 224, 224), "net D with batch normalisation, as in torchvision: 138,365,992 parameters")
def vgg16_bn(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision", conv_bias: bool = True) -> VGG:
    """Net D with batch normalisation; options as :func:`vgg11_bn`."""
    return VGG("D", num_classes, dropout, init, batch_norm=True, conv_bias=conv_bias)


@register((3, 224, 224), "net E with batch normalisation, as in torchvision: 143,678,248 parameters")
def vgg19_bn(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision", conv_bias: bool = True) -> VGG:
    """Net E with batch normalisation; options as :func:`vgg11_bn`."""
    return VGG("E", num_classes, dropout, init, batch_norm=True, conv_bias=conv_bias)
