"""Networks that torchvision lacks, written a second time: the papers' equations on torch's functions.

A twin shares nothing with the model but the names of the arrays.  Same random weights, float64: outputs, gradients of
the input and of every parameter, and the statistics of batch normalisation, in evaluation and in training mode.
"""

import pytest

from minidl.models.bninception import BNInception
from minidl.models.fractalnet import FractalNet
from minidl.models.inception_v4 import InceptionResNetV2, InceptionV4
from minidl.models.nasnet import NASNetA
from minidl.models.preact_resnet import CifarPreActResNet, PreActBasic, PreActBottleneck, PreActResNet
from minidl.models.resnet import BasicBlock, Bottleneck
from minidl.models.se_net import SENet
from minidl.models.xception import Xception
from tests.checks.twins import check_twin, mean, unit

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.torch


# ---- SE-ResNet: Hu et al., equations 2 to 4 and figure 3 ------------------------------------------------------------


def se_net(net, x, stride_in=0, groups=1, deep_stem=False, padded_pool=False):
    for i, stride in ((1, 2), (2, 1), (3, 1)) if deep_stem else ((1, 2),):
        x = net.bn(net.conv(x, f"layer0.conv{i}", stride), f"layer0.bn{i}").relu()
    x = F.max_pool2d(x, 3, 2, 1) if padded_pool else F.max_pool2d(x, 3, 2, ceil_mode=True)
    for stage in (1, 2, 3, 4):
        for i in range(net.count(f"layer{stage}.")):
            block = f"layer{stage}.{i}."
            stride = 2 if stage > 1 and i == 0 else 1
            u, layers = x, 3 if net.has(block + "conv3") else 2
            for layer in range(layers):
                spatial = net.state[f"{block}conv{layer + 1}.weight"].shape[-1] == 3
                u = net.conv(
                    u, f"{block}conv{layer + 1}", stride if layer == stride_in else 1, groups=groups if spatial else 1
                )
                u = net.bn(u, f"{block}bn{layer + 1}")
                u = u.relu() if layer + 1 < layers else u
            z = mean(u)[:, :, None, None]
            s = torch.sigmoid(net.conv(net.conv(z, block + "se_module.fc1").relu(), block + "se_module.fc2"))
            if net.has(block + "downsample.0"):
                x = net.bn(net.conv(x, block + "downsample.0", stride), block + "downsample.1")
            x = (x + s * u).relu()
    return net.linear(mean(x), "last_linear")


# ---- pre-activation and Wide ResNet: He et al. 2016, equation 5 -----------------------------------------------------


def preact_block(net, x, block, stride, strided):
    a = net.bn(x, block + "bn1").relu() if net.has(block + "bn1") else x
    y, layers = a, 3 if net.has(block + "conv3") else 2
    for layer in range(layers):
        if layer:
            y = net.bn(y, f"{block}bn{layer + 1}").relu()
        y = net.conv(y, f"{block}conv{layer + 1}", stride if layer == strided else 1)
    return y + (net.conv(a, block + "downsample", stride) if net.has(block + "downsample") else x)


def preact(net, x, strided=0, imagenet=False):
    x = net.conv(x, "conv1", 2 if imagenet else 1)
    if imagenet:
        x = F.max_pool2d(net.bn(x, "bn1").relu(), 3, 2, 1)
    for stage in range(1, 5 if imagenet else 4):
        for i in range(net.count(f"layer{stage}.")):
            x = preact_block(net, x, f"layer{stage}.{i}.", 2 if stage > 1 and i == 0 else 1, strided)
    return net.linear(mean(net.bn(x, "norm").relu()), "fc")


# ---- FractalNet: Larsson et al., f_1 = conv, f_(C+1)(z) = (f_C o f_C)(z) join conv(z) --------------------------------


