"""The networks of the lectures, written a second time: LeNet, GoogLeNet, Inception-v3, CIFAR's ResNets and DenseNets.

As in test_paper_twins.py a twin shares nothing with the model but the names of the arrays: it is written from the
tables of the papers, on torch's functions.
"""

import pytest

from minidl import models, nn
from minidl.models.cifar_resnet import CifarResNet
from minidl.models.densenet import DenseNet
from minidl.models.inception import unit as inception_unit
from minidl.models.resnext import CifarResNeXt
from tests.checks.twins import check_twin, mean, unit

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.torch


# ---- LeNet-5, as taught today and as LeCun et al. 1998 have it -------------------------------------------------------


def lenet5(net, x, act=torch.tanh, pool=F.avg_pool2d, padding=0):
    x = pool(act(net.conv(x, "features.0", padding=padding)), 2)
    x = pool(act(net.conv(x, "features.3", padding=0)), 2).flatten(1)
    return net.linear(act(net.linear(act(net.linear(x, "classifier.0")), "classifier.2")), "classifier.4")


# table I: the maps of S2 that are connected with each map of C3
TABLE = ["012", "123", "234", "345", "045", "015"]
TABLE += ["0123", "1234", "2345", "0345", "0145", "0125", "0134", "1245", "0235", "012345"]


def lenet5_1998(net, x):
    def squash(a):  # appendix A: A tanh(S a), A = 1.7159, S = 2/3
        return 1.7159 * torch.tanh(2 * a / 3)

    def subsample(x, name):
        weight, bias = net.state[f"{name}.weight"], net.state[f"{name}.bias"]
        total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
        return squash(weight[:, None, None] * total + bias[:, None, None])

    x = subsample(squash(net.conv(x, "c1", padding=0)), "s2")
    kernels = iter(net.state["c3.weight"])  # in the order of the table's rows
    maps = [
        sum(F.conv2d(x[:, int(c)][:, None], next(kernels)[None, None]) for c in row) + net.state["c3.bias"][k]
        for k, row in enumerate(TABLE)
    ]
    x = subsample(squash(torch.cat(maps, 1)), "s4")
    x = squash(net.linear(squash(net.conv(x, "c5", padding=0)).flatten(1), "f6"))
    return -((x[:, None] - net.state["codes"]) ** 2).sum(2)


# ---- GoogLeNet: Szegedy et al. 2015, table 1 and section 5 -----------------------------------------------------------


def googlenet(net, x, stem_pools=True):
    """Without the modules whose arrays there are not."""

    def conv(x, name, stride=1):
        return net.conv(x, f"{name}.conv", stride).relu()

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x):  # Caffe's constants
        return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)

    def inception(x, block):
        name = f"inception{block}."
        if not net.has(name + "branch1.conv"):
            return x
        return torch.cat(
            [
                conv(x, name + "branch1"),
                conv(conv(x, name + "branch2.0"), name + "branch2.1"),
                conv(conv(x, name + "branch3.0"), name + "branch3.1"),
                conv(F.max_pool2d(x, 3, 1, 1), name + "branch4.1"),
            ],
            1,
        )

    def auxiliary(x, name):
        x = conv(F.avg_pool2d(x, 5, 3), f"{name}.conv").flatten(1)
        return net.linear(net.linear(x, f"{name}.fc1").relu(), f"{name}.fc2")

    stem_pool = pool if stem_pools else lambda x: x
    x = norm(stem_pool(conv(x, "conv1", 2)))
    x = stem_pool(norm(conv(conv(x, "conv2"), "conv3")))
    seen = {}
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        x = seen[block] = inception(x, block)
        x = pool(x) if block in ("3b", "4e") else x
    logits = net.linear(mean(x), "fc")
    if net.training and net.has("aux1.fc1"):
        return logits, auxiliary(seen["4d"], "aux2"), auxiliary(seen["4a"], "aux1")
    return logits


def without(model, names):
    for name in names.split():
        setattr(model, name, nn.Identity())
    return model


def googlenet_with_its_heads():
    """They need maps of 14x14: without the poolings of the stem that takes images of 56 pixels instead of 224."""
    return without(models.googlenet_original_aux(7), "maxpool1 maxpool2 inception4b inception4c inception5a")


# ---- Inception-v3: Szegedy et al. 2016, table 1, figures 5 to 7 and 10, with torchvision's names ---------------------


