"""Model zoo: one file per paper, each reading like the paper's table.

>>> from minidl import models
>>> "lenet5" in models.list()
True
"""

if __name__ != "minidl.models":  # `import models` from the checkout root would load every module twice
    raise ImportError("import minidl.models, not models")

from ._registry import ModelInfo, ModelOptionError, UnknownModelError, create, info, names
from .alexnet import AlexNet, alexnet, alexnet_cs231n, alexnet_grouped
from .allcnn import (
    AllCNN,
    all_cnn_a,
    all_cnn_b,
    all_cnn_c,
    all_cnn_c_padded,
    allcnn_model_a,
    allcnn_model_b,
    allcnn_model_c,
    convpool_cnn_a,
    convpool_cnn_b,
    convpool_cnn_c,
    strided_cnn_a,
    strided_cnn_b,
    strided_cnn_c,
)
from .fully_convolutional import (
    FullyConvolutional,
    alexnet_fc_conv,
    to_fully_connected,
    to_fully_convolutional,
    vgg16_fc_conv_384,
)
from .lenet import LeNet5, LeNet5From1998, lenet5, lenet5_1998, lenet_300_100, lenet_caffe
from .mlp import mlp
from .mobilenet import (
    MobileNetV1,
    MobileNetV2,
    mobilenet_v1,
    mobilenet_v1_025,
    mobilenet_v1_050,
    mobilenet_v1_075,
    mobilenet_v2,
    mobilenet_v2_025,
    mobilenet_v2_035,
    mobilenet_v2_05,
    mobilenet_v2_075,
    mobilenet_v2_13,
    mobilenet_v2_14,
)
from .nin import NiN, nin_cifar10, nin_imagenet
from .simple_convnet import simple_convnet
from .squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from .vgg import VGG, vgg11, vgg11_bn, vgg11_lrn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg16_c, vgg19, vgg19_bn
from .zfnet import ZFNet, zfnet, zfnet_512

list = names  # models.list(), as people ask for it

__all__ = [
    "VGG",
    "AlexNet",
    "AllCNN",
    "FullyConvolutional",
    "LeNet5",
    "LeNet5From1998",
    "MobileNetV1",
    "MobileNetV2",
    "ModelInfo",
    "ModelOptionError",
    "NiN",
    "SqueezeNet",
    "UnknownModelError",
    "ZFNet",
    "alexnet",
    "alexnet_cs231n",
    "alexnet_fc_conv",
    "alexnet_grouped",
    "all_cnn_a",
    "all_cnn_b",
    "all_cnn_c",
    "all_cnn_c_padded",
    "allcnn_model_a",
    "allcnn_model_b",
    "allcnn_model_c",
    "convpool_cnn_a",
    "convpool_cnn_b",
    "convpool_cnn_c",
    "create",
    "info",
    "lenet5",
    "lenet5_1998",
    "lenet_300_100",
    "lenet_caffe",
    "list",
    "mlp",
    "mobilenet_v1",
    "mobilenet_v1_025",
    "mobilenet_v1_050",
    "mobilenet_v1_075",
    "mobilenet_v2",
    "mobilenet_v2_025",
    "mobilenet_v2_035",
    "mobilenet_v2_05",
    "mobilenet_v2_075",
    "mobilenet_v2_13",
    "mobilenet_v2_14",
    "names",
    "nin_cifar10",
    "nin_imagenet",
    "simple_convnet",
    "squeezenet1_0",
    "squeezenet1_1",
    "strided_cnn_a",
    "strided_cnn_b",
    "strided_cnn_c",
    "to_fully_connected",
    "to_fully_convolutional",
    "vgg11",
    "vgg11_bn",
    "vgg11_lrn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg16_c",
    "vgg16_fc_conv_384",
    "vgg19",
    "vgg19_bn",
    "zfnet",
    "zfnet_512",
]