def fractal(net, x):
    def paths(z, block, column, i, columns):
        """What ends at the end of this part: one path for each column from this one on."""
        name = f"{block}columns.{column}.{i}."
        ends = [net.bn(net.conv(z, name + "conv"), name + "bn").relu()]
        if column + 1 < columns:
            half = paths(z, block, column + 1, 2 * i, columns)
            ends += paths(sum(half) / len(half), block, column + 1, 2 * i + 1, columns)
        return ends

    for b in range(5):
        block = f"blocks.{b}."
        ends = paths(x, block, 0, 0, net.count(f"{block}columns."))
        x = F.max_pool2d(sum(ends) / len(ends), 2)
    return net.linear(x.flatten(1), "fc")


# ---- Inception-v4 and Inception-ResNet-v2: figures 3 to 9 and 15 to 19 -----------------------------------------------


def row(net, x, name, *strides, valid=False):
    """name, or name.0, name.1, ...: convolutions in a row; ``valid``: the last without padding."""
    if net.has(f"{name}.conv"):
        return unit(net, x, name, *strides, valid=valid)
    count = net.count(f"{name}.")
    for i in range(count):
        stride = strides[0] if strides and i == count - 1 else 1
        x = unit(net, x, f"{name}.{i}", stride, valid and i == count - 1)
    return x


