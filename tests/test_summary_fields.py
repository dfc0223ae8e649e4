"""Receptive fields of every family of the zoo, three times: by the paper's table, by the summary, by what happens.

The path is the chain of windows that reaches furthest, read off the paper's table and added up here.  What
happens is shown by rows of NaN: a unit that sees one of them is NaN, whatever the weights are, and no other unit is.
The field of unit 0 ends where the path says if the last row of it makes the unit NaN and the row behind it does not;
the field of the last unit begins likewise, and between the two lies the step from unit to unit.
"""

import functools
import re
from collections.abc import Callable

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.kernels import conv
from minidl.models.densenet import DenseNet
from minidl.models.nasnet import NASNetA
from minidl.models.preact_resnet import CifarPreActResNet, PreActBottleneck, PreActResNet
from minidl.models.resnet import Bottleneck
from minidl.models.se_net import SENet, SqueezeExcite
from minidl.nn import functional as F
from minidl.summary import summarize


def windows(path: str) -> list[tuple[int, int, int]]:
    """Width, stride and padding of each: "7/2p1*3" is three times 7 wide, stride 2, padded by 1.

    Stride 1 is not written, nor the padding that keeps the size of a map.
    """
    found = []
    for word in path.split():
        width, stride, padding, times = re.fullmatch(r"(\d+)(?:/(\d+))?(?:p(\d+))?(?:\*(\d+))?", word).groups()
        found += [(int(width), int(stride or 1), int(width) // 2 if padding is None else int(padding))] * int(
            times or 1
        )
    return found


def along(path: str) -> tuple[int, int, int]:
    """Size, jump and start of the field behind the windows.

    Each widens the field by its own width less one, in steps of the strides so far (Araujo et al. 2019, equation 2).
    """
    size, jump, start = 1, 1, 0
    for width, stride, padding in windows(path):
        size, start, jump = size + (width - 1) * jump, start - padding * jump, jump * stride
    return size, jump, start


def positions(path: str, side: int) -> int:
    """How many units a map of an image of ``side`` has behind the windows."""
    for width, stride, padding in windows(path):
        side = max(0, (side + 2 * padding - width) // stride + 1)
    return side


RESNET50 = "7/2 3/2 3*3 3/2 3*3 3/2 3*5 3/2 3*2"
RESNET50_V1 = "7/2 3/2 3*3 1/2 3*4 1/2 3*6 1/2 3*3"
INCEPTION_STEM = "3/2p0 3p0 3 3/2p0 3p0 3/2p0"

# network, a layer behind which only pooling over the whole map and fully connected layers come, and the path to it
PATHS: dict[str, tuple[str, str]] = {
    "simple_convnet": ("2", "3 2/2p0"),
    "lenet5": ("features.5", "5p0 2/2p0 5p0 2/2p0"),
    "lenet5_1998": ("s4", "5p0 2/2p0 5p0 2/2p0"),
    "lenet_caffe": ("3", "5p0 2/2p0 5p0 2/2p0"),
    "alexnet": ("features.12", "11/4p2 3/2p0 5 3/2p0 3*3 3/2p0"),
    "alexnet_cs231n": ("features.14", "11/4p0 3/2p0 5 3/2p0 3*3 3/2p0"),
    "zfnet": ("features.14", "7/2p1 3/2p0 5/2p0 3/2p0 3*3 3/2p0"),
    "vgg11": ("features.20", "3 2/2p0 3 2/2p0 3*2 2/2p0 3*2 2/2p0 3*2 2/2p0"),
    "nin_cifar10": ("relu_cccp6", "5 3/2p0 5 3/2p0 3"),
    "allcnn_model_a": ("relu5", "5 3/2p0 5 3/2p0 3p0"),
    "strided_cnn_b": ("relu7", "5 1/2 5 1/2 3p0"),
    "convpool_cnn_c": ("relu9", "3*3 3/2p0 3*3 3/2p0 3p0"),
    "all_cnn_c": ("relu9", "3*2 3/2 3*2 3/2 3p0"),
    "googlenet": ("inception5b", "7/2 3/2p0 3 3/2p0 3*2 3/2p0 3*5 2/2p0 3*2"),
    "googlenet_original": ("inception5b", "7/2 3/2p0 3 3/2p0 5*2 3/2p0 5*5 3/2p0 5*2"),
    "bninception": ("inception_5b_double_3x3_2_bn", "7/2 3/2p0 3 3/2p0 3*5 3/2 3*9 3/2 3*4"),
    "inception_v3": ("Mixed_7c", f"{INCEPTION_STEM} 5*3 3 3/2p0 7*8 7 3/2p0 3*4"),
    "inception_v4, one block of a kind": ("features.10", "3/2p0 3p0 3 3/2p0 7 3p0 3/2p0 3*2 3 3/2p0 7*3 3/2p0 3*2"),
    "inception_resnet_v2, one block of a kind": ("conv2d_7b", f"{INCEPTION_STEM} 5 3*2 3 3/2p0 7 3 3/2p0 3*2"),
    "xception": ("bn4", "3/2p0 3p0 3*2 3/2 3*2 3/2 3*2 3/2 3*24 3*2 3/2 3*2"),
    "resnet18": ("layer4", "7/2 3/2 3*4 3/2 3*3 3/2 3*3 3/2 3*3"),
    "resnet50": ("layer4", RESNET50),
    "resnet50, dilated": ("layer4", "7/2 3/2 3*3 3/2 3*3 3 5*5 5 9*2"),
    "cifar_resnet20": ("layer3", "3 3*6 3/2 3*5 3/2 3*5"),
    "cifar_plain20": ("layer3", "3 3*6 3/2 3*5 3/2 3*5"),
    "preact, CIFAR bottlenecks": ("norm", "3 3*2 1/2 3*2 1/2 3*2"),
    "preact, ImageNet": ("norm", "7/2 3/2 3*2 3/2 3/2 3/2"),
    "wrn_16_4": ("norm", "3 3*4 3/2 3*3 3/2 3*3"),
    "cifar_resnext29_32x4d": ("layer3", "3 3*3 3/2 3*2 3/2 3*2"),
    "se_resnet50": ("layer4", RESNET50_V1.replace("3/2", "3/2p0")),
    "senet154, one block a stage": ("layer4", "3/2 3*2 3/2p0 3 3/2 3/2 3/2"),
    "cifar_se_resnet20": ("layer3", "3 3*6 3/2 3*5 3/2 3*5"),
    "densenet, two layers a block": ("features.norm5", "7/2 3/2 3*2 2/2p0 3*2 2/2p0 3*2 2/2p0 3*2"),
    "cifar_densenet40_k12": ("features.norm4", "3 3*12 2/2p0 3*12 2/2p0 3*12"),
    "fractalnet20": ("blocks.4.columns.2.3", "3*4 2/2p0 3*4 2/2p0 3*4 2/2p0 3*4 2/2p0 3*4"),
    "mobilenet_v1": ("features", "3/2 3 3/2 3 3/2 3 3/2 3*5 3/2 3"),
    "mobilenet_v2": ("features", "3/2 3 3/2 3 3/2 3*2 3/2 3*6 3/2 3*3"),
    "mobilenet_v3_small": ("features", "3/2 3/2 3/2 3 5/2 5*4 5/2 5*2"),
    "mnasnet1_0": ("layers", "3/2 3 3/2 3*2 5/2 5*2 5/2 5*2 3*2 5/2 5*3 3"),
    "efficientnet_b0": ("features", "3/2 3 3/2 3 5/2 5 3/2 3*2 5*3 5/2 5*3 3"),
    "shufflenet_v2_x1_0": ("conv5", "3/2 3/2 3/2 3*3 3/2 3*7 3/2 3*3"),
    "nasnet, one normal cell": ("cells.6", "3/2p0 7/2 7 3*2 5/2 5 3*2 5*2 5/2 5 3*2 5*2 5/2 5 3*2 5*2"),
    "squeezenet1_1": ("classifier.2", "3/2p0 3/2p0 3*2 3/2p0 3*2 3/2p0 3*4"),
}
CHANNELS = dict.fromkeys(("lenet5", "lenet5_1998", "lenet_caffe"), 1)


def short_inception_v4() -> nn.Module:
    net = models.inception_v4()
    net.features = nn.Sequential(*(net.features[i] for i in (*range(7), 10, 11, 18, 19)))
    return net


def short_inception_resnet_v2() -> nn.Module:
    net = models.inception_resnet_v2()
    for name in ("repeat", "repeat_1", "repeat_2"):
        setattr(net, name, getattr(net, name)[:1])
    return net


SMALLER: dict[str, Callable[[], nn.Module]] = {
    "inception_v4, one block of a kind": short_inception_v4,
    "inception_resnet_v2, one block of a kind": short_inception_resnet_v2,
    "resnet50, dilated": lambda: models.resnet50(replace_stride_with_dilation=(False, True, True)),
    "preact, CIFAR bottlenecks": lambda: CifarPreActResNet(
        lambda i, o, s: PreActBottleneck(i, o, s, stride_in_1x1=True), 2, (64, 128, 256), 10
    ),
    "preact, ImageNet": lambda: PreActResNet((2, 1, 1, 1)),
    "senet154, one block a stage": lambda: SENet(
        Bottleneck, (1, 1, 1, 1), 10, groups=64, width_per_group=4, senet154=True
    ),
    "densenet, two layers a block": lambda: DenseNet(8, (2, 2, 2, 2), 16),
    "nasnet, one normal cell": lambda: NASNetA(12, 8, 1, False, 10, 0.0),
}


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions with one filter on the sum of the channels: a unit looks where it did, for a hundredth of the work.

    Window by window, for a transform carries a NaN to the whole tile; and without the gates of squeeze-and-excitation,
    which carry it to the whole image.
    """

    def forward(self: nn.Conv2d, x: minidl.Tensor) -> minidl.Tensor:
        one = minidl.ones(1, 1, *self.kernel_size)
        y = F.conv2d(x.sum(1, keepdim=True), one, None, self.stride, self.padding, self.dilation)
        return y.expand(-1, self.out_channels, -1, -1)

    plan = conv._plan
    monkeypatch.setattr(conv, "_plan", lambda *given: plan(*given[:-1], "exact"))
    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: x)
    monkeypatch.setattr(SqueezeExcite, "forward", lambda self, x: x)


@functools.cache
def network(name: str) -> nn.Module:
    """Without its last layers and without memory for its weights."""
    with nn.utils.skip_init():
        net = SMALLER[name]() if name in SMALLER else models.create(name)
    return models.feature_extractor(net.eval(), PATHS[name][0])


def image_sides(path: str) -> tuple[int, int]:
    """The narrowest image of which something is left behind the windows, and one that is long enough for the field of
    the first unit to end, and that of the last unit to begin, inside of it.

    Both are odd after each halving: where padding depends on the size (NASNet), it is then the same on both sides.
    """
    size, jump, start = along(path)
    sides = range(3, 9999, 32)
    narrow = next(n for n in sides if positions(path, n))
    long = next(n for n in sides if n > start + size and start + (positions(path, n) - 1) * jump > 0)
    return narrow, long


@pytest.mark.parametrize("name", PATHS)
def test_the_summary_says_what_the_path_says(name: str) -> None:
    layer, path = PATHS[name]
    narrow, long = image_sides(path)
    rows = summarize(network(name), (CHANNELS.get(name, 3), long, narrow)).rows
    maps = [row for row in rows if len(row.output) == 4 and row.output[2] > 1]  # not those of squeeze-and-excitation
    fields = next((row for row in maps if row.name == f"model.{layer}"), maps[-1]).field
    assert [(f.size, f.jump, f.start) for f in fields] == [along(path)] * 2


def nan_units(name: str, sides: list[int], axis: int, rows: tuple[int, ...]) -> np.ndarray:
    """(images, units): which units along ``axis`` are NaN in the image whose row is, one image for each row."""
    x = np.zeros((len(rows), CHANNELS.get(name, 3), *sides), np.float32)
    for image, row in zip(x.swapaxes(1, 2 + axis), rows):
        image[row] = np.nan
    with minidl.no_grad():
        return np.isnan(network(name)(minidl.tensor(x)).numpy()).any((1, 3 - axis))


@pytest.mark.parametrize("name", PATHS)
def test_a_unit_sees_what_the_path_says(name: str, thin: None) -> None:
    path = PATHS[name][1]
    size, jump, start = along(path)
    narrow, long = image_sides(path)
    for axis in (0, 1) if " 7" in path else (0,):  # where windows are not square, they are 1x7 and 7x1
        sides = [narrow, narrow]
        sides[axis] = long
        end = start + size - 1  # last row of the first unit's field
        seen = nan_units(name, sides, axis, (end, end + 1))
        assert seen[:, 0].tolist() == [True, False]
        begin = start + (seen.shape[1] - 1) * jump  # first row of the last unit's
        assert nan_units(name, sides, axis, (begin, begin - 1))[:, -1].tolist() == [True, False]
