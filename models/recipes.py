"""How the papers trained their networks, as data: ``minidl recipes`` lists them, ``minidl train NAME --recipe paper``.

Where the paper counts updates, epochs are computed from its data and batch.  What the paper does and training here does
not (many machines, ...) stands in ``differs`` and is printed.  Numbers are those of
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

    ``milestones`` are the epochs after which step multiplies the learning rate by ``gamma``, or, with ``factors``, the
    first rate by one of these in turn; ``every`` is how many epochs lie between two reductions of exponential; in the
    ``warmup`` epochs the rate is ``warmup_lr``, or rises where that is 0.  ``notes`` says where numbers are from,
    ``differs`` what the paper does otherwise.
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
    groups: str = "alike"
    schedule: str = "step"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    factors: tuple[float, ...] = ()
    every: float = 0.0
    warmup: int = 0
    warmup_lr: float = 0.0
    augment: str = "none"
    max_shift: int | None = None
    normalize: str = "colours"
    loss: str = "cross_entropy"
    test_crops: int = 1
    label_smoothing: float = 0.0
    clip: float = 0.0
    filter_rms: float = 0.0
    ema: float = 0.0
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
            "factors": list(self.factors) or None,
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
            "groups",
            "schedule",
            "gamma",
            "warmup",
            "augment",
        )
        same += ("max_shift", "normalize", "loss", "test_crops", "label_smoothing", "clip", "filter_rms", "ema")
        same += ("optimizer_options", "options")
        return TrainConfig(**given, **{name: getattr(self, name) for name in same})

    def __str__(self) -> str:
        schedule = self.schedule
        if self.schedule == "step":
            factors = ", ".join(f"{factor:g}" for factor in self.factors or (self.gamma,))
            schedule += f" x {factors} after {', '.join(map(str, self.milestones))}"
        elif self.schedule == "exponential":
            schedule += f" x {self.gamma:g} every {self.every:g}"
        momentum = f" {self.momentum:g}" if self.optimizer != "diagonal_lm" else ""
        rule = f"{self.optimizer}{momentum}, batch {self.batch}, rate {self.lr:g}, decay {self.weight_decay:g}"
        if self.warmup:
            schedule += f", warm-up {self.warmup}" + (f" at {self.warmup_lr:g}" if self.warmup_lr else "")
        augment = self.augment + (f" by {self.max_shift}" if self.max_shift is not None else "")
        given = {"normalize": self.normalize, "groups": self.groups, "filter_rms": self.filter_rms, "ema": self.ema}
        given |= {"loss": self.loss, "test_crops": self.test_crops}
        more = {
            name: value for name, value in given.items() if value not in ("colours", "alike", "cross_entropy", 1, 0.0)
        }
        options = "".join(f", {name} {value}" for name, value in (more | self.options).items())
        return f"{self.data}, {self.epochs} epochs, {rule}, {schedule}, augment {augment}{options}"


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
# as TensorFlow's programs for Inception and EfficientNet do: weights and statistics, less decay in the first updates
_AVERAGED = 0.9999
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
    "ema": _AVERAGED,
    "notes": "the loss of each auxiliary head counts 0.3; how the weights are averaged is not stated",
    "differs": "asynchronous updates on many machines, here one",
}
_INCEPTION_V3: dict[str, Any] = {
    "source": "Szegedy et al. 2016, section 8",
    "batch": 32,
    "optimizer": "rmsprop_tf",
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
    "ema": _AVERAGED,
    "notes": "the loss of the auxiliary head counts 0.4; the decay of the average is that of the authors' program",
    "differs": "50 replicas with batches of 32, here one",
}
_LENET: dict[str, Any] = {
    "source": "LeCun et al. 1998, section III.B; initial values: appendix A; updates: appendix C",
    "data": "mnist",
    "batch": 1,
    "epochs": 20,
    "lr": 5e-4,
    "optimizer": "diagonal_lm",
    "optimizer_options": {"mu": 0.02},
    "momentum": 0.0,
    "milestones": (2, 5, 8, 12),
    "factors": (0.4, 0.2, 0.1, 0.02),
    "normalize": "paper_ink",
}
_NASNET: dict[str, Any] = {
    "source": "Zoph et al. 2018, appendix A.4",
    "batch": 32,
    "optimizer": "rmsprop_tf",
    "optimizer_options": {"alpha": 0.9, "eps": 1.0},
    "lr": 0.04,
    "weight_decay": 4e-5,
    "schedule": "exponential",
    "gamma": 0.97,
    "every": 2.4,
    "epochs": 250,
    "clip": 10.0,
    "label_smoothing": 0.1,
    "augment": "inception",
    "ema": _AVERAGED,
    "notes": "the decay of the average is that of the authors' program",
    "differs": "many machines, here one",
}
_MNASNET: dict[str, Any] = {
    "source": "Tan and Le 2019, section 5.2 (and Tan et al. 2019, section 5)",
    "batch": 4096,
    "optimizer": "rmsprop_tf",
    "optimizer_options": {"alpha": 0.9, "eps": 1e-3},
    "lr": 0.256,
    "weight_decay": 1e-5,
    "schedule": "exponential",
    "gamma": 0.97,
    "every": 2.4,
    "epochs": 350,
    "warmup": 5,
    "ema": _AVERAGED,
    "notes": "the average is that of the authors' program",
}
_CIFAR_RESNET: dict[str, Any] = {
    "epochs": 164,
    "milestones": (82, 123),
    "normalize": "mean_image",
    "notes": "64,000 updates with drops at 32,000 and 48,000, chosen on 5,000 of the 50,000 images",
}

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        models=("lenet5",),
        options={"init": "paper"},
        differs="the paper's outputs are distances to drawings of the digits, which lenet5_1998 has, and its loss is "
        "of these; here they are a linear layer with cross-entropy",
        **_LENET,
    ),
    Recipe(
        models=("lenet5_1998",),
        loss="map",
        notes="the paper does not say how large the constant of its loss is (rubbish_penalty)",
        differs="the paper's rates are ten times as large, with which the units of F6 saturate here in the first "
        "images",
        **_LENET | {"lr": 5e-5},
    ),
    _imagenet(
        models=("alexnet", "alexnet_cs231n"),
        options={"init": "paper"},
        source="Krizhevsky et al. 2012, section 5",
        batch=128,
        lr=0.01,
        weight_decay=5e-4,
        milestones=(30, 60, 80),
        augment="alexnet",
        normalize="mean_photo",
        test_crops=10,
        notes="the rate was lowered by hand, three times, when the validation error stood still",
    ),
    _imagenet(
        models=("alexnet_grouped",),
        source="Krizhevsky et al. 2012, section 5; steps as in Caffe's solver of bvlc_alexnet",
        batch=256,
        lr=0.01,
        weight_decay=5e-4,
        milestones=(20, 40, 60, 80),
        augment="alexnet",
        normalize="mean_photo",
        test_crops=10,
        notes="100,000 updates of 256 images for each step",
        differs="the paper's batch is 128",
    ),
    _imagenet(
        models=("zfnet", "zfnet_512"),
        source="Zeiler and Fergus 2014, section 3",
        batch=128,
        lr=0.01,
        weight_decay=0.0,
        epochs=70,
        schedule="plateau",
        augment="corners",
        normalize="mean_photo",
        filter_rms=0.1,
        notes="weight decay is not stated; which of the ten crops of an image an epoch sees is drawn",
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
        normalize="whiten",
        notes="the rate is lowered twice; epochs and weight decay are not stated and stand here as commonly taken; "
        "images are whitened as by Goodfellow et al. 2013",
    ),
    _cifar(
        models=("all_cnn_*", "allcnn_model_*", "strided_cnn_*", "convpool_cnn_*"),
        source="Springenberg et al. 2015, section 3.1; batch and rate as in the public Caffe files",
        batch=256,
        lr=0.05,
        weight_decay=1e-3,
        epochs=350,
        milestones=(200, 250, 300),
        max_shift=5,
        normalize="whiten",
        notes="the rate is chosen among 0.25, 0.1, 0.05, 0.01; images are whitened as by Goodfellow et al. 2013",
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
        optimizer="rmsprop_tf",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.045,
        weight_decay=4e-5,
        epochs=160,
        schedule="exponential",
        gamma=0.94,
        every=2,
        label_smoothing=0.1,
        augment="inception",
        ema=_AVERAGED,
        notes="the decay of the average is that of the authors' program",
        differs="20 replicas with batches of 32, here one",
    ),
    _imagenet(
        models=("resnet18", "resnet34", "resnet50*", "resnet101*", "resnet152*", "plain18", "plain34"),
        source="He et al. 2016, section 3.4",
        epochs=120,
        milestones=(30, 60, 90),
        augment="resnet",
        test_crops=10,
        notes="600,000 updates",
        differs="the rate is lowered when the error stands still, here after 30, 60 and 90 epochs",
    ),
    _cifar(
        models=("cifar_resnet[2345]*", "cifar_plain*"),
        source="He et al. 2016, section 4.2",
        **_CIFAR_RESNET,
    ),
    _cifar(
        models=("cifar_resnet110*", "cifar_resnet1202"),
        source="He et al. 2016, section 4.2",
        warmup=1,
        warmup_lr=0.01,
        differs="the rate is 0.01 until the training error is below 80 %, about 400 updates, here for the first epoch "
        "(391)",
        **_CIFAR_RESNET,
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
        **_CIFAR_RESNET,
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
        milestones=(200, 300, 350, 375, 388, 394, 397, 399),
        groups="biases",
        notes="the rate falls whenever the epochs that remain have halved; drop-path 0.15; weight decay is not stated",
    ),
    _imagenet(
        models=("mobilenet_v1*",),
        source="Howard et al. 2017, section 3.2; numbers as in TensorFlow's program",
        batch=96,
        optimizer="rmsprop_tf",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.045,
        weight_decay=4e-5,
        schedule="exponential",
        gamma=0.98,
        every=1,
        epochs=300,
        augment="inception",
        groups="depthwise",
        differs="less augmentation than for large networks, here that of Inception",
    ),
    _imagenet(
        models=("mobilenet_v2*",),
        source="Sandler et al. 2018, section 6.1",
        batch=96,
        optimizer="rmsprop_tf",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.045,
        weight_decay=4e-5,
        schedule="exponential",
        gamma=0.98,
        every=1,
        epochs=300,
        augment="inception",
        differs="16 machines with batches of 96, here one",
    ),
    _imagenet(
        models=("mobilenet_v3*",),
        source="Howard et al. 2019, section 6.1",
        batch=4096,
        optimizer="rmsprop_tf",
        lr=0.1,
        weight_decay=1e-5,
        schedule="exponential",
        gamma=0.99,
        every=3,
        epochs=600,
        augment="inception",
        ema=0.9999,
        notes="the number of epochs is not stated",
    ),
    _imagenet(models=("mnasnet*",), augment="inception", **_MNASNET),
    _imagenet(models=("efficientnet*",), augment="autoaugment", **_MNASNET),
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
        ema=_AVERAGED,
        notes="the paper states neither batch nor epochs nor how it averages the weights",
        differs="60 processors together, here one",
    ),
    _imagenet(models=("nasnet_a_mobile",), options={"aux_logits": True}, **_NASNET),
    _imagenet(models=("nasnet_a_large",), options={"aux_logits": True, "drop_path": 0.3}, **_NASNET),
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
