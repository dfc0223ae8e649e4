"""A network by name with its weights, ready to classify: what belongs together is put together here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import minidl  # for minidl.models, which is a floor above and loads when it is used

from ..io import load_into, load_weights
from .classify import Classifier
from .errors import PredictError
from .images import read_lines
from .preprocess import Preprocess, parse_preprocess
from .views import Views

if TYPE_CHECKING:
    from ..models import ModelInfo
    from ..models.weights import PublicWeights
    from ..nn import Module

PathLike = str | os.PathLike[str]


def load_classifier(
    name: str,
    weights: PathLike | None = None,
    *,
    preprocess: Preprocess | str | None = None,
    classes: Sequence[str] | str | None = None,
    views: Views | None = None,
    cache: PathLike | None = None,
    progress: bool = True,
    batch_size: int | None = None,
    device: str = "cpu",
) -> Classifier:
    """The network ``name`` ("resnet50", or "resnet50.v2" for one of its public files) with weights.

    Without ``weights`` the public file is taken, from the cache or the network.  ``weights`` may be the name of another
    ("v2"), or a file of yours: one of the public ones (told by its hash, or by the name "resnet50.v2"), also after
    `minidl convert`, or any other that fits the network, for any number of classes.

    ``preprocess`` and ``classes`` are known for public files; for others they default to ImageNet's numbers at the
    network's own size, and to ImageNet's names where there are 1,000 classes.  ``classes`` is a list, "imagenet",
    "cifar10", "mnist", or a file with a name a line.

    :raises UnknownModelError, UnknownWeightsError: no such network, or none of its files has that name.
    :raises WeightsError, StateDictError: the file is no weights, or those of another network.
    :raises DataNotFoundError: the public file could not be fetched; the message says what to put where.

    >>> import tempfile
    >>> from minidl import io, models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     io.save_weights(f"{folder}/mine.safetensors", models.lenet5().state_dict())
    ...     lenet = load_classifier("lenet5", f"{folder}/mine.safetensors", classes="mnist")
    >>> len(lenet.classes)
    10
    """
    choice = choose_network(name, weights, preprocess=preprocess, classes=classes)
    return choice.load(views=views, cache=cache, progress=progress, batch_size=batch_size, device=device)


@dataclass(frozen=True)
class Choice:
    """A network and its weights as :func:`choose_network` found them: nothing is fetched or built yet.

    ``path`` is None where the public file ``entry`` is to be had from the cache or the network.  ``classes`` is None
    where a file of yours will say how many there are.

    >>> choice = choose_network("cifar_resnet20")
    >>> choice.name, choice.mode, choice.path is None  # still to be had: choice.load()
    ('cifar_resnet20.akamaster', 'RGB', True)
    """

    name: str
    info: ModelInfo
    path: Path | None
    entry: PublicWeights | None
    preprocess: Preprocess
    classes: tuple[str, ...] | None

    @property
    def mode(self) -> str:
        """The colours in which images are read: "RGB" or "L"."""
        return self.preprocess.mode

    def load(
        self,
        *,
        views: Views | None = None,
        cache: PathLike | None = None,
        progress: bool = True,
        batch_size: int | None = None,
        device: str = "cpu",
    ) -> Classifier:
        """The network, ready to classify; the public file is fetched where it is not in ``cache``."""
        classes, path = self.classes, self.path
        if self.entry is None:
            assert path is not None  # only a public file has to be fetched
            model, count = _of_a_file(self.info, path)
            classes = _counted(classes, count)
        else:
            path = path or self.entry.fetch(cache, progress)
            with minidl.nn.utils.skip_init():
                model = self.info.constructor(**self.entry.options)
            self.entry.load(model, path)
        h, w = self.preprocess.crop_size
        batch = batch_size or max(1, min(256, 16 * 224 * 224 // (h * w)))
        return Classifier(
            model, self.preprocess, classes or (), views or Views(), name=self.name, batch_size=batch, device=device
        )


def choose_network(
    name: str,
    weights: PathLike | None = None,
    *,
    preprocess: Preprocess | str | None = None,
    classes: Sequence[str] | str | None = None,
) -> Choice:
    """What :func:`load_classifier` would load; all that can be wrong without the network is found here.

    Raises as :func:`load_classifier` does.

    >>> choice = choose_network("resnet50.v2")
    >>> choice.path, choice.entry.file, len(choice.classes), choice.preprocess.resize
    (None, 'resnet50-11ad3fa6.pth', 1000, 232)
    """
    info = minidl.models.info(name.partition(".")[0])
    how = parse_preprocess(preprocess) if isinstance(preprocess, str) else preprocess
    path, entry = minidl.models.weights.choose(name, weights)
    if entry is None:
        return Choice(name, info, path, None, how or default_preprocess(info), _class_names(classes))
    names = _counted(_class_names(classes or entry.classes), len(minidl.models.weights.class_names(entry.classes)))
    return Choice(entry.name, info, path, entry, how or entry.preprocess, names)


def _of_a_file(info: ModelInfo, path: Path) -> tuple[Module, int]:
    """The network with weights that somebody saved, for the number of classes that the file has, and that number."""
    arrays = load_weights(path)
    with minidl.nn.utils.skip_init():
        model = info.constructor()
        last = [name for name, value in model.state_dict().items() if value.ndim > 1][-1]  # of the classes
        count = arrays[last].shape[0] if last in arrays and arrays[last].shape else None
        if count not in (None, model.state_dict()[last].shape[0]) and "num_classes" in info.options():
            model = info.constructor(num_classes=count)
    load_into(model, arrays)
    return model, model.state_dict()[last].shape[0]


def default_preprocess(info: ModelInfo) -> Preprocess:
    """For networks without public weights: ImageNet's numbers, 8/7 of the size of the crop.

    >>> from minidl import models
    >>> print(default_preprocess(models.info("lenet5")))
    shorter side to 32 (bilinear), centre 32x32, L, x / 255
    """
    channels, h, w = info.input_shape
    small = min(h, w) < 64  # drawings and thumbnails are taken whole
    resize = min(h, w) if small else round(min(h, w) * 8 / 7)
    grey = {"channels": "L", "mean": (0.0,), "std": (1.0,)} if channels == 1 else {}
    return Preprocess(resize=resize, crop=h if h == w else (h, w), **grey)  # type: ignore[arg-type]


def _class_names(given: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """The names asked for; None without a wish."""
    if given is None:
        return None
    if not isinstance(given, str):
        return tuple(given)
    if given in ("imagenet", "cifar10", "mnist"):
        return minidl.models.weights.class_names(given)
    path = Path(given)
    if not path.is_file():
        raise PredictError(f"classes is imagenet, cifar10, mnist or a file with a name a line, not {given!r}")
    return tuple(read_lines(path))


def _counted(names: tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    """Names for so many classes: those asked for, ImageNet's for 1,000 classes, numbers for others."""
    if names is None:
        return minidl.models.weights.class_names("imagenet") if count == 1000 else tuple(str(i) for i in range(count))
    if len(names) != count:
        raise PredictError(f"the weights are for {count} classes, but there are {len(names)} names")
    return names
