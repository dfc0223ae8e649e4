"""What a run begins with: a new model, or weights that somebody has trained, all of it learning or only a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import registry
from ..io import load_into, load_weights, read_metadata
from ..transfer import LinearProbe, freeze_until, head_layers, linear_probe, param_groups, reverse_channels
from .checkpoint import CHECKPOINT_KEY, load_checkpoint, tested_weights
from .config import TrainConfig
from .errors import CheckpointError
from .normalization import Normalization, Statistics

# a channel of red, green and blue in [0, 1], as nearly all published weights for photographs expect them
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Start:
    """Weights to begin with, and how the images were normalised that they were trained on, where that is known.

    Of a public file ``public`` is what the table of weights knows: options, names, preprocessing; ``path`` is None as
    long as it has not been fetched.
    """

    path: Path | None
    arrays: Any
    known: Statistics | None = None
    public: Any = None
    normalization: Normalization | None = None  # where it was measured otherwise than by colours

    @property
    def options(self) -> dict[str, Any]:
        """The options with which the network computes what it did for its publisher; the classes are the data's."""
        return {k: v for k, v in (self.public.options if self.public else {}).items() if k != "num_classes"}

    def into(self, model: Any, input_shape: Sequence[int]) -> None:
        """The weights into ``model``, but for the layers of the scores; it then takes images in red, green, blue."""
        head = head_layers(model, input_shape)
        if self.public is None:
            load_into(model, self.arrays, head=head)
            return
        self.public.load(model, self.path or self.public.fetch(), head)
        if self.public.preprocess.channels == "BGR":
            reverse_channels(model, input_shape)

    def statistics(self, input_shape: Sequence[int]) -> Statistics | None:
        """Mean and standard deviation a channel: of the run that made the weights, ImageNet's, or None (measure)."""
        return self.known or (_IMAGENET if input_shape[0] == 3 else None)


def find_start(weights: str, model: str) -> Start:
    """Read a file of weights (see :func:`minidl.io.load_weights`), or the best weights of a run's folder.

    Or ``weights`` is a name of `minidl weights list`, which is not fetched here.  Of a public file of the network
    ``model`` all is known.
    """
    best = Path(weights) / "best.safetensors"
    file, public = (best, None) if best.is_file() else registry.choose(model, weights)
    if public is not None:
        return Start(file, None, _statistics(public.preprocess), public)
    assert file is not None  # only a public one may have to be fetched
    if CHECKPOINT_KEY not in read_metadata(file):
        return Start(file, load_weights(file))
    state = load_checkpoint(file)
    try:
        description, arrays = state["config"], tested_weights(state)
        statistics = description["mean"], description["std"]
        if "fitted" not in state:
            return Start(file, arrays, statistics)
        name = description["settings"]["normalize"]
        return Start(file, arrays, normalization=Normalization(name, *statistics, state["fitted"]))
    except KeyError as error:
        raise CheckpointError(f"{file}: this checkpoint was not written by minidl train, it lacks {error}") from error


def _statistics(preprocess: Any) -> Statistics:
    """Mean and deviation of channels in [0, 1], red first, which is how images are read for training."""
    scale = preprocess.divide / 255
    order = -1 if preprocess.channels == "BGR" else 1
    return [m * scale for m in preprocess.mean[::order]], [s * scale for s in preprocess.std[::order]]


def build(description: dict[str, Any], start: Start | None = None) -> Any:
    """The model of a run with new weights, or those of ``start`` but for its last layer, frozen as the settings say."""
    settings = TrainConfig(**description["settings"])
    shape = description["input_shape"]
    model: Any = registry.create(description["model"], **description["options"])
    if start is not None:
        start.into(model, shape)
    if settings.features:
        return linear_probe(model, settings.features, len(description["classes"]), shape)
    if settings.freeze_until:
        freeze_until(model, settings.freeze_until, keep=head_layers(model, shape))
    return model


def what_learns(model: Any, config: TrainConfig, input_shape: Sequence[int]) -> list[Any]:
    """The parameters for the optimiser; in groups where the last layer has a learning rate of its own."""
    if config.head_lr is None:
        return [p for p in model.parameters() if p.requires_grad]
    head = ["fc"] if isinstance(model, LinearProbe) else head_layers(model, input_shape)
    return param_groups(model, head, config.lr or 0.0, config.head_lr)
