"""Which network `minidl features` looks into, at which images, and where its picture goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ._looking import is_a_run

if TYPE_CHECKING:
    import numpy as np

    from minidl.predict import Preprocess
    from minidl.see.features import Colours
    from minidl.see.inputs import Subject


@dataclass(kw_only=True)
class Network:
    """The network, and what becomes of the answer.

    Parameters
    ----------
    weights
        File of weights. Without one they are random, but resnet50.v2 means a public file and a run has its own.
    preprocess
        How images become inputs of a network of the zoo: imagenet, caffe, ... with fields behind the name, as for
        minidl predict. Known for public weights; without --weights images are only scaled to 0..1.
    device
        Where to compute: cpu, or cuda for an NVIDIA GPU (minidl doctor says whether there is one that works).
    out
        The picture to write, .png, .jpg or .webp; by default the name of the command.
    json
        Print all numbers for programs.
    """

    weights: Path | None = None
    preprocess: str | None = None
    device: str = "cpu"
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
    json: bool = False
    options: Annotated[dict[str, Any] | None, Parameter(help="Of the model, as --options.activation relu.")] = None

    def open(self, name: str, inputs: Sequence[str | None] = (), among: str | None = None) -> Seen:
        """The network with its weights, and how images become its inputs.

        ``inputs`` and ``among`` are what it will be asked about: mistakes there are found before weights are fetched.
        """
        from minidl import models
        from minidl.backend import usable
        from minidl.predict import choose_network
        from minidl.see import SeeError
        from minidl.see.features import Colours
        from minidl.see.features.picture import file_format
        from minidl.see.inputs import Subject, open_model

        if self.out is not None:
            file_format(self.out)  # before anything is computed
        run = name.partition(".")[0] not in models.list() or is_a_run(name)
        wants_public = "." in name or self.weights is not None or self.preprocess is not None
        if run or self.options or not wants_public:
            if self.preprocess is not None:
                what = "a run knows how its images were prepared" if run else "with --options give an .npy file"
                raise SeeError(f"--preprocess {self.preprocess}: {what}")
            subject = open_model(name, self.weights, self.options, self.device)
            means, deviations = ((0.0,), (1.0,)) if subject.run is None else subject.run.statistics
            classes = None if subject.run is None else subject.run.classes
            return Seen(name, subject, Colours(tuple(means), tuple(deviations)), classes)
        usable(self.device)  # before a file is read or fetched
        choice = choose_network(name, self.weights, preprocess=self.preprocess)
        how = choice.preprocess
        colours = Colours(how.mean, how.std, 255 / how.divide, how.channels == "BGR")
        seen = Seen(name, Subject(None, (len(how.mean), *how.crop_size), device=self.device), colours, None, how)
        if choice.path is None:
            for text in filter(None, inputs):
                seen.input(text)
            if among is not None:
                seen.images(among, 1)
        classifier = choice.load(device=self.device)
        subject = replace(seen.subject, model=classifier.model)
        return replace(seen, subject=subject, classes=list(classifier.classes))

    def show(self, answer: Any, verb: str) -> None:
        """Print the numbers of an answer and write its picture."""
        path = self.out or Path(f"{verb}.png")
        answer.save(path)
        if self.json:
            import json as encoder

            print(encoder.dumps({**answer.to_dict(), "picture": str(path)}, indent=2))
        else:
            print(f"{answer}\npicture: {path}")


@dataclass(frozen=True)
class Seen:
    """A network in evaluation mode, what its inputs look like, the names of its classes where they are known."""

    name: str
    subject: Subject
    colours: Colours
    classes: list[str] | None = None
    preprocess: Preprocess | None = None

    @property
    def model(self) -> Any:
        return self.subject.model

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.subject.input_shape

    def input(self, text: str) -> tuple[np.ndarray, int | None]:
        """One input (1, C, H, W) as ``--input`` names it, and its class where that is known."""
        import numpy as np

        kind, _, name = text.partition(":")
        if kind == "sample":
            return self._as_input(sample_photo(name)), None
        is_image = kind not in ("random", "digits", "test", "train") and Path(text).suffix != ".npy"
        if is_image and self.preprocess is not None:
            from minidl.data import read_image

            return self._as_input(read_image(text, self.preprocess.mode)), None
        x, label = self.subject.input(text)
        return np.asarray(x.numpy()), label

    def images(self, text: str, limit: int) -> tuple[np.ndarray, list[int] | None]:
        """Many inputs (N, C, H, W) and their labels: digits, test or train data, a folder, an .npy file."""
        import numpy as np

        from minidl.data.folder import IMG_EXTENSIONS
        from minidl.see import SeeError

        if limit < 1:
            raise SeeError(f"--limit {limit}: at least one image")
        path = Path(text)
        if text in ("digits", "test", "train"):
            part = self.subject.part(text, f"--among {text}")
            pairs = [part[i] for i in range(min(limit, len(part)))]
            return np.stack([np.asarray(image, np.float32) for image, _ in pairs]), [int(label) for _, label in pairs]
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMG_EXTENSIONS)[:limit]
            if not files:
                raise SeeError(f"--among {text}: no image in this folder")
            return np.concatenate([self.input(str(p))[0] for p in files]), None
        if path.suffix == ".npy":
            return self.input(text)[0][:limit], None
        raise SeeError(
            f"--among {text}: that is digits, of a run also test and train, a folder of images, or an .npy file"
        )

    def _as_input(self, image: np.ndarray) -> np.ndarray:
        """A photograph (3, H, W) of bytes, as this network takes it."""
        import numpy as np

        from minidl.data.sampling import resize
        from minidl.see import SeeError

        if self.preprocess is not None:
            return self.preprocess(image if self.preprocess.mode == "RGB" else _grey(image))[None]
        channels = self.input_shape[0]
        if channels not in (1, 3):
            raise SeeError(f"a photograph cannot become an input of shape {self.input_shape}: give an .npy file")
        image = image if channels == len(image) else _grey(image)
        pixels = resize(image, (self.input_shape[1], self.input_shape[2])).astype(np.float32) / 255
        return self.colours.values(pixels).astype(np.float32)[None]


def _grey(image: np.ndarray) -> np.ndarray:
    from minidl.train.tasks import Grayscale

    return Grayscale()(image) if len(image) == 3 else image


def sample_photo(name: str) -> np.ndarray:
    """A photograph (3, H, W) of bytes that comes with scikit-learn: china or flower."""
    from minidl.see import SeeError

    if name not in ("china", "flower"):
        raise SeeError(f"sample:{name}: scikit-learn's photographs are sample:china and sample:flower")
    try:
        from sklearn.datasets import load_sample_image
    except ImportError:
        raise ImportError("sample photographs come with scikit-learn: python -m pip install scikit-learn") from None
    return load_sample_image(f"{name}.jpg").transpose(2, 0, 1)


def whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """Numbers with commas between them, or FROM-TO.

    >>> whole_numbers("1,2,5", "--shifts"), whole_numbers("1-4", "--shifts")
    ((1, 2, 5), (1, 2, 3, 4))
    """
    from minidl.see import SeeError

    try:
        if "-" in text[1:] and "," not in text:
            first, last = text.rsplit("-", 1)
            return tuple(range(int(first), int(last) + 1))
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SeeError(f"{option} {text}: whole numbers with commas, as 1,2,5, or from-to, as 1-8") from None
