"""A network by name with its weights, ready to classify: what belongs together is put together here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import minidl  # for minidl.models, which is a floor above and loads when it is used

from ..io import load_into, load_weights
from .classify import Classifier
from .errors import PredictError
from .preprocess import Preprocess, parse_preprocess
from .views import Views

if TYPE_CHECKING:
    from ..models import ModelInfo
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
    info = minidl.models.info(name.partition(".")[0])
    how = _preprocess(preprocess)
    path, entry = minidl.models.weights.locate(name, weights, cache, progress)
    if entry is None:
        model, count = _of_a_file(info, path)
        names = _class_names(classes, count)
        return _classifier(model, how or default_preprocess(info), names, views, name, batch_size, device)
    names = _class_names(classes or entry.classes, None)
    with minidl.nn.utils.skip_init():
        model = info.constructor(**entry.options)
    entry.load(model, path)
    return _classifier(model, how or entry.preprocess, names, views, entry.name, batch_size, device)


def _classifier(
    model: Module,
    preprocess: Preprocess,
    classes: Sequence[str],
    views: Views | None,
    name: str,
    batch: int | None,
    device: str,
) -> Classifier:
    h, w = preprocess.crop_size
    batch = batch or max(1, min(256, 16 * 224 * 224 // (h * w)))
    return Classifier(model, preprocess, classes, views or Views(), name=name, batch_size=batch, device=device)


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


def _preprocess(given: Preprocess | str | None) -> Preprocess | None:
    return parse_preprocess(given) if isinstance(given, str) else given


def _class_names(given: Sequence[str] | str | None, count: int | None) -> tuple[str, ...]:
    """The names asked for; without a wish ImageNet's for 1,000 classes, numbers for others."""
    weights = minidl.models.weights
    if given is None:
        return weights.class_names("imagenet") if count == 1000 else tuple(str(i) for i in range(count or 0))
    if not isinstance(given, str):
        names = tuple(given)
    elif given in ("imagenet", "cifar10", "mnist"):
        names = weights.class_names(given)
    else:
        path = Path(given)
        if not path.is_file():
            raise PredictError(f"classes is imagenet, cifar10, mnist or a file with a name a line, not {given!r}")
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if count is not None and len(names) != count:
        raise PredictError(f"the weights are for {count} classes, but there are {len(names)} names")
    return names