def average(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def inception_v4(net, x):
    x = unit(net, unit(net, unit(net, x, "features.0", 2), "features.1", valid=True), "features.2")
    x = torch.cat([F.max_pool2d(x, 3, 2), unit(net, x, "features.3.conv", 2)], 1)
    x = torch.cat([row(net, x, f"features.4.branch{i}", valid=True) for i in (0, 1)], 1)
    x = torch.cat([unit(net, x, "features.5.conv", 2), F.max_pool2d(x, 3, 2)], 1)
    for i in range(6, 22):
        name = f"features.{i}."
        if i in (10, 18):
            parts = [row(net, x, f"{name}branch{b}", 2) for b in (0, 1)] + [F.max_pool2d(x, 3, 2)]
        elif i < 18:
            parts = [row(net, x, f"{name}branch{b}") for b in (0, 1, 2)]
            parts.append(unit(net, average(x), f"{name}branch3.1"))
        else:
            y = unit(net, x, name + "branch1_0")
            z = unit(net, unit(net, unit(net, x, name + "branch2_0"), name + "branch2_1"), name + "branch2_2")
            parts = [unit(net, x, name + "branch0")]
            parts += [unit(net, y, f"{name}branch1_1{s}") for s in "ab"]
            parts += [unit(net, z, f"{name}branch2_3{s}") for s in "ab"]
            parts.append(unit(net, average(x), f"{name}branch3.1"))
        x = torch.cat(parts, 1)
    return net.linear(mean(x), "last_linear")


def inception_resnet_v2(net, x):
    x = unit(net, unit(net, unit(net, x, "conv2d_1a", 2), "conv2d_2a", valid=True), "conv2d_2b")
    x = unit(net, unit(net, F.max_pool2d(x, 3, 2), "conv2d_3b"), "conv2d_4a", valid=True)
    x = F.max_pool2d(x, 3, 2)
    parts = [row(net, x, f"mixed_5b.branch{b}") for b in (0, 1, 2)]
    x = torch.cat([*parts, unit(net, average(x), "mixed_5b.branch3.1")], 1)

    def residual(x, name, scale, branches, last=False):
        joined = torch.cat([row(net, x, f"{name}.branch{b}") for b in range(branches)], 1)
        x = x + scale * net.conv(joined, f"{name}.conv2d")
        return x if last else x.relu()

    def reduction(x, name, branches):
        return torch.cat([*(row(net, x, f"{name}.branch{b}", 2) for b in range(branches)), F.max_pool2d(x, 3, 2)], 1)

    for i in range(10):
        x = residual(x, f"repeat.{i}", 0.17, 3)
    x = reduction(x, "mixed_6a", 2)
    for i in range(20):
        x = residual(x, f"repeat_1.{i}", 0.10, 2)
    x = reduction(x, "mixed_7a", 3)
    for i in range(9):
        x = residual(x, f"repeat_2.{i}", 0.20, 2)
    x = unit(net, residual(x, "block8", 1.0, 2, last=True), "conv2d_7b")
    return net.linear(mean(x), "classif")


# ---- BN-Inception: Ioffe and Szegedy, figure 5 ----------------------------------------------------------------------


def bninception(net, x):
    def conv(x, name, stride=1):
        return net.bn(net.conv(x, name, stride), f"{name}_bn").relu()

    x = F.max_pool2d(conv(x, "conv1_7x7_s2", 2), 3, 2, ceil_mode=True)
    x = F.max_pool2d(conv(conv(x, "conv2_3x3_reduce"), "conv2_3x3"), 3, 2, ceil_mode=True)
    for block in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        name = f"inception_{block}_"
        stride = 2 if block in ("3c", "4e") else 1
        parts = [conv(x, name + "1x1")] if stride == 1 else []
        parts.append(conv(conv(x, name + "3x3_reduce"), name + "3x3", stride))
        double = conv(conv(x, name + "double_3x3_reduce"), name + "double_3x3_1")
        parts.append(conv(double, name + "double_3x3_2", stride))
        if stride == 2:
            parts.append(F.max_pool2d(x, 3, 2, ceil_mode=True))
        else:
            pooled = F.max_pool2d(x, 3, 1, 1) if block == "5b" else F.avg_pool2d(x, 3, 1, 1)
            parts.append(conv(pooled, name + "pool_proj"))
        x = torch.cat(parts, 1)
    return net.linear(mean(x), "last_linear")


# ---- Xception: Chollet, figure 5 ------------------------------------------------------------------------------------


def xception(net, x):
    def separable(x, name):
        return net.conv(net.conv(x, name + "conv1", groups=x.shape[1]), name + "pointwise")

    x = net.bn(net.conv(x, "conv1", 2, 0), "bn1").relu()
    x = net.bn(net.conv(x, "conv2", 1, 0), "bn2").relu()
    for block in range(1, 13):
        name, y = f"block{block}.", x
        places = sorted(int(k.split(".")[2]) for k in net.state if k.startswith(f"{name}rep.") and "pointwise" in k)
        for i, place in enumerate(places):
            y = y if block == 1 and i == 0 else y.relu()
            y = net.bn(separable(y, f"{name}rep.{place}."), f"{name}rep.{place + 1}")
        if block in (1, 2, 3, 12):
            x = F.max_pool2d(y, 3, 2, 1) + net.bn(net.conv(x, name + "skip", 2), name + "skipbn")
        else:
            x = x + y
    x = net.bn(separable(x, "conv3."), "bn3").relu()
    return net.linear(mean(net.bn(separable(x, "conv4."), "bn4").relu()), "fc")


# ---- NASNet-A: Zoph et al., figure 4; sizes are odd, where SAME padding is symmetric ---------------------------------


def nasnet(net, x, skip=False):
    def separable(x, name, stride=1):
        for half, step in (("1", stride), ("2", 1)):
            x = net.conv(x.relu(), f"{name}.depthwise{half}", step, groups=x.shape[1])
            x = net.bn(net.conv(x, f"{name}.pointwise{half}"), f"{name}.bn{half}")
        return x

    def pool(kind, x, stride):
        if kind == "max":
            return F.max_pool2d(x, 3, stride, 1)
        return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)

    def adjusted(p, name):
        if net.has(f"{name}.even"):
            p = p.relu()
            shifted = F.pad(p, (0, 1, 0, 1))[:, :, 1:, 1:]
            halves = [net.conv(q, f"{name}.{k}", 2) for q, k in ((p, "even"), (shifted, "odd"))]
            return net.bn(torch.cat(halves, 1), f"{name}.bn")
        return net.bn(net.conv(p.relu(), f"{name}.conv"), f"{name}.bn") if net.has(f"{name}.conv") else p

    x = previous = net.bn(net.conv(x, "conv0", 2, 0), "bn0")
    for i in range(net.count("cells.")):
        name = f"cells.{i}."
        h = net.bn(net.conv(x.relu(), name + "project.conv"), name + "project.bn")
        p = adjusted(previous, name + "adjust")
        if net.has(name + "p7a.depthwise1"):
            x1 = separable(h, name + "h5", 2) + separable(p, name + "p7a", 2)
            x2 = pool("max", h, 2) + separable(p, name + "p7b", 2)
            x3 = pool("avg", h, 2) + separable(p, name + "p5", 2)
            x4 = pool("avg", x1, 1) + x2
            x5 = separable(x1, name + "a3") + pool("max", h, 2)
            y, keep = torch.cat([x2, x3, x4, x5], 1), skip and i > 1
        else:
            y = torch.cat(
                [
                    p,
                    separable(h, name + "h5") + separable(p, name + "p3a"),
                    separable(p, name + "p5") + separable(p, name + "p3b"),
                    pool("avg", h, 1) + p,
                    2 * pool("avg", p, 1),
                    separable(h, name + "h3") + h,
                ],
                1,
            )
            keep = False
        x, previous = y, previous if keep else x
    return net.linear(mean(x.relu()), "fc")


