"""Model zoo: one file per paper, each reading like the paper's table.

>>> from minidl import models
>>> "lenet5" in models.list()
True
"""

if __name__ != "minidl.models":  # `import models` from the checkout root would load every module twice
    raise ImportError("import minidl.models, not models")

from ._registry import ModelInfo, ModelOptionError, UnknownModelError, create, info, names
from .lenet import LeNet5, LeNet5From1998, lenet5, lenet5_1998, lenet_300_100, lenet_caffe
from .mlp import mlp
from .simple_convnet import simple_convnet

list = names  # models.list(), as people ask for it

__all__ = [
    "LeNet5", "LeNet5From1998", "ModelInfo", "ModelOptionError", "UnknownModelError", "create", "info", "lenet5",
    "lenet5_1998", "lenet_300_100", "lenet_caffe", "list", "mlp", "names", "simple_convnet",
]  # fmt: skip