def inception_v3(net, x, to_half=False, count_include_pad=True):
    """Without the modules whose arrays there are not."""
    if to_half:
        colours = zip(x.split(1, 1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        x = torch.cat([c * (std / 0.5) + (mean - 0.5) / 0.5 for c, mean, std in colours], 1)

    def conv(x, *names, stride=1):
        """One after the other; the last with the stride."""
        for name in names:
            x = unit(net, x, name, stride if name == names[-1] else 1)
        return x

    def stem(x, name, stride=1, valid=False):
        return unit(net, x, name, stride, valid) if net.has(f"{name}.conv") else x

    def rows(m, name, *numbers):
        return [f"{m}.{name}_{i}" for i in numbers]

    def pooled(x, m):
        return conv(F.avg_pool2d(x, 3, 1, 1, count_include_pad=count_include_pad), f"{m}.branch_pool")

    def halved(x):
        return F.max_pool2d(x, 3, 2)

    x = stem(stem(stem(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3", valid=True), "Conv2d_2b_3x3")
    x = halved(stem(stem(halved(x), "Conv2d_3b_1x1"), "Conv2d_4a_3x3", valid=True))
    for m in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        if net.has(f"{m}.branch1x1.conv"):
            branches = [rows(m, "branch5x5", 1, 2), rows(m, "branch3x3dbl", 1, 2, 3)]
            x = torch.cat([conv(x, f"{m}.branch1x1"), *(conv(x, *names) for names in branches), pooled(x, m)], 1)
    m = "Mixed_6a"
    if net.has(f"{m}.branch3x3.conv"):
        strided = [conv(x, f"{m}.branch3x3", stride=2), conv(x, *rows(m, "branch3x3dbl", 1, 2, 3), stride=2)]
        x = torch.cat([*strided, halved(x)], 1)
    for m in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        if net.has(f"{m}.branch1x1.conv"):
            branches = [rows(m, "branch7x7", 1, 2, 3), rows(m, "branch7x7dbl", 1, 2, 3, 4, 5)]
            x = torch.cat([conv(x, f"{m}.branch1x1"), *(conv(x, *names) for names in branches), pooled(x, m)], 1)
    behind_6e, m = x, "Mixed_7a"
    strided = [conv(x, *rows(m, "branch3x3", 1, 2), stride=2), conv(x, *rows(m, "branch7x7x3", 1, 2, 3, 4), stride=2)]
    x = torch.cat([*strided, halved(x)], 1)
    for m in ("Mixed_7b", "Mixed_7c"):
        if net.has(f"{m}.branch1x1.conv"):
            a, b = conv(x, f"{m}.branch3x3_1"), conv(x, *rows(m, "branch3x3dbl", 1, 2))
            parts = [conv(a, f"{m}.branch3x3_2{side}") for side in "ab"]
            parts += [conv(b, f"{m}.branch3x3dbl_3{side}") for side in "ab"]
            x = torch.cat([conv(x, f"{m}.branch1x1"), *parts, pooled(x, m)], 1)
    logits = net.linear(mean(x), "fc")
    if net.training and net.has("AuxLogits.fc"):
        aux = unit(net, unit(net, F.avg_pool2d(behind_6e, 5, 3), "AuxLogits.conv0"), "AuxLogits.conv1", valid=True)
        return logits, net.linear(mean(aux), "AuxLogits.fc")
    return logits


def inception_v3_with_its_head():
    """A short way to the module in front of the auxiliary head, on maps of 17x17: 143 pixels instead of 299."""
    model = models.inception_v3_aux(7, transform_input=True)
    model.Conv2d_1a_3x3 = inception_unit(3, 16, 3, stride=2)
    model.Conv2d_4a_3x3 = inception_unit(16, 768, 1)
    without(model, "Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Mixed_5b Mixed_5c Mixed_5d")
    model.fc = nn.Linear(1280, 7)
    return without(model, "Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_7b Mixed_7c")


# ---- ResNet and ResNeXt for CIFAR: He et al. 2015, section 4.2; Xie et al. 2017, figure 3 (c) ------------------------


def cifar_resnet(net, x, shortcut="A", front=0.0, groups=1, head="linear"):
    """``front``: the share of the new maps of zeros that stands in front of the others."""
    x = net.bn(net.conv(x, "conv1"), "bn1").relu()
    for stage in (1, 2, 3):
        for i in range(net.count(f"layer{stage}.")):
            block = f"layer{stage}.{i}."
            stride = 2 if stage > 1 and i == 0 else 1
            layers = 3 if net.has(block + "conv3") else 2
            y, strided = x, 2 if layers == 3 else 1  # the layer that has the stride
            for layer in range(1, layers + 1):
                step = stride if layer == strided else 1
                y = net.conv(y, f"{block}conv{layer}", step, groups=groups if (layers, layer) == (3, 2) else 1)
                y = net.bn(y, f"{block}bn{layer}")
                y = y.relu() if layer < layers else y
            if net.has(block + "se_module.fc1"):  # Hu et al. 2018, section 3: each map times its own gate
                hidden = net.conv(y.mean((2, 3), keepdim=True), block + "se_module.fc1").relu()
                y = y * torch.sigmoid(net.conv(hidden, block + "se_module.fc2"))
            if net.has(block + "downsample.0"):
                y = y + net.bn(net.conv(x, block + "downsample.0", stride), block + "downsample.1")
            elif shortcut != "none":
                new = y.shape[1] - x.shape[1]
                zeros = y.new_zeros(y.shape[0], new, *y.shape[2:])
                before = int(front * new)
                y = y + torch.cat([zeros[:, :before], x[:, :, ::stride, ::stride], zeros[:, before:]], 1)
            x = y.relu()
    return net.linear(mean(x), head)


# ---- DenseNet: Huang et al. 2017, equation 2 and section 3 -----------------------------------------------------------


def densenet(net, x, imagenet=False):
    x = net.conv(x, "features.conv0", 2 if imagenet else 1)
    if imagenet:
        x = F.max_pool2d(net.bn(x, "features.norm0").relu(), 3, 2, 1)
    b = 1
    while net.has(f"features.denseblock{b}.denselayer1.conv1"):
        maps, layer = [x], 1
        while net.has(f"features.denseblock{b}.denselayer{layer}.conv1"):
            name = f"features.denseblock{b}.denselayer{layer}."
            y = net.conv(net.bn(torch.cat(maps, 1), name + "norm1").relu(), name + "conv1")
            if net.has(name + "conv2"):
                y = net.conv(net.bn(y, name + "norm2").relu(), name + "conv2")
            maps.append(y)
            layer += 1
        x = torch.cat(maps, 1)
        if net.has(f"features.transition{b}.conv"):
            name = f"features.transition{b}."
            x = F.avg_pool2d(net.conv(net.bn(x, name + "norm").relu(), name + "conv"), 2)
        b += 1
    return net.linear(mean(net.bn(x, f"features.norm{b}").relu()), "classifier")


# ---- the comparison -------------------------------------------------------------------------------------------------

PLAIN = {"small": True, "bottleneck": False, "compression": 1.0, "init": "authors"}

# model, twin, its options, images (N, C, H, W), eps of batch normalisation
CASES = {
    "lenet5": (models.lenet5, lenet5, {}, (5, 1, 32, 32), 0),
    "lenet5, ReLU, max-pooling, 28 pixels, colours": (
        lambda: models.lenet5(7, "relu", "max", 3, 28), lenet5,
        {"act": torch.relu, "pool": F.max_pool2d, "padding": 2}, (4, 3, 28, 28), 0,
    ),
    "lenet5_1998": (models.lenet5_1998, lenet5_1998, {}, (3, 1, 32, 32), 0),
    "googlenet_original": (
        lambda: without(models.googlenet_original(7), "inception4b inception4c inception5a"), googlenet, {},
        (2, 3, 33, 50), 0,
    ),
    "googlenet_original, auxiliary heads": (
        googlenet_with_its_heads, googlenet, {"stem_pools": False}, (2, 3, 57, 61), 0,
    ),
    "inception_v3, a module of each kind": (
        lambda: without(
            models.inception_v3(7, count_include_pad=False), "Mixed_5d Mixed_6c Mixed_6d Mixed_6e Mixed_7c"
        ),
        inception_v3, {"count_include_pad": False}, (2, 3, 107, 107), 1e-3,
    ),
    "inception_v3, auxiliary head": (
        inception_v3_with_its_head, inception_v3, {"to_half": True}, (2, 3, 143, 143), 1e-3,
    ),
    "cifar_resnet20": (models.cifar_resnet20, cifar_resnet, {}, (3, 3, 16, 20), 1e-5),
    "cifar_resnet20, zeros on both sides": (
        lambda: models.cifar_resnet20(7, pad="both"), cifar_resnet, {"front": 0.5}, (3, 3, 16, 16), 1e-5,
    ),
    "cifar_resnet20, projections": (models.cifar_resnet20_b, cifar_resnet, {}, (3, 3, 16, 16), 1e-5),
    "cifar_se_resnet20": (models.cifar_se_resnet20, cifar_resnet, {}, (3, 3, 16, 20), 1e-5),
    "cifar_plain20": (models.cifar_plain20, cifar_resnet, {"shortcut": "none"}, (3, 3, 16, 16), 1e-5),
    "cifar_resnet, 14 layers": (lambda: CifarResNet(14, 7), cifar_resnet, {}, (3, 3, 17, 16), 1e-5),
    "cifar_resnext": (
        lambda: CifarResNeXt(4, 6, 7, blocks=2), cifar_resnet, {"groups": 4, "head": "fc"}, (3, 3, 17, 20), 1e-5,
    ),
    "cifar_densenet": (lambda: DenseNet(6, (3, 2, 3), 10, 7, **PLAIN), densenet, {}, (3, 3, 16, 20), 1e-5),
    "cifar_densenet_bc": (lambda: DenseNet(6, (3, 2, 3), 12, 7, small=True), densenet, {}, (3, 3, 20, 16), 1e-5),
    "densenet, ImageNet": (
        lambda: DenseNet(8, (2, 3, 2, 1), 16, 7), densenet, {"imagenet": True}, (3, 3, 64, 66), 1e-5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_model_is_what_the_equations_say(name):
    make, twin, options, shape, eps = CASES[name]
    check_twin(make, twin, shape, eps, **options)