# ---- the comparison -------------------------------------------------------------------------------------------------

# Model, twin, its options, side of the images, eps of batch normalisation.  The sides leave maps of 2x2 at least: the
# statistics of a batch of three single pixels would magnify rounding.
CASES = {
    "se_resnet, bottlenecks": (
        lambda: SENet(Bottleneck, (2, 2, 1, 1), 7, stride_in_1x1=True), se_net, {}, 48, 1e-5,
    ),
    "se_resnet, basic blocks": (lambda: SENet(BasicBlock, (1, 2, 1, 1), 7), se_net, {}, 49, 1e-5),
    "se_resnext": (
        lambda: SENet(Bottleneck, (1, 1, 1, 1), 7, groups=32, width_per_group=4, ceil_pool=False), se_net,
        {"stride_in": 1, "groups": 32, "padded_pool": True}, 48, 1e-5,
    ),
    "senet154, one block a stage": (
        lambda: SENet(Bottleneck, (1, 1, 1, 1), 7, groups=64, width_per_group=4, senet154=True, dropout=0.0), se_net,
        {"stride_in": 1, "groups": 64, "deep_stem": True}, 40, 1e-5,
    ),
    "preact, CIFAR bottlenecks": (
        lambda: CifarPreActResNet(lambda i, o, s: PreActBottleneck(i, o, s, True), 2, (64, 128, 256), 7), preact,
        {}, 20, 1e-5,
    ),
    "preact, CIFAR basic blocks": (lambda: CifarPreActResNet(PreActBasic, 2, (16, 32, 64), 7), preact, {}, 24, 1e-5),
    "preact, ImageNet": (
        lambda: PreActResNet((2, 1, 1, 1), 7), preact, {"strided": 1, "imagenet": True}, 49, 1e-5,
    ),
    "wide resnet": (lambda: CifarPreActResNet(PreActBasic, 1, (64, 128, 256), 7), preact, {}, 20, 1e-5),
    "fractalnet": (
        lambda: FractalNet(3, 7, drop_path=0.0, dropout=(0.0,) * 5), fractal, {}, 32, 1e-5,
    ),
    "inception_v4": (lambda: InceptionV4(7, 0.0), inception_v4, {}, 107, 1e-3),
    "inception_resnet_v2": (lambda: InceptionResNetV2(7, 0.0), inception_resnet_v2, {}, 107, 1e-3),
    "bninception": (lambda: BNInception(7, 0.0), bninception, {}, 64, 1e-5),
    "xception": (lambda: Xception(7, 0.0), xception, {}, 47, 1e-5),
    "nasnet, mobile": (lambda: NASNetA(12, 8, 1, False, 7, 0.0), nasnet, {}, 67, 1e-3),
    "nasnet, large": (lambda: NASNetA(12, 8, 2, True, 7, 0.0), nasnet, {"skip": True}, 67, 1e-3),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_model_is_what_the_equations_say(name):
    make, twin, options, side, eps = CASES[name]
    check_twin(make, twin, (3, 3, side, side), eps, **options)
