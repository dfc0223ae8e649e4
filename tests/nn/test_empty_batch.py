"""Every layer gives an empty result for an empty batch, forward and backward."""

import numpy as np
import pytest

import minidl
from minidl import nn

IMAGE = (8, 9, 7)
LAYERS = {  # layer, shape of one input, shape of one output
    "conv": (lambda: nn.Conv2d(8, 6, (3, 2), (2, 1), padding=1), IMAGE, (6, 5, 8)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, dilation=2, groups=8), IMAGE, (8, 5, 3)),
    "pointwise": (lambda: nn.Conv2d(8, 5, 1), IMAGE, (5, 9, 7)),
    "conv1d": (lambda: nn.Conv1d(8, 5, 4, 3), (8, 19), (5, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(8, 4, 3, 2, padding=1, output_padding=1), IMAGE, (4, 18, 14)),
    "linear": (lambda: nn.Linear(7, 5), IMAGE, (8, 9, 5)),
    "batch_norm": (lambda: nn.BatchNorm2d(8).eval(), IMAGE, IMAGE),
    "group_norm": (lambda: nn.GroupNorm(2, 8), IMAGE, IMAGE),
    "layer_norm": (lambda: nn.LayerNorm(7), IMAGE, IMAGE),
    "lrn": (lambda: nn.LocalResponseNorm(5), IMAGE, IMAGE),
    "max_pool": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), IMAGE, (8, 4, 3)),
    "avg_pool": (lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), IMAGE, (8, 5, 4)),
    "adaptive_avg": (lambda: nn.AdaptiveAvgPool2d((6, 4)), IMAGE, (8, 6, 4)),
    "adaptive_max": (lambda: nn.AdaptiveMaxPool2d(1), IMAGE, (8, 1, 1)),
    "relu": (nn.ReLU, IMAGE, IMAGE),
    "softmax": (nn.Softmax, IMAGE, IMAGE),
    "dropout": (nn.Dropout, IMAGE, IMAGE),
    "dropout2d": (nn.Dropout2d, IMAGE, IMAGE),
    "flatten": (nn.Flatten, IMAGE, (504,)),
    "reflection": (lambda: nn.ReflectionPad2d((1, 2, 3, 0)), IMAGE, (8, 12, 10)),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), IMAGE, (2, 18, 14)),
    "channel_shuffle": (lambda: nn.ChannelShuffle(4), IMAGE, IMAGE),
    "lstm": (lambda: nn.LSTM(4, 3, batch_first=True), (8, 4), (8, 3)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch_passes(name, dtype):
    make, one_input, one_output = LAYERS[name]
    layer = make().to(dtype)
    x = minidl.zeros(0, *one_input, dtype=dtype, requires_grad=True)
    y = layer(x)
    y = y[0] if isinstance(y, tuple) else y
    assert (y.shape, y.dtype) == ((0, *one_output), x.dtype)
    y.backward(minidl.zeros(0, *one_output, dtype=dtype))
    assert x.grad.shape == x.shape
    for parameter in layer.parameters():
        np.testing.assert_array_equal(parameter.grad.numpy(), np.zeros(parameter.shape))
