"""Inception-v3: large filters taken apart into 3x3, 1x7 and 7x1.

Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2016, "Rethinking the Inception architecture for computer vision",
arXiv:1512.00567, table 1 and figures 5 to 10; numbers of maps and names as in torchvision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import minidl
from minidl import nn
from minidl.registry import register

from .googlenet import ConvUnit, to_half

Size = int | tuple[int, int]


def fix_gammas(model: nn.Module) -> None:
    """Let the factors of all batch normalisations stay as they are, 1 in a new model: buffers, and no parameters."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            gamma = layer.weight.detach()
            del layer.weight
            layer.register_buffer("weight", gamma)


def unit(in_channels: int, maps: int, size: Size, stride: int = 1, valid: bool = False) -> ConvUnit:
    """A convolution with batch normalisation and ReLU; padded so that the size stays, except ``valid`` or strided."""
    h, w = (size, size) if isinstance(size, int) else size
    padding = (0, 0) if valid or stride != 1 else (h // 2, w // 2)
    return ConvUnit(in_channels, maps, (h, w), stride=stride, padding=padding)


class Conv(NamedTuple):
    """A convolution in a table: its name in the state dict, outputs, size of the filter, stride, padded or not."""

    name: str
    maps: int
    size: Size
    stride: int = 1
    valid: bool = False


class Mixed(nn.Module):
    """Branches side by side, given as rows of steps.

    A step is a :class:`Conv`, a pooling layer, or a tuple of several Convs that share their input and whose outputs
    are concatenated.  Steps have their own names in the state dict, as torchvision writes them.
    """

    def __init__(self, in_channels: int, *rows: list[Any]) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, ...]]] = []
        self.out_channels = 0
        for number, row in enumerate(rows):
            names: list[tuple[str, ...]] = []
            channels = in_channels
            for step in row:
                if isinstance(step, nn.Module):
                    names.append((f"pool{number}",))
                    self.register_module(f"pool{number}", step)
                    continue
                convs = (step,) if isinstance(step, Conv) else step
                for name, *shape in convs:
                    self.register_module(name, unit(channels, *shape))
                names.append(tuple(conv.name for conv in convs))
                channels = sum(conv.maps for conv in convs)
            self.rows.append(names)
            self.out_channels += channels

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        outputs = []
        for row in self.rows:
            y = [x]
            for names in row:
                joined = y[0] if len(y) == 1 else minidl.cat(y, 1)
                y = [getattr(self, name)(joined) for name in names]
            outputs += y
        return minidl.cat(outputs, 1)


def mean3(count_include_pad: bool) -> nn.AvgPool2d:
    """The 3x3 mean that keeps the size; torchvision counts the zeros around the image, TensorFlow does not."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=count_include_pad)


def _a(in_channels: int, pool_maps: int, pad: bool) -> Mixed:  # figure 5: 5x5 and two 3x3
    return Mixed(
        in_channels,
        [Conv("branch1x1", 64, 1)],
        [Conv("branch5x5_1", 48, 1), Conv("branch5x5_2", 64, 5)],
        [Conv("branch3x3dbl_1", 64, 1), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3)],
        [mean3(pad), Conv("branch_pool", pool_maps, 1)],
    )


def _b(in_channels: int) -> Mixed:  # figure 10: half the size
    return Mixed(
        in_channels,
        [Conv("branch3x3", 384, 3, 2)],
        [Conv("branch3x3dbl_1", 64, 1), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3, 2)],
        [nn.MaxPool2d(3, stride=2)],
    )


def _c(in_channels: int, c7: int, pad: bool) -> Mixed:  # figure 6: 7x7 as 1x7 and 7x1
    return Mixed(
        in_channels,
        [Conv("branch1x1", 192, 1)],
        [Conv("branch7x7_1", c7, 1), Conv("branch7x7_2", c7, (1, 7)), Conv("branch7x7_3", 192, (7, 1))],
        [
            Conv("branch7x7dbl_1", c7, 1),
            Conv("branch7x7dbl_2", c7, (7, 1)),
            Conv("branch7x7dbl_3", c7, (1, 7)),
            Conv("branch7x7dbl_4", c7, (7, 1)),
            Conv("branch7x7dbl_5", 192, (1, 7)),
        ],
        [mean3(pad), Conv("branch_pool", 192, 1)],
    )


def _d(in_channels: int) -> Mixed:  # half the size again
    return Mixed(
        in_channels,
        [Conv("branch3x3_1", 192, 1), Conv("branch3x3_2", 320, 3, 2)],
        [
            Conv("branch7x7x3_1", 192, 1),
            Conv("branch7x7x3_2", 192, (1, 7)),
            Conv("branch7x7x3_3", 192, (7, 1)),
            Conv("branch7x7x3_4", 192, 3, 2),
        ],
        [nn.MaxPool2d(3, stride=2)],
    )


def _e(in_channels: int, pad: bool) -> Mixed:  # figure 7: 1x3 beside 3x1
    return Mixed(
        in_channels,
        [Conv("branch1x1", 320, 1)],
        [Conv("branch3x3_1", 384, 1), (Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1)))],
        [
            Conv("branch3x3dbl_1", 448, 1),
            Conv("branch3x3dbl_2", 384, 3),
            (Conv("branch3x3dbl_3a", 384, (1, 3)), Conv("branch3x3dbl_3b", 384, (3, 1))),
        ],
        [mean3(pad), Conv("branch_pool", 192, 1)],
    )


class InceptionAux(nn.Module):
    """The auxiliary head on the last 17x17 maps: 5x5 means, 128 @ 1x1, 768 @ 5x5, the mean, the classes."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0 = unit(in_channels, 128, 1)
        self.conv1 = unit(128, 768, 5, valid=True)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.conv1(self.conv0(self.pool(x)))
        return self.fc(x.mean((2, 3)))


