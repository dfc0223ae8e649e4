"""What `minidl predict` and `minidl eval` have in common: which networks look at an image, and how."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minidl.predict import Choice, Classifier, Ensemble, Views


@dataclass(kw_only=True)
class Looking:
    """How networks of the zoo look at images.

    Parameters
    ----------
    weights
        A file of weights for the network, or the name of one in minidl weights list; without it the first of these.
    preprocess
        How images are prepared, if not as the weights want it: imagenet, caffe, ... and fields behind the name, as in
        imagenet,resize=320,crop=288 or mean=0.5/0.5/0.5,std=0.5/0.5/0.5.
    classes
        Names of the classes: imagenet, cifar10, mnist, or a file with a name a line.
    crops
        Parts of an image that are looked at: 1 (the centre), 5 (and the corners), 10 (and mirrored), 144 (GoogLeNet's).
    scales
        Lengths of the shorter side, with commas, instead of one: 256,384,512.
    dense
        Look at the whole resized image, fully connected layers as convolutions.
    mirror
        Look at the mirror image as well.
    ensemble
        A further network, NAME or NAME=FILE, whose probabilities count as much; may be given several times.
    cache
        Folder of public weights, if not the usual one.
    device
        Where to compute: cpu, or cuda for an NVIDIA GPU (minidl doctor says whether there is one that works).
    """

    weights: Path | None = None
    preprocess: str | None = None
    classes: str | None = None
    crops: int = 1
    scales: str | None = None
    dense: bool = False
    mirror: bool = False
    ensemble: list[str] = field(default_factory=list)
    cache: Path | None = None
    device: str = "cpu"

    def choices(self, name: str) -> list[Choice]:
        """The networks and their weights, ``name`` first; nothing is fetched yet."""
        from minidl.backend import usable
        from minidl.predict import choose_network
        from minidl.predict.classify import check_alike

        usable(self.device)  # before a file is read
        files = [(name, self.weights), *((n, Path(f) if f else None) for n, _, f in map(_partition, self.ensemble))]
        self._views()
        found = [choose_network(one, file, preprocess=self.preprocess, classes=self.classes) for one, file in files]
        check_alike([choice for choice in found if choice.classes is not None])
        return found

    def load(self, choices: list[Choice]) -> Ensemble:
        """The networks with their weights, from the network where these are not in the cache."""
        from minidl.predict import Ensemble

        members = []
        for choice in choices:
            member = choice.load(views=self._views(), cache=self.cache, device=self.device)
            members.append(member)
            _tell_of_options(member, choice.path)
        return Ensemble(members)

    def _views(self) -> Views:
        from minidl.predict import Views

        return Views(self.crops, _sides(self.scales), self.dense, self.mirror)

    def of_the_zoo(self) -> list[str]:
        """The options that were given and mean nothing for a run: all that differ from their defaults, but --device."""
        usual = vars(Looking())
        return [f"--{name}" for name, value in vars(self).items() if name != "device" and value != usual[name]]


def _tell_of_options(classifier: Classifier, file: Path | None) -> None:
    """Say which options the usual public weights want, where a file may hold their arrays and nothing tells."""
    import sys

    from minidl.models import weights

    for entry in weights.table().get(classifier.name, [])[:1]:  # of a public file the name has a tag
        if entry.options and len(classifier.classes) == len(weights.class_names(entry.classes)):
            options = ", ".join(f"{name} = {value}" for name, value in entry.options.items())
            print(
                f"minidl: {file} is no file of `minidl weights list`; if its arrays are those of {entry.name}, which "
                f"wants {options}, write {entry.name} instead of {classifier.name}",
                file=sys.stderr,
            )


def _partition(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def _sides(text: str | None) -> tuple[int, ...]:
    from minidl.predict import PredictError

    try:
        return tuple(int(side) for side in text.split(",")) if text else ()
    except ValueError:
        raise PredictError(f"--scales {text}: whole numbers with commas between them, such as 256,384,512") from None


def is_a_run(name: str) -> bool:
    """Whether a path of a run, and no name of the zoo, is meant; a misspelt name of the zoo is an error."""
    from minidl import models

    network, path = name.partition(".")[0], Path(name)
    if network in models.list():  # a folder may be called "resnet50" for other reasons
        return path.is_file() or (path / "config.json").is_file() or (path / "checkpoint.safetensors").is_file()
    if not path.exists() and difflib.get_close_matches(network, models.list(), n=1, cutoff=0.8):
        models.info(network)  # raises an error with the nearest names
    return True
