"""Convolution layers worth measuring: facts from papers and public benchmark lists, and nothing else.

Batches are what two CPU cores finish in milliseconds to half a second, not what the papers trained with.  Layers
that occur several times in a network stand here once; of GoogLeNet's modules 3a, 4a, 4e and 5b, of each dense block
of DenseNet the first and the last layer.

`LAYERS` is what a run measures that is told nothing else.  `PUBLIC` are two public lists as a whole, with their own
batches as far as `affordable` lets them; they are measured where they are named.

This file imports nothing of minidl, so that the process that measures PyTorch can read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

from . import deepbench

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One convolution: x (N, C, *size) with w (K, C/G, *kernel), of a transposed layer (C, K/G, *kernel).

    >>> layer = conv("vgg16", "3.1", 4, 128, 256, 56, 3)
    >>> layer.x_shape, layer.w_shape, layer.tags
    ((4, 128, 56, 56), (256, 128, 3, 3), ('vgg16', '3x3', '3x3-big'))
    """

    net: str
    name: str
    batch: int
    channels: int
    filters: int
    size: Ints
    kernel: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int
    transposed: bool = False
    output_padding: Ints = ()

    @property
    def title(self) -> str:
        return f"{self.net} {self.name}"

    @property
    def x_shape(self) -> Ints:
        return (self.batch, self.channels, *self.size)

    @property
    def w_shape(self) -> Ints:
        if self.transposed:
            return (self.channels, self.filters // self.groups, *self.kernel)
        return (self.filters, self.channels // self.groups, *self.kernel)

    @property
    def kind(self) -> str:
        """The one class that decides how a layer is best computed."""
        if len(self.size) == 1:
            return "1d"
        if self.transposed:
            return "transposed"
        if max(self.kernel) >= 31:
            return "large"
        if self.groups > 1:
            return "depthwise" if self.groups == self.channels == self.filters else "grouped"
        if self.channels <= 4:
            return "first"
        if max(self.dilation) > 1:
            return "dilated"
        return "strided" if max(self.stride) > 1 else "x".join(map(str, self.kernel))

    @property
    def tags(self) -> tuple[str, ...]:
        """The network, the kind, and "3x3-big" for 3x3 with C, K >= 32 and at least 150 tiles of 4x4 outputs."""
        tags = (self.net, self.kind)
        if self.kind != "3x3":
            return tags
        tiles = self.batch * prod(-(-n // 4) for n in _outputs(self))
        return (*tags, "3x3-big") if min(self.channels, self.filters) >= 32 and tiles >= 150 else tags


def _outputs(layer: Layer) -> list[int]:
    """The result's size, unless the layer is transposed."""
    windows = zip(layer.size, layer.kernel, layer.stride, layer.padding, layer.dilation)
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in windows]


def conv(
    net: str,
    name: str,
    batch: int,
    channels: int,
    filters: int,
    size: int | Ints,
    kernel: int | Ints,
    stride: int | Ints = 1,
    padding: int | Ints | None = None,
    dilation: int = 1,
    groups: int = 1,
    transposed: bool = False,
    output_padding: int = 0,
) -> Layer:
    """A layer; a number stands for both axes, and padding left out keeps the size of an odd kernel."""
    ndim = next((len(v) for v in (size, kernel, stride, padding) if isinstance(v, tuple)), 2)

    def each(value: int | Ints) -> Ints:
        return value if isinstance(value, tuple) else (value,) * ndim

    taps, gaps = each(kernel), each(dilation)
    pads = tuple(d * (k - 1) // 2 for k, d in zip(taps, gaps)) if padding is None else each(padding)
    extra = each(output_padding) if transposed else ()
    sizes, steps = each(size), each(stride)
    return Layer(net, name, batch, channels, filters, sizes, taps, steps, pads, gaps, groups, transposed, extra)


# Krizhevsky 2014, arXiv:1404.5997
ALEXNET = [
    conv("alexnet", "1", 32, 3, 64, 224, 11, stride=4, padding=2),
    conv("alexnet", "2", 32, 64, 192, 27, 5),
    conv("alexnet", "3", 32, 192, 384, 13, 3),
    conv("alexnet", "4", 32, 384, 256, 13, 3),
    conv("alexnet", "5", 32, 256, 256, 13, 3),
]

# Simonyan and Zisserman 2014, arXiv:1409.1556, configuration D
VGG16 = [
    conv("vgg16", "1.1", 4, 3, 64, 224, 3),
    conv("vgg16", "1.2", 4, 64, 64, 224, 3),
    conv("vgg16", "2.1", 4, 64, 128, 112, 3),
    conv("vgg16", "2.2", 4, 128, 128, 112, 3),
    conv("vgg16", "3.1", 4, 128, 256, 56, 3),
    conv("vgg16", "3.2", 4, 256, 256, 56, 3),
    conv("vgg16", "4.1", 4, 256, 512, 28, 3),
    conv("vgg16", "4.2", 4, 512, 512, 28, 3),
    conv("vgg16", "5", 4, 512, 512, 14, 3),
]

# Szegedy et al. 2014, arXiv:1409.4842, table 1: module, size, input, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool
INCEPTION = [
    ("3a", 28, 192, 64, 96, 128, 16, 32, 32),
    ("3b", 28, 256, 128, 128, 192, 32, 96, 64),
    ("4a", 14, 480, 192, 96, 208, 16, 48, 64),
    ("4b", 14, 512, 160, 112, 224, 24, 64, 64),
    ("4c", 14, 512, 128, 128, 256, 24, 64, 64),
    ("4d", 14, 512, 112, 144, 288, 32, 64, 64),
    ("4e", 14, 528, 256, 160, 320, 32, 128, 128),
    ("5a", 7, 832, 256, 160, 320, 32, 128, 128),
    ("5b", 7, 832, 384, 192, 384, 48, 128, 128),
]
WHOLE_GOOGLENET = [
    conv("googlenet", "1", 16, 3, 64, 224, 7, stride=2, padding=3),
    conv("googlenet", "2r", 16, 64, 64, 56, 1),
    conv("googlenet", "2", 16, 64, 192, 56, 3),
]
for module, size, channels, one, three_reduce, three, five_reduce, five, pool in INCEPTION:
    WHOLE_GOOGLENET += [
        conv("googlenet", f"{module} 1x1", 16, channels, one, size, 1),
        conv("googlenet", f"{module} 3x3r", 16, channels, three_reduce, size, 1),
        conv("googlenet", f"{module} 3x3", 16, three_reduce, three, size, 3),
        conv("googlenet", f"{module} 5x5r", 16, channels, five_reduce, size, 1),
        conv("googlenet", f"{module} 5x5", 16, five_reduce, five, size, 5),
        conv("googlenet", f"{module} pool", 16, channels, pool, size, 1),
    ]
GOOGLENET = [layer for layer in WHOLE_GOOGLENET if layer.name[:2] not in ("3b", "4b", "4c", "4d", "5a")]

# He et al. 2015, arXiv:1512.03385, table 1, with the stride in the 3x3 as in version 1.5:
# stage, its input's size and channels, width of its bottleneck, stride
RESNET50 = [conv("resnet50", "1", 8, 3, 64, 224, 7, stride=2, padding=3)]
for stage, size, channels, width, stride in [
    (2, 56, 64, 64, 1),
    (3, 56, 256, 128, 2),
    (4, 28, 512, 256, 2),
    (5, 14, 1024, 512, 2),
]:
    RESNET50 += [
        conv("resnet50", f"{stage}.1 reduce", 8, channels, width, size, 1),
        conv("resnet50", f"{stage}.1 project", 8, channels, 4 * width, size, 1, stride=stride),
        conv("resnet50", f"{stage} reduce", 8, 4 * width, width, size // stride, 1),
        conv("resnet50", f"{stage} 3x3", 8, width, width, size // stride, 3),
        conv("resnet50", f"{stage} expand", 8, width, 4 * width, size // stride, 1),
    ]
    if stride > 1:
        RESNET50.append(conv("resnet50", f"{stage}.1 3x3", 8, width, width, size, 3, stride=stride))

# Sandler et al. 2018, arXiv:1801.04381, table 2: size, input, expanded, output, stride of the depthwise
MOBILENET = [
    conv("mobilenet", "1", 16, 3, 32, 224, 3, stride=2, padding=1),
    conv("mobilenet", "dw 32@112", 16, 32, 32, 112, 3, groups=32),
    conv("mobilenet", "32-16@112", 16, 32, 16, 112, 1),
    conv("mobilenet", "320-1280@7", 16, 320, 1280, 7, 1),
]
for size, channels, wide, filters, stride in [
    (112, 16, 96, 24, 2),
    (56, 24, 144, 24, 1),
    (56, 24, 144, 32, 2),
    (28, 32, 192, 32, 1),
    (28, 32, 192, 64, 2),
    (14, 64, 384, 64, 1),
    (14, 96, 576, 96, 1),
    (14, 96, 576, 160, 2),
    (7, 160, 960, 160, 1),
]:
    after = size // stride
    MOBILENET.append(conv("mobilenet", f"dw {wide}@{size}/{stride}", 16, wide, wide, size, 3, stride, 1, groups=wide))
    MOBILENET.append(conv("mobilenet", f"{wide}-{filters}@{after}", 16, wide, filters, after, 1))
    if stride == 1 or size == 112:  # the others expand as the row above them does
        MOBILENET.append(conv("mobilenet", f"{channels}-{wide}@{size}", 16, channels, wide, size, 1))

# Springenberg et al. 2014, arXiv:1412.6806, ALL-CNN-C, on 32x32
ALLCNN = [
    conv("allcnn", "1", 32, 3, 96, 32, 3),
    conv("allcnn", "2", 32, 96, 96, 32, 3),
    conv("allcnn", "3", 32, 96, 96, 32, 3, stride=2),
    conv("allcnn", "4", 32, 96, 192, 16, 3),
    conv("allcnn", "5", 32, 192, 192, 16, 3),
    conv("allcnn", "6", 32, 192, 192, 16, 3, stride=2),
    conv("allcnn", "7", 32, 192, 192, 8, 3, padding=0),
    conv("allcnn", "8", 32, 192, 192, 6, 1),
    conv("allcnn", "9", 32, 192, 10, 6, 1),
]

# Huang et al. 2016, arXiv:1608.06993, table 1, growth 32: block, size, channels in, layers
DENSENET = []
for block, size, channels, layers in [(1, 56, 64, 6), (2, 28, 128, 12), (3, 14, 256, 24), (4, 7, 512, 16)]:
    last = channels + 32 * (layers - 1)
    DENSENET += [
        conv("densenet121", f"{block} first", 8, channels, 128, size, 1),
        conv("densenet121", f"{block} last", 8, last, 128, size, 1),
        conv("densenet121", f"{block} 3x3", 8, 128, 32, size, 3),
    ]
    if block < 4:
        DENSENET.append(conv("densenet121", f"{block} transition", 8, last + 32, (last + 32) // 2, size, 1))

# LeCun et al. 1998, with every map of the second layer connected to all of the first
LENET5 = [
    conv("lenet5", "1", 64, 1, 6, 28, 5),
    conv("lenet5", "2", 64, 6, 16, 14, 5, padding=0),
]

# Rajpurkar et al. 2017, arXiv:1707.01836, 30 s at 256 Hz.  "Same" would pad 7 and 8; torch's kernels take one number.
ECG = [
    conv("ecg", "1", 8, 1, 32, (7680,), 16, padding=7),
    conv("ecg", "32@7680", 8, 32, 32, (7680,), 16, padding=7),
    conv("ecg", "32@7680/2", 8, 32, 32, (7680,), 16, stride=2, padding=7),
    conv("ecg", "64@1920", 8, 64, 64, (1920,), 16, padding=7),
    conv("ecg", "128@480", 8, 128, 128, (480,), 16, padding=7),
    conv("ecg", "256@120", 8, 256, 256, (120,), 16, padding=7),
    conv("ecg", "256@120/2", 8, 256, 256, (120,), 16, stride=2, padding=7),
]

# He et al. 2015, section 4.2, on CIFAR-10
CIFAR_RESNET = [
    conv("resnet20", "16@32", 32, 16, 16, 32, 3),
    conv("resnet20", "32@16", 32, 32, 32, 16, 3),
    conv("resnet20", "64@8", 32, 64, 64, 8, 3),
]

# Ten of DeepBench's training list, see deepbench.py: speech, text, faces, a speaker; its image layers are those above.
DEEPBENCH = [
    conv("deepbench", "speech 1", 4, 1, 32, (161, 700), (5, 20), stride=2, padding=0),
    conv("deepbench", "speech 2", 4, 32, 32, (79, 341), (5, 10), stride=2, padding=0),
    conv("deepbench", "text 2", 16, 16, 32, (24, 240), 3),
    conv("deepbench", "text 3", 16, 32, 64, (12, 120), 3),
    conv("deepbench", "text 4", 16, 64, 128, (6, 60), 3),
    conv("deepbench", "face 1", 8, 3, 64, 108, 3, stride=2, padding=1),
    conv("deepbench", "face 2", 8, 64, 64, 54, 3),
    conv("deepbench", "face 3", 8, 128, 128, 27, 3),
    conv("deepbench", "face 5", 8, 256, 512, 7, 3),
    conv("deepbench", "speaker 3", 2, 64, 128, (80, 350), 5, stride=2, padding=1),
]

# The five single layers of convnet-benchmarks (Chintala), which has batches of 128
CONVNET_BENCHMARKS = [
    conv("convnet", "L1", 4, 3, 96, 128, 11, padding=0),
    conv("convnet", "L2", 4, 64, 128, 64, 9, padding=0),
    conv("convnet", "L3", 4, 128, 128, 32, 9, padding=0),
    conv("convnet", "L4", 4, 128, 128, 16, 7, padding=0),
    conv("convnet", "L5", 4, 384, 384, 13, 3, padding=0),
]

# What the networks above lack
OTHERS = [
    conv("context", "256@28/d2", 4, 256, 256, 28, 3, dilation=2),  # Yu and Koltun 2015, arXiv:1511.07122
    conv("context", "512@28/d4", 4, 512, 512, 28, 3, dilation=4),
    conv("dcgan", "512-256@4", 64, 512, 256, 4, 4, stride=2, padding=1, transposed=True),  # arXiv:1511.06434
    conv("dcgan", "256-128@8", 64, 256, 128, 8, 4, stride=2, padding=1, transposed=True),
    conv("dcgan", "128-64@16", 64, 128, 64, 16, 4, stride=2, padding=1, transposed=True),
    conv("unet", "128-64@56", 4, 128, 64, 56, 2, stride=2, padding=0, transposed=True),  # arXiv:1505.04597
    conv("tiramisu", "240@28", 4, 240, 240, 28, 3, stride=2, padding=1, transposed=True, output_padding=1),
    conv("resnext50", "2", 8, 128, 128, 56, 3, groups=32),  # Xie et al. 2016, arXiv:1611.05431
    conv("resnext50", "3", 8, 256, 256, 28, 3, groups=32),
    conv("inception3", "1x7", 8, 192, 192, 17, (1, 7)),  # Szegedy et al. 2015, arXiv:1512.00567
    conv("inception3", "7x1", 8, 192, 192, 17, (7, 1)),
    conv("replknet", "dw 31x31", 2, 128, 128, 56, 31, groups=128),  # Ding et al. 2022, arXiv:2203.06717
    conv("replknet", "dw 51x51", 2, 64, 64, 56, 51, groups=64),  # Liu et al. 2022, arXiv:2207.03620
    conv("filter", "31x31", 2, 8, 8, 128, 31),
]

LAYERS = [
    *ALEXNET, *VGG16, *GOOGLENET, *RESNET50, *MOBILENET, *ALLCNN, *DENSENET, *LENET5, *ECG,
    *CIFAR_RESNET, *DEEPBENCH, *CONVNET_BENCHMARKS, *OTHERS,
]  # fmt: skip


MOST_GFLOP = 100.0
MOST_BYTES = 1 << 28


def affordable(layer: Layer) -> Layer:
    """The layer with its batch halved until a pass takes two cores with AVX2 half a second, and no array is too large.

    That is at most ``MOST_GFLOP`` of direct convolution and ``MOST_BYTES`` for x, and for y.

    >>> affordable(conv("vgg", "4.2", 64, 512, 512, 28, 3)).batch
    16
    """
    outputs = prod(_outputs(layer))
    gflop = 2e-9 * outputs * prod(layer.w_shape)
    values = max(layer.channels * prod(layer.size), layer.filters * outputs)
    batch = layer.batch
    while batch > 1 and (batch * gflop > MOST_GFLOP or 4 * batch * values > MOST_BYTES):
        batch //= 2
    return replace(layer, batch=batch)


def _once(layers: Iterable[Layer]) -> list[Layer]:
    """Without those that differ from an earlier one in their name only."""
    found: dict[Layer, Layer] = {}
    for layer in layers:
        found.setdefault(replace(layer, name=""), layer)
    return list(found.values())


def _deepbench() -> list[Layer]:
    layers = []
    for size, channels, filters, kernel, padding, stride, batches in deepbench.TRAINING:
        step = f"/{stride}" if stride > 1 else ""
        problem = f"{channels}-{filters}@{size[0]}x{size[1]} {kernel[0]}x{kernel[1]}{step}"
        for batch in batches:
            layer = affordable(conv("deepbench-all", "", batch, channels, filters, size, kernel, stride, padding))
            layers.append(replace(layer, name=f"{problem} n{layer.batch}"))
    return _once(layers)


def _convnet(net: str, batch: int, layers: Iterable[Layer]) -> list[Layer]:
    return _once(affordable(replace(layer, net=net, batch=batch)) for layer in layers)


# Sermanet et al. 2013, arXiv:1312.6229, the fast network, padded as github.com/soumith/convnet-benchmarks has it
OVERFEAT = [
    conv("overfeat", "1", 128, 3, 96, 231, 11, stride=4, padding=0),
    conv("overfeat", "2", 128, 96, 256, 28, 5, padding=0),
    conv("overfeat", "3", 128, 256, 512, 12, 3),
    conv("overfeat", "4", 128, 512, 1024, 12, 3),
    conv("overfeat", "5", 128, 1024, 1024, 12, 3),
]
VGG_A = [layer for layer in VGG16 if layer.name not in ("1.2", "2.2")]  # configuration A has one layer at those sizes

PUBLIC = {
    "deepbench-all": _deepbench(),
    # github.com/soumith/convnet-benchmarks: four networks, and five layers
    "convnet-all": [
        *_convnet("alexnet-128", 128, ALEXNET),
        *_convnet("overfeat", 128, OVERFEAT),
        *_convnet("vgg-a", 64, VGG_A),
        *_convnet("googlenet-128", 128, WHOLE_GOOGLENET),
        *_convnet("convnet-128", 128, CONVNET_BENCHMARKS),
    ],
}


def select(wanted: list[str]) -> list[Layer]:
    """Layers of `LAYERS` whose title or one of whose tags is in ``wanted``; all of these for an empty list.

    Of `PUBLIC` the title, the network or the list has to be named: a kind such as "3x3" does not mean them.
    Raises ValueError for a word that names nothing.

    >>> [layer.title for layer in select(["lenet5", "vgg16 3.1", "overfeat 2"])]
    ['vgg16 3.1', 'lenet5 1', 'lenet5 2', 'overfeat 2']
    """
    if not wanted:
        return LAYERS
    named = [(layer, {*layer.tags}) for layer in LAYERS]
    named += [(layer, {list_, layer.net}) for list_, layers in PUBLIC.items() for layer in layers]
    tags = {tag for _, tags in named for tag in tags}
    if unknown := sorted(set(wanted) - tags - {layer.title for layer, _ in named}):
        raise ValueError(f"no layer and no tag is called {', '.join(unknown)}; the tags are {', '.join(sorted(tags))}")
    return [layer for layer, tags in named if set(wanted) & {layer.title, *tags}]
