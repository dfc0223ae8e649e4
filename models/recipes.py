"""How the papers trained their networks, as data: ``minidl recipes`` lists them, ``minidl train NAME --recipe paper``.

Where the paper counts updates, epochs are computed from its data and batch.  What a recipe says that training here
does not do (many machines, averaged weights, ...) stands in ``notes``.  Numbers are those of the papers' text or, where
``source`` says so, of the authors' programs.
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
    epochs lie between two reductions of exponential.
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
    augment: str = "none"
    label_smoothing: float = 0.0
    clip: float = 0.0
    optimizer_options: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # of the model
    init: str = "the model's default"
    notes: str = ""

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
        return f"{self.data}, {self.epochs} epochs, {rule}, {schedule}, augment {self.augment}"


def _imagenet(**settings: Any) -> Recipe:
    return Recipe(**{"data": "imagenet", "batch": 256, "weight_decay": 1e-4, "lr": 0.1, "epochs": 90, **settings})


def _cifar(**settings: Any) -> Recipe:
    base = {"data": "cifar10", "batch": 128, "weight_decay": 1e-4, "lr": 0.1, "augment": "flip"}
    return Recipe(**{**base, **settings})


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
        init="uniform within 2.4 / fan-in",
        notes="the paper divides each step by the diagonal of the Hessian, and its rates go 5, 2, 1, 0.5, 0.1 (e-4)",
    ),
    _imagenet(
        models=("alexnet", "alexnet_cs231n"),
        source="Krizhevsky et al. 2012, section 5",
        batch=128,
        lr=0.01,
        weight_decay=5e-4,
        milestones=(30, 60, 80),
        augment="alexnet",
        init="N(0, 0.01^2), biases 1 in conv2, 4, 5 and the hidden layers",
        notes="the rate was lowered by hand, three times, when the validation error stood still; tested on 10 crops",
    ),
    _imagenet(
        models=("alexnet_grouped",),
        source="Krizhevsky et al. 2012, section 5; steps as in Caffe's solver of bvlc_alexnet",
        batch=256,
        lr=0.01,
        weight_decay=5e-4,
        milestones=(20, 40, 60, 80),
        augment="alexnet",
        init="N(0, 0.01^2), biases 1 in conv2, 4, 5 and the hidden layers",
        notes="100,000 updates of 256 images for each step; the paper's batch is 128",
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
        init="N(0, 0.01^2), biases 0",
        notes="filters of a convolution whose RMS exceeds 0.1 are scaled back to it; weight decay is not stated",
    ),
    _imagenet(
        models=("vgg*",),
        source="Simonyan and Zisserman 2015, section 3.1",
        lr=0.01,
        weight_decay=5e-4,
        epochs=74,
        milestones=(30, 50, 65),
        augment="vgg",
        init="network A from N(0, 0.1^2), its layers in the deeper ones; or Glorot",
        notes="370,000 updates; the rate is lowered when the validation accuracy stands still, three times",
    ),
    _cifar(
        models=("nin_cifar10",),
        source="Lin, Chen and Yan 2014, section 4.1",
        lr=0.1,
        weight_decay=5e-4,
        epochs=160,
        milestones=(80, 120),
        init="N(0, 0.05^2)",
        notes="global contrast normalisation and whitening first; the paper lowers the rate twice and does not state "
        "epochs and weight decay, which stand here as commonly taken",
    ),
    _cifar(
        models=("all_cnn_*", "allcnn_model_*", "strided_cnn_*", "convpool_cnn_*"),
        source="Springenberg et al. 2015, section 3.1",
        batch=128,
        lr=0.05,
        weight_decay=1e-3,
        epochs=350,
        milestones=(200, 250, 300),
        init="He et al. 2015",
        notes="the rate is chosen among 0.25, 0.1, 0.05, 0.01; images are whitened and normalised in contrast first",
    ),
    _imagenet(
        models=("googlenet*",),
        source="Szegedy et al. 2015, section 6; rate and batch as in Caffe's solver",
        batch=32,
        lr=0.01,
        weight_decay=2e-4,
        epochs=64,
        schedule="exponential",
        gamma=0.96,
        every=8,
        augment="inception",
        notes="asynchronous updates on many machines and averaged weights in the paper; auxiliary losses count 0.3",
    ),
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
        notes="the form BN-x30: rate 30 times Inception's 0.0015, decayed six times faster; many machines",
    ),
    _imagenet(
        models=("inception_v3", "inception_v3_aux"),
        source="Szegedy et al. 2016, section 8",
        batch=32,
        optimizer="rmsprop",
        optimizer_options={"alpha": 0.9, "eps": 1.0},
        lr=0.045,
        weight_decay=4e-5,
        epochs=100,
        schedule="exponential",
        gamma=0.94,
        every=2,
        clip=2.0,
        label_smoothing=0.1,
        augment="inception",
        notes="50 replicas of batches of 32 in the paper; weights averaged; auxiliary losses count 0.4",
    ),
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
        notes="20 replicas in the paper; weights averaged",
    ),
    _imagenet(
        models=("resnet18", "resnet34", "resnet50*", "resnet101*", "resnet152*", "plain18", "plain34"),
        source="He et al. 2016, section 3.4",
        epochs=120,
        milestones=(30, 60, 90),
        augment="resnet",
        init="He et al. 2015",
        notes="600,000 updates; the rate is lowered when the error stands still; tested on 10 crops",
    ),
    _cifar(
        models=("cifar_resnet[2345]*", "cifar_plain*"),
        source="He et al. 2016, section 4.2",
        epochs=164,
        milestones=(82, 123),
        init="He et al. 2015",
        notes="64,000 updates with drops at 32,000 and 48,000; the mean image is subtracted, here the mean colour",
    ),
    _cifar(
        models=("cifar_resnet110*", "cifar_resnet1202"),
        source="He et al. 2016, section 4.2",
        epochs=164,
        milestones=(82, 123),
        warmup=1,
        init="He et al. 2015",
        notes="begins with rate 0.01 until the training error is below 80 %, about 400 updates: here the first epoch",
    ),
    _cifar(
        models=("cifar_preact_resnet*",),
        source="He et al. 2016 (identity mappings), appendix",
        epochs=164,
        milestones=(82, 123),
        warmup=1,
        init="He et al. 2015",
        notes="begins with rate 0.01 for 400 updates: here the first epoch; the authors' program takes batches of 64",
    ),
    _imagenet(
        models=("preact_resnet*",),
        source="He et al. 2016 (identity mappings), appendix",
        milestones=(30, 60),
        augment="inception",
        init="He et al. 2015",
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
        init="He et al. 2015",
        notes="dropout 0.3 between the convolutions of a block is the paper's variant",
    ),
    _imagenet(
        models=("wide_resnet*",),
        source="Zagoruyko and Komodakis 2016, section 3.4",
        milestones=(30, 60),
        augment="resnet",
        init="He et al. 2015",
    ),
    _imagenet(
        models=("resnext*",),
        source="Xie et al. 2017, section 4",
        milestones=(30, 60),
        augment="inception",
        init="He et al. 2015",
    ),
    _cifar(
        models=("cifar_resnext*",),
        source="Xie et al. 2017, section 5.3",
        weight_decay=5e-4,
        epochs=300,
        milestones=(150, 225),
        init="He et al. 2015",
    ),
    _imagenet(
        models=("se_*", "senet154"),
        source="Hu et al. 2018, section 6.1",
        batch=1024,
        lr=0.6,
        epochs=100,
        milestones=(30, 60, 90),
        augment="inception",
        init="He et al. 2015",
    ),
    _cifar(
        models=("cifar_se_resnet*",),
        source="Hu et al. 2018, section 6.2: as the networks without the blocks (He et al. 2016, section 4.2)",
        epochs=164,
        milestones=(82, 123),
        init="He et al. 2015",
    ),
    _imagenet(
        models=("densenet*",),
        source="Huang et al. 2017, section 4.2",
        optimizer="nesterov",
        milestones=(30, 60),
        augment="inception",
        init="He et al. 2015",
    ),
    _cifar(
        models=("cifar_densenet*",),
        source="Huang et al. 2017, section 4.2",
        batch=64,
        optimizer="nesterov",
        epochs=300,
        milestones=(150, 225),
        init="He et al. 2015",
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
        init="Xavier, as Caffe has it",
        notes="the rate falls whenever the epochs that remain have halved; drop-path 0.15",
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
        notes="little or no weight decay on the depthwise filters; less augmentation than for large networks",
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
        notes="16 machines with 96 images each",
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
        notes="averaged weights with decay 0.9999; the number of epochs is not stated",
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
        notes="averaged weights and, for EfficientNet, AutoAugment",
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
        notes="60 processors together, averaged weights; the paper states neither batch nor epochs",
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
        notes="many machines, averaged weights; the large network with drop_path 0.3",
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
