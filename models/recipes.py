"""How the papers trained their networks, as data: ``minidl recipes`` lists them, ``minidl train NAME --recipe paper``.

Where the paper counts updates, epochs are computed from its data and batch.  What the paper does and training here does
not (many machines, averaged weights, initial values, ...) stands in ``differs`` and is printed.  Numbers are those of
the papers' text or, where ``source`` says so, of the authors' programs.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from minidl import registry
from minidl.train import TrainConfig


class UnknownRecipeError(ValueError):
    """No recipe is known for a model, or none of that name; the message says which there are."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One paper's training: settings in its own units (epochs), and where they stand.

    ``milestones`` are the epochs after which step multiplies the learning rate by ``gamma``; ``every`` is how many
    epochs lie between two reductions of exponential; in the ``warmup`` epochs the rate is ``warmup_lr``, or rises where
    that is 0.  ``notes`` says where numbers are from, ``differs`` what the paper does otherwise.
    """

    models: tuple[str, ...]  # names, * for any letters
    source: str
    data: str  # cifar10, mnist or imagenet
    batch: int
    epochs: int
    lr: float
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "step"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    every: float = 0.0
    warmup: int = 0
    warmup_lr: float = 0.0
    augment: str = "none"
    label_smoothing: float = 0.0
    clip: float = 0.0
    optimizer_options: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # of the model
    notes: str = ""
    differs: str = ""

    def settings(self) -> TrainConfig:
        """As settings of a run, whose schedule is given in shares of it: another number of epochs stretches it.

        >>> recipe("wrn_28_10").settings().milestones
        [0.3, 0.6, 0.8]
        """
        given: dict[str, Any] = {
            "batch_size": self.batch,
            "milestones": [m / self.epochs for m in self.milestones] or None,
            "interval": self.every / self.epochs if self.every else None,
            "data": None if self.data == "imagenet" else self.data,
            "warmup_lr": self.warmup_lr or None,
        }
        same: tuple[str, ...] = (
            "epochs",
            "lr",
            "optimizer",
            "momentum",
            "weight_decay",
            "schedule",
            "gamma",
            "warmup",
            "augment",
        )
        same += ("label_smoothing", "clip", "optimizer_options", "options")
        return TrainConfig(**given, **{name: getattr(self, name) for name in same})

    def __str__(self) -> str:
        schedule = self.schedule
        if self.schedule == "step":
            schedule += f" x {self.gamma:g} after {', '.join(map(str, self.milestones))}"
        elif self.schedule == "exponential":
            schedule += f" x {self.gamma:g} every {self.every:g}"
        rule = f"{self.optimizer} {self.momentum:g}, batch {self.batch}, rate {self.lr:g}, decay {self.weight_decay:g}"
        if self.warmup:
            schedule += f", warm-up {self.warmup}" + (f" at {self.warmup_lr:g}" if self.warmup_lr else "")
        options = "".join(f", {name} {value}" for name, value in self.options.items())
        return f"{self.data}, {self.epochs} epochs, {rule}, {schedule}, augment {self.augment}{options}"


def _imagenet(**settings: Any) -> Recipe:
    return Recipe(**{"data": "imagenet", "batch": 256, "weight_decay": 1e-4, "lr": 0.1, "epochs": 90, **settings})


def _cifar(**settings: Any) -> Recipe:
    base = {"data": "cifar10", "batch": 128, "weight_decay": 1e-4, "lr": 0.1, "augment": "flip"}
    return Recipe(**{**base, **settings})


# what several recipes share
_VGG: dict[str, Any] = {
    "source": "Simonyan and Zisserman 2015, section 3.1",
    "lr": 0.01,
    "weight_decay": 5e-4,
    "epochs": 74,
    "milestones": (30, 50, 65),
    "augment": "vgg",
    "notes": "370,000 updates; the rate is lowered three times, when the validation accuracy stands still",
}
_GOOGLENET: dict[str, Any] = {
    "source": "Szegedy et al. 2015, section 6; rate and batch as in Caffe's solver",
    "batch": 32,
    "lr": 0.01,
    "weight_decay": 2e-4,
    "epochs": 64,
    "schedule": "exponential",
    "gamma": 0.96,
    "every": 8,
    "augment": "inception",
    "notes": "the loss of each auxiliary head counts 0.3",
    "differs": "asynchronous updates on many machines, here one; weights averaged",
}
_EPS = "; TensorFlow's RMSProp adds eps below the root, here it stands beside it"
_INCEPTION_V3: dict[str, Any] = {
    "source": "Szegedy et al. 2016, section 8",
    "batch": 32,
    "optimizer": "rmsprop",
    "optimizer_options": {"alpha": 0.9, "eps": 1.0},
    "lr": 0.045,
    "weight_decay": 4e-5,
    "epochs": 100,
    "schedule": "exponential",
    "gamma": 0.94,
    "every": 2,
    "clip": 2.0,
    "label_smoothing": 0.1,
    "augment": "inception",
    "notes": "the loss of the auxiliary head counts 0.4",
    "differs": "50 replicas with batches of 32, here one; weights averaged" + _EPS,
}
_CIFAR_RESNET = "the mean image is subtracted, here the mean colour; 5,000 of the 50,000 images are held out, here none"

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        models=("lenet5", "lenet5_1998"),
        source="LeCun et al. 1998, section III.B",
        data="mnist",
        batch=1,
        epochs=20,
        lr=5e-4,
        momentum=0.0,
        milestones=(2, 5, 8, 12),
        gamma=0.4,
        differs="the paper divides each step by the diagonal of the Hessian; its rates are 5, 2, 1, 0.5, 0.1 (e-4), "
        "here 5, 2, 0.8, 0.32, 0.13; its loss is the distance to drawings of the digits, here cross-entropy; lenet5 "
        "begins with PyTorch's initial values, the paper (and lenet5_1998) within 2.4 / fan-in",
    ),
    _imagenet(
        models=("alexnet", "alexnet_cs231n"),
        source="Krizhevsky et al. 2012, section 5",
        batch=128,
        lr=0.01,
        weight_decay=5e-4,
        milestones=(30, 60, 80),
        augment="alexnet",
        notes="the rate was lowered by hand, three times, when the validation error stood still",
        differs="tested on 10 crops, here on one; alexnet begins with PyTorch's initial values, the paper (and "
        "alexnet_cs231n) with N(0, 0.01^2) and biases 1 in conv2, 4, 5 and the hidden layers",
    ),
    _imagenet(
        models=("alexnet_grouped",),
        source="Krizhevsky et al. 2012, section 5; steps as in Caffe's solver of bvlc_alexnet",
        batch=256,
        lr=0.01,
        weight_decay=5e-4,
        milestones=(20, 40, 60, 80),
        augment="alexnet",
        notes="100,000 updates of 256 images for each step",
        differs="the paper's batch is 128; tested on 10 crops, here on one",
    ),
    _imagenet(
        models=("zfnet", "zfnet_512"),
        source="Zeiler and Fergus 2014, section 3",
        batch=128,
        lr=0.01,
        weight_decay=0.0,
        epochs=70,
        schedule="plateau",
        augment="alexnet",
        notes="weight decay is not stated",
        differs="filters of a convolution whose RMS exceeds 0.1 are scaled back to it, here they stay",
    ),
    _imagenet(models=("vgg11", "vgg11_lrn"), options={"init": "paper"}, **_VGG),
    _imagenet(
        models=("vgg11_bn", "vgg13*", "vgg16", "vgg16_bn", "vgg16_c", "vgg19*"),
        options={"init": "xavier"},
        differs="the deeper networks begin with layers of a trained network A (models.vgg.start_from), here with "
        "Glorot's initial values, which the authors found to do as well",
        **_VGG,
    ),
    _cifar(
        models=("nin_cifar10",),
        source="Lin, Chen and Yan 2014, section 4.1",
        lr=0.1,
        weight_decay=5e-4,
        epochs=160,
        milestones=(80, 120),
        notes="the rate is lowered twice; epochs and weight decay are not stated and stand here as commonly taken",
        differs="images are normalised in contrast and whitened, here by their mean and deviation",
    ),
    _cifar(
        models=("all_cnn_*", "allcnn_model_*", "strided_cnn_*", "convpool_cnn_*"),
        source="Springenberg et al. 2015, section 3.1; batch and rate as in the public Caffe files",
        batch=256,
        lr=0.05,
        weight_decay=1e-3,
        epochs=350,
        milestones=(200, 250, 300),
        notes="the rate is chosen among 0.25, 0.1, 0.05, 0.01",
        differs="images are normalised in contrast and whitened, here by their mean and deviation; shifts are of up "
        "to 5 pixels, here 4",
    ),
    _imagenet(models=("googlenet", "googlenet_original"), options={"aux_logits": True}, **_GOOGLENET),
    _imagenet(models=("googlenet*_aux",), **_GOOGLENET),
    _imagenet(
        models=("bninception",),
        source="Ioffe and Szegedy 2015, section 4.2.1",
        batch=32,
        lr=0.045,
        weight_decay=4e-5,
        epochs=12,
        schedule="exponential",
        gamma=0.9,
        every=1,
        augment="inception",
        notes="the form BN-x30: rate 30 times Inception's 0.0015, decayed six times faster",
        differs="many machines, here one",
    ),
    _imagenet(models=("inception_v3",), options={"aux_logits": True}, **_INCEPTION_V3),
    _imagenet(models=("inception_v3_aux",), **_INCEPTION_V3),
    _imagenet(
        models=("inception_v4", "inception_resnet_v2"),
        source="Szegedy et al. 2017, section 4",
        batch=32,
        optimizer="rmsprop",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.045,
        weight_decay=4e-5,
        epochs=160,
        schedule="exponential",
        gamma=0.94,
        every=2,
        label_smoothing=0.1,
        augment="inception",
        differs="20 replicas with batches of 32, here one; weights averaged" + _EPS,
    ),
    _imagenet(
        models=("resnet18", "resnet34", "resnet50*", "resnet101*", "resnet152*", "plain18", "plain34"),
        source="He et al. 2016, section 3.4",
        epochs=120,
        milestones=(30, 60, 90),
        augment="resnet",
        notes="600,000 updates",
        differs="the rate is lowered when the error stands still, here after 30, 60 and 90 epochs; tested on 10 crops, "
        "here on one",
    ),
    _cifar(
        models=("cifar_resnet[2345]*", "cifar_plain*"),
        source="He et al. 2016, section 4.2",
        epochs=164,
        milestones=(82, 123),
        notes="64,000 updates with drops at 32,000 and 48,000",
        differs=_CIFAR_RESNET,
    ),
    _cifar(
        models=("cifar_resnet110*", "cifar_resnet1202"),
        source="He et al. 2016, section 4.2",
        epochs=164,
        milestones=(82, 123),
        warmup=1,
        warmup_lr=0.01,
        notes="64,000 updates with drops at 32,000 and 48,000",
        differs=f"the rate is 0.01 until the training error is below 80 %, about 400 updates, here for the first epoch "
        f"(391); {_CIFAR_RESNET}",
    ),
    _cifar(
        models=("cifar_preact_resnet*",),
        source="He et al. 2016 (identity mappings), appendix",
        epochs=164,
        milestones=(82, 123),
        warmup=1,
        warmup_lr=0.01,
        notes="the authors' program takes batches of 64",
        differs="the rate is 0.01 for 400 updates, here for the first epoch (391)",
    ),
    _imagenet(
        models=("preact_resnet*",),
        source="He et al. 2016 (identity mappings), appendix",
        milestones=(30, 60),
        augment="inception",
    ),
    _cifar(
        models=("wrn_*",),
        source="Zagoruyko and Komodakis 2016, section 3",
        optimizer="nesterov",
        weight_decay=5e-4,
        epochs=200,
        milestones=(60, 120, 160),
        gamma=0.2,
        augment="reflect",
        notes="dropout 0.3 between the convolutions of a block is the paper's variant",
    ),
    _imagenet(
        models=("wide_resnet*",),
        source="Zagoruyko and Komodakis 2016, section 3.4",
        milestones=(30, 60),
        augment="resnet",
    ),
    _imagenet(
        models=("resnext*",),
        source="Xie et al. 2017, section 4",
        milestones=(30, 60),
        augment="inception",
    ),
    _cifar(
        models=("cifar_resnext*",),
        source="Xie et al. 2017, section 5.3",
        weight_decay=5e-4,
        epochs=300,
        milestones=(150, 225),
    ),
    _imagenet(
        models=("se_*", "senet154"),
        source="Hu et al. 2018, section 6.1",
        batch=1024,
        lr=0.6,
        epochs=100,
        milestones=(30, 60, 90),
        augment="inception",
    ),
    _cifar(
        models=("cifar_se_resnet*",),
        source="Hu et al. 2018, section 6.2: as the networks without the blocks (He et al. 2016, section 4.2)",
        epochs=164,
        milestones=(82, 123),
        differs=_CIFAR_RESNET,
    ),
    _imagenet(
        models=("densenet*",),
        source="Huang et al. 2017, section 4.2; initial values as in the authors' program",
        optimizer="nesterov",
        options={"init": "authors"},
        milestones=(30, 60),
        augment="inception",
    ),
    _cifar(
        models=("cifar_densenet*",),
        source="Huang et al. 2017, section 4.2",
        batch=64,
        optimizer="nesterov",
        epochs=300,
        milestones=(150, 225),
        notes="dropout 0.2 behind each convolution but the first on data without augmentation",
    ),
    _cifar(
        models=("fractalnet*",),
        source="Larsson et al. 2017, section 4.1",
        batch=100,
        lr=0.02,
        weight_decay=0.0,
        epochs=400,
        milestones=(200, 300, 350, 375),
        notes="the rate falls whenever the epochs that remain have halved; drop-path 0.15; weight decay is not stated",
        differs="the rate falls on when fewer than 25 epochs remain; biases learn twice as fast",
    ),
    _imagenet(
        models=("mobilenet_v1*",),
        source="Howard et al. 2017, section 3.2; numbers as in TensorFlow's program",
        batch=96,
        optimizer="rmsprop",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.045,
        weight_decay=4e-5,
        schedule="exponential",
        gamma=0.98,
        every=1,
        epochs=300,
        augment="inception",
        differs="little or no weight decay on the depthwise filters, and less augmentation than for large networks"
        + _EPS,
    ),
    _imagenet(
        models=("mobilenet_v2*",),
        source="Sandler et al. 2018, section 6.1",
        batch=96,
        optimizer="rmsprop",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.045,
        weight_decay=4e-5,
        schedule="exponential",
        gamma=0.98,
        every=1,
        epochs=300,
        augment="inception",
        differs="16 machines with batches of 96, here one" + _EPS,
    ),
    _imagenet(
        models=("mobilenet_v3*",),
        source="Howard et al. 2019, section 6.1",
        batch=4096,
        optimizer="rmsprop",
        lr=0.1,
        weight_decay=1e-5,
        schedule="exponential",
        gamma=0.99,
        every=3,
        epochs=600,
        augment="inception",
        notes="the number of epochs is not stated",
        differs="weights averaged with decay 0.9999",
    ),
    _imagenet(
        models=("mnasnet*", "efficientnet*"),
        source="Tan and Le 2019, section 5.2 (and Tan et al. 2019, section 5)",
        batch=4096,
        optimizer="rmsprop",
        optimizer_options={"alpha": 0.9, "eps": 1e-3},
        lr=0.256,
        weight_decay=1e-5,
        schedule="exponential",
        gamma=0.97,
        every=2.4,
        epochs=350,
        warmup=5,
        augment="inception",
        differs="weights averaged and, for EfficientNet, AutoAugment" + _EPS,
    ),
    _imagenet(
        models=("shufflenet*",),
        source="Ma et al. 2018, section 4, which refers to Zhang et al. 2018 (ShuffleNet), section 4",
        batch=1024,
        lr=0.5,
        weight_decay=4e-5,
        schedule="poly",
        epochs=240,
        augment="inception",
        notes="300,000 updates, the rate falls linearly",
    ),
    _imagenet(
        models=("xception",),
        source="Chollet 2017, section 4.3",
        batch=32,
        lr=0.045,
        weight_decay=1e-5,
        schedule="exponential",
        gamma=0.94,
        every=2,
        epochs=120,
        augment="inception",
        notes="the paper states neither batch nor epochs",
        differs="60 processors together, here one; weights averaged",
    ),
    _imagenet(
        models=("nasnet_*",),
        source="Zoph et al. 2018, appendix A.4",
        batch=32,
        optimizer="rmsprop",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.04,
        weight_decay=4e-5,
        schedule="exponential",
        gamma=0.97,
        every=2.4,
        epochs=250,
        clip=10.0,
        label_smoothing=0.1,
        augment="inception",
        options={"aux_logits": True},
        differs="many machines, here one; weights averaged; the large network with drop_path 0.3" + _EPS,
    ),
    _imagenet(
        models=("squeezenet*",),
        source="Iandola et al. 2016, section 3.3; the authors' Caffe solver",
        batch=512,
        lr=0.04,
        weight_decay=2e-4,
        schedule="poly",
        epochs=68,
        augment="alexnet",
        notes="170,000 updates, the rate falls linearly",
    ),
)


def recipe(model: str, name: str = "paper") -> Recipe:
    """The recipe called ``name`` (there is "paper") of a model; UnknownRecipeError where none is known.

    >>> found = recipe("cifar_resnet56")
    >>> found.batch, found.lr, found.milestones, found.epochs
    (128, 0.1, (82, 123), 164)
    """
    registry.info(model)
    if name != "paper":
        raise UnknownRecipeError(f"there is no recipe {name!r}; --recipe paper is the one of the model's paper")
    for entry in RECIPES:
        if any(fnmatch.fnmatchcase(model, pattern) for pattern in entry.models):
            return entry
    raise UnknownRecipeError(f"no recipe is known for {model}; `minidl recipes` lists the models that have one")


def all_recipes() -> Iterator[tuple[str, Recipe]]:
    """(model, its recipe) for every model that has one, by name."""
    for model in registry.names():
        try:
            yield model, recipe(model)
        except UnknownRecipeError:
            continue
