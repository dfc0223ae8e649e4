"""Model zoo: one file per paper, each reading like the paper's table.

>>> from minidl import models
>>> "lenet5" in models.list()
True
"""

if __name__ != "minidl.models":  # `import models` from the checkout root would load every module twice
    raise ImportError("import minidl.models, not models")

from ._registry import ModelInfo, ModelOptionError, UnknownModelError, create, info, names
from .alexnet import AlexNet, alexnet, alexnet_cs231n, alexnet_grouped
from .lenet import LeNet5, LeNet5From1998, lenet5, lenet5_1998, lenet_300_100, lenet_caffe
from .mlp import mlp
from .simple_convnet import simple_convnet
from .vgg import VGG, vgg11, vgg11_bn, vgg11_lrn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg16_c, vgg19, vgg19_bn
from .zfnet import ZFNet, zfnet, zfnet_512

list = names  # models.list(), as people ask for it

__all__ = [
    "VGG",
    "AlexNet",
    "LeNet5",
    "LeNet5From1998",
    "ModelInfo",
    "ModelOptionError",
    "UnknownModelError",
    "ZFNet",
    "alexnet",
    "alexnet_cs231n",
    "alexnet_grouped",
    "create",
    "info",
    "lenet5",
    "lenet5_1998",
    "lenet_300_100",
    "lenet_caffe",
    "list",
    "mlp",
    "names",
    "simple_convnet",
    "vgg11",
    "vgg11_bn",
    "vgg11_lrn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg16_c",
    "vgg19",
    "vgg19_bn",
    "zfnet",
    "zfnet_512",
]