class InceptionOutputs(NamedTuple):
    """What Inception-v3 with its auxiliary head gives in training mode."""

    logits: minidl.Tensor
    aux_logits: minidl.Tensor

    @property
    def aux_weight(self) -> float:
        """How much the loss of each auxiliary head counts: as torchvision trains it."""
        return 0.4


class InceptionV3(nn.Module):
    """Six convolutions, eleven modules, the mean, one linear layer.

    | out | |
    |---|---|
    | 149, 147, 147 | 3x3/2 32, 3x3 32, 3x3 64 |
    | 73, 71 | max-pooling, 1x1 80, 3x3 192 |
    | 35 | max-pooling, 3 modules with 5x5 and two 3x3: 256, 288, 288 maps |
    | 17 | half the size, 4 modules with 1x7 and 7x1: 768 maps |
    | 8 | half the size, 2 modules with 1x3 beside 3x1: 2048 maps |
    | 1 | mean, dropout 0.5, 1000 classes |
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        aux_logits: bool = False,
        transform_input: bool = False,
        count_include_pad: bool = True,
        dropout: float = 0.5,
        gamma: bool = True,
    ) -> None:
        super().__init__()
        pad = count_include_pad
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = unit(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = unit(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = unit(64, 80, 1)
        self.Conv2d_4a_3x3 = unit(80, 192, 3, valid=True)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = _a(192, 32, pad)
        self.Mixed_5c = _a(256, 64, pad)
        self.Mixed_5d = _a(288, 64, pad)
        self.Mixed_6a = _b(288)
        self.Mixed_6b = _c(768, 128, pad)
        self.Mixed_6c = _c(768, 160, pad)
        self.Mixed_6d = _c(768, 160, pad)
        self.Mixed_6e = _c(768, 192, pad)
        self.AuxLogits = InceptionAux(768, num_classes) if aux_logits else None
        self.Mixed_7a = _d(768)
        self.Mixed_7b = _e(1280, pad)
        self.Mixed_7c = _e(2048, pad)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.001 if name == "AuxLogits.fc" else 0.1)
        if not gamma:
            fix_gammas(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor | InceptionOutputs:
        if self.transform_input:
            x = to_half(x)
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6a(x)
        behind_6e = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(behind_6e)))
        logits = self.fc(self.dropout(self.avgpool(x)).flatten(1))
        if self.training and self.AuxLogits is not None:
            return InceptionOutputs(logits, self.AuxLogits(behind_6e))
        return logits


@register((3, 299, 299), "Szegedy et al. 2016, table 1, as in torchvision: 23,834,568 parameters")
def inception_v3(
    num_classes: int = 1000,
    aux_logits: bool = False,
    transform_input: bool = False,
    count_include_pad: bool = True,
    dropout: float = 0.5,
    gamma: bool = True,
) -> InceptionV3:
    """Inception-v3: (N, 3, 299, 299) -> (N, num_classes).  Sizes from 75 on run (299 to train with the head).

    With ``aux_logits`` it gives :class:`InceptionOutputs` in training mode.  ``transform_input`` for torchvision's
    ImageNet weights.  ``count_include_pad=False``: the 3x3 means leave the border's zeros out, as in TensorFlow.
    ``gamma=False``: batch normalisation shifts and does not scale, as in TF-slim and Keras (23,817,352 parameters).

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.inception_v3()
    >>> sum(p.numel() for p in net.parameters())
    23834568
    """
    return InceptionV3(
        num_classes,
        aux_logits=aux_logits,
        transform_input=transform_input,
        count_include_pad=count_include_pad,
        dropout=dropout,
        gamma=gamma,
    )


@register((3, 299, 299), "Szegedy et al. 2016, as in torchvision with its auxiliary head: 27,161,264 parameters")
def inception_v3_aux(num_classes: int = 1000, transform_input: bool = False, dropout: float = 0.5) -> InceptionV3:
    """:func:`inception_v3` with its auxiliary head."""
    return inception_v3(num_classes, True, transform_input, dropout=dropout)
