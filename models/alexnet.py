"""AlexNet: in one piece (torchvision), as the lectures draw it, and in two towers as it was trained in 2012.

Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks",
NIPS 25.  The one-piece form is that of Krizhevsky 2014, "One weird trick", arXiv:1404.5997.
"""

from __future__ import annotations

from minidl import nn
from minidl.registry import ModelOptionError, register

from ._convnet import ConvNet, conv_and_linear, local_response_norm, normal_init, two_hidden_layers


class AlexNet(ConvNet):
    """Five convolutions and three fully connected layers.

    | layer | alexnet | alexnet_cs231n | alexnet_grouped |
    |---|---|---|---|
    | input | 3x224x224 | 3x227x227 | 3x227x227 |
    | conv1 | 64 @ 11x11/4, pad 2 -> 55 | 96 @ 11x11/4 -> 55 | the same |
    | pool1 3x3/2 -> 27 | | LRN after it | LRN before it |
    | conv2 | 192 @ 5x5, pad 2 | 256 @ 5x5, pad 2 | 256, 2 groups |
    | pool2 3x3/2 -> 13 | | LRN after it | LRN before it |
    | conv3 | 384 @ 3x3, pad 1 | 384 | 384, sees both towers |
    | conv4 | 256 @ 3x3, pad 1 | 384 | 384, 2 groups |
    | conv5 | 256 @ 3x3, pad 1 | 256 | 256, 2 groups |
    | pool5 3x3/2 -> 6 | | | |
    | fc6, fc7, fc8 | 4096, 4096, 1000 | the same | the same |
    | parameters | 61,100,840 | 62,378,344 | 60,965,224 |
    """


@register((3, 224, 224), "Krizhevsky 2014 (arXiv:1404.5997) as in torchvision: 61,100,840 parameters")
def alexnet(num_classes: int = 1000, dropout: float = 0.5, init: str = "torchvision") -> AlexNet:
    """torchvision's AlexNet and its names: (N, 3, 224, 224) -> (N, num_classes).

    Fewer channels than in 2012, no normalisation, dropout in front of the hidden layers.  Other sizes from 63 on run
    too, brought to 6x6 by an adaptive pooling.  ``init``: initial values of "torchvision", which are PyTorch's, or of
    the "paper" of 2012 (normal with std 0.01; biases 1 in conv2, 4, 5 and the hidden layers, 0 in the others).

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.alexnet()
    >>> list(net.state_dict())[:4]
    ['features.0.weight', 'features.0.bias', 'features.3.weight', 'features.3.bias']
    """
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, num_classes),
    )
    model = AlexNet(features, classifier, nn.AdaptiveAvgPool2d((6, 6)))
    if init not in ("torchvision", "paper"):
        raise ModelOptionError(f"alexnet: init is 'torchvision' or 'paper', not {init!r}")
    if init == "paper":
        _initialise("alexnet", model, init)
    return model


# ---- 96 filters of 11x11 on 227x227, as in 2012 -------------------------------------------------------------------


def _of_2012(
    name: str, groups: int, num_classes: int, dropout: float, norm_first: bool, lrn: str | None, init: str
) -> AlexNet:
    def pool_and_norm() -> list[nn.Module]:
        pool, norm = nn.MaxPool2d(3, 2), local_response_norm(name, lrn)
        return [norm, pool] if norm_first else [pool, norm]

    features = nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4),  # two towers see the same image, so groups make no difference here
        nn.ReLU(),
        *pool_and_norm(),
        nn.Conv2d(96, 256, 5, padding=2, groups=groups),
        nn.ReLU(),
        *pool_and_norm(),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=groups),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=groups),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )
    model = AlexNet(features, two_hidden_layers(256 * 6 * 6, num_classes, dropout))
    _initialise(name, model, init)
    return model


def _initialise(name: str, model: AlexNet, init: str) -> None:
    """The paper's section 5, or the fillers of Caffe's bvlc_alexnet."""
    if init not in ("paper", "caffe"):
        raise ModelOptionError(f"{name}: init is 'paper' or 'caffe', not {init!r}")
    conv1, conv2, conv3, conv4, conv5, fc6, fc7, fc8 = conv_and_linear(model)
    normal_init([conv1, conv3, fc8], 0.01)
    # a positive bias gives the rectifiers something to pass at the start
    normal_init([conv2, conv4, conv5], 0.01, bias=1.0 if init == "paper" else 0.1)
    normal_init([fc6, fc7], *((0.01, 1.0) if init == "paper" else (0.005, 0.1)))


@register((3, 227, 227), "Krizhevsky et al. 2012 as one tower, lecture 001 after CS231n: 62,378,344 parameters")
def alexnet_cs231n(
    num_classes: int = 1000,
    dropout: float = 0.5,
    norm_first: bool = False,
    lrn: str | None = "paper",
    init: str = "paper",
) -> AlexNet:
    """The lectures' AlexNet, one tower of the full width: (N, 3, 227, 227) -> (N, num_classes).

    ``norm_first``: False is the lectures' and CaffeNet's order, pooling before normalisation; True the paper's.
    ``lrn``: constants of the "paper" (k = 2, alpha = 1e-4 not divided by n), of "caffe" (k = 1, alpha / n), or None.
    ``init``: "paper" (normal with std 0.01, biases 1 behind it) or "caffe" (biases 0.1, std 0.005 in fc6 and fc7).

    The paper says 224x224, which gives 54x54 without padding; 227 gives its 55x55.
    """
    return _of_2012("alexnet_cs231n", 1, num_classes, dropout, norm_first, lrn, init)


@register((3, 227, 227), "Krizhevsky et al. 2012, two GPUs: 60,965,224 parameters; Caffe's bvlc_alexnet")
def alexnet_grouped(
    num_classes: int = 1000,
    dropout: float = 0.5,
    norm_first: bool = True,
    lrn: str | None = "paper",
    init: str = "paper",
) -> AlexNet:
    """AlexNet of 2012, two towers in conv2, conv4 and conv5: (N, 3, 227, 227) -> (N, num_classes).

    Options as :func:`alexnet_cs231n`; here the normalisation comes first.  ``norm_first=False`` with ``lrn="caffe"``
    and ``init="caffe"`` is bvlc_reference_caffenet.
    """
    return _of_2012("alexnet_grouped", 2, num_classes, dropout, norm_first, lrn, init)
