"""Fully connected layers as convolutions, and back: one network for images of any size.

A layer that takes 512x7x7 values to 4096 is a convolution with 4096 filters of 512x7x7: the same weights in the same
order, since maps are flattened channel by channel.  On a larger image the convolution slides and gives a map of
scores.  With 224 pixels and a stride of 32, an image of 384 gives 6x6 scores, one for each crop of 224 at a distance
of 32.

Crop and map agree exactly *only in a net without zero padding*.  A crop has zeros around it where the large image has
pixels, so that in VGG the scores of a crop differ from the map's by a fifth and more.

Source: Sermanet et al. 2014, "OverFeat", arXiv:1312.6229, section 3.5; Long, Shelhamer and Darrell 2015, "Fully
convolutional networks for semantic segmentation", section 3.1; VGG (1409.1556), section 3.2 for dense evaluation.
"""

from __future__ import annotations

import math

import minidl
from minidl import nn
from minidl.registry import ModelOptionError, register

from ._convnet import ConvNet
from .alexnet import alexnet_cs231n
from .vgg import vgg16


class FullyConvolutional(nn.Module):
    """``features`` and a ``classifier`` of convolutions: (N, C, H, W) -> scores (N, classes, P, Q)."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.classifier(self.features(x))


def _place(new: nn.Module, old: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """``new`` with the parameters of ``old``, the weight in another shape; the memory is shared."""
    new.weight = nn.Parameter(old.weight.detach().reshape(shape), old.weight.requires_grad)
    if old.bias is not None:
        new.bias = nn.Parameter(old.bias.detach(), old.bias.requires_grad)
    return new


def to_fully_convolutional(model: ConvNet, map_size: tuple[int, int] | None = None) -> FullyConvolutional:
    """``model`` (AlexNet, ZFNet, VGG or any :class:`ConvNet`) with convolutions for its fully connected layers.

    The first becomes a convolution over the whole map, (4096, 512*7*7) -> (4096, 512, 7, 7); the others have 1x1
    filters.  Names stay as they are, an adaptive pooling goes.  ``features`` are the same module and the weights the
    same memory, so training one trains both.

    ``map_size`` is (h, w) of the maps in front of the first layer; None takes a square that fits the channels.

    >>> import minidl
    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.to_fully_convolutional(models.alexnet(num_classes=5))
    >>> net(minidl.zeros(0, 3, 287, 255)).shape
    (0, 5, 3, 2)
    """
    if not isinstance(getattr(model, "classifier", None), nn.Sequential) or not hasattr(model, "features"):
        raise ModelOptionError(
            f"to_fully_convolutional: {type(model).__name__} has no `features` before a `classifier` of fully "
            "connected layers, as AlexNet, ZFNet and VGG have; a network that averages its maps takes any size as it is"
        )
    layers: list[nn.Module] = []
    with nn.utils.skip_init():
        for layer in model.classifier:
            if not isinstance(layer, nn.Linear):
                layers.append(layer)
                continue
            inputs, outputs = layer.in_features, layer.out_features
            first = not any(isinstance(m, nn.Conv2d) for m in layers)
            h, w = _map_size(model, inputs, map_size) if first else (1, 1)
            conv = nn.Conv2d(inputs // (h * w), outputs, (h, w), bias=layer.bias is not None)
            layers.append(_place(conv, layer, conv.weight.shape))
    return FullyConvolutional(model.features, nn.Sequential(*layers)).train(model.training)


def _map_size(model: ConvNet, inputs: int, given: tuple[int, int] | None) -> tuple[int, int]:
    channels = [m.out_channels for m in model.features.modules() if isinstance(m, nn.Conv2d)][-1]
    side = math.isqrt(inputs // channels)
    h, w = given or (side, side)
    if h * w * channels != inputs:
        raise ModelOptionError(
            f"to_fully_convolutional: the first fully connected layer takes {inputs} values, but {channels} maps of "
            f"{h}x{w} are {channels * h * w}; say the size of the maps, map_size=(h, w) with h * w = "
            f"{inputs / channels:g}"
        )
    return h, w


def to_fully_connected(model: FullyConvolutional) -> ConvNet:
    """The way back: a network with fully connected layers, for one size of input or through an adaptive pooling.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     there = models.to_fully_convolutional(models.alexnet())
    >>> models.to_fully_connected(there).classifier[1]
    Linear(in_features=9216, out_features=4096, bias=True)
    """
    if not any(isinstance(layer, nn.Conv2d) for layer in model.classifier):
        raise ModelOptionError(
            f"to_fully_connected: the classifier of {type(model).__name__} has no convolution to turn back"
        )
    layers: list[nn.Module] = []
    size: tuple[int, ...] = (1, 1)
    with nn.utils.skip_init():
        for layer in model.classifier:
            if not isinstance(layer, nn.Conv2d):
                layers.append(layer)
                continue
            inputs = math.prod(layer.weight.shape[1:])
            first = not any(isinstance(m, nn.Linear) for m in layers)
            plain = layer.groups == 1 and layer.stride == layer.dilation == (1, 1) and not any(layer.padding)
            if not plain or (not first and layer.kernel_size != (1, 1)):
                raise ModelOptionError(
                    f"to_fully_connected: {layer} is no fully connected layer: only the first may be larger than 1x1, "
                    "and none may have stride, padding, dilation or groups"
                )
            if first:
                size = layer.kernel_size
            linear = nn.Linear(inputs, layer.out_channels, bias=layer.bias is not None)
            layers.append(_place(linear, layer, linear.weight.shape))
    pooling = nn.AdaptiveAvgPool2d(size)  # does nothing to maps that have this size already
    return ConvNet(model.features, nn.Sequential(*layers), pooling).train(model.training)


@register((3, 227, 227), "lecture 004: alexnet_cs231n with fc6 as a 6x6 convolution; 62,378,344 parameters")
def alexnet_fc_conv(num_classes: int = 1000, dropout: float = 0.5) -> FullyConvolutional:
    """AlexNet without fully connected layers: (N, 3, 227, 227) -> (N, num_classes, 1, 1), larger images larger maps.

    The lecture's numbers for "AlexNet" (five poolings, 7x7x512) are VGG's: AlexNet ends with 256 maps of 6x6.
    """
    return to_fully_convolutional(alexnet_cs231n(num_classes, dropout))


@register((3, 384, 384), "lecture 004: vgg16 with 7x7 and 1x1 convolutions; 138,357,544 parameters")
def vgg16_fc_conv_384(num_classes: int = 1000, dropout: float = 0.5) -> FullyConvolutional:
    """VGG-16 without fully connected layers: 384 pixels -> 512 maps of 12x12 -> (N, num_classes, 6, 6)."""
    return to_fully_convolutional(vgg16(num_classes, dropout))
