"""The smallest convolutional network of the lectures: INPUT - CONV - RELU - POOL - FC."""

from __future__ import annotations

from minidl import nn
from minidl.registry import ModelOptionError, register


@register(input_shape=(3, 32, 32), source="lecture 004 (after CS231n): volumes 32x32x12, 16x16x12, 10 classes")
def simple_convnet(num_classes: int = 10, in_channels: int = 3, input_size: int = 32) -> nn.Sequential:
    """Twelve 3x3 filters, ReLU, 2x2 max-pooling, one linear layer: (N, 3, 32, 32) -> (N, num_classes).

    >>> from minidl import models
    >>> sum(p.numel() for p in models.simple_convnet().parameters())
    31066
    """
    if input_size < 2:
        raise ModelOptionError(f"simple_convnet: input_size is at least 2, for it is halved, not {input_size}")
    return nn.Sequential(
        nn.Conv2d(in_channels, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * (input_size // 2) ** 2, num_classes),
    )
