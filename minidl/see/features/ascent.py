"""Inputs that a unit likes best, made by gradient ascent: maximisation of classes and units, and DeepDream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SeeError, check_least
from ..text import number
from . import picture
from .colours import Colours, shown
from .picture import Picture
from .smoothing import blur as blurred
from .units import Unit, answer, as_batch, check_unit, evaluating, find_unit, score

if TYPE_CHECKING:
    from ...nn import Module
    from ...tensor import Tensor


def _uphill(model: Module, x: np.ndarray, goal: Callable[[Tensor], Tensor], layer: str) -> tuple[float, np.ndarray]:
    """``goal`` of a layer's result for the input ``x`` (1, C, H, W), and its gradient."""
    from ...autograd import enable_grad, grad

    leaf = as_batch(model, x).requires_grad_()
    with evaluating(model), enable_grad():
        value = goal(answer(model, layer, leaf))
        (gradient,) = grad(value, leaf)
    assert gradient is not None
    return float(value.item()), gradient.cpu().numpy()


# ---- a unit --------------------------------------------------------------------------------------------------------


@dataclass(repr=False)
class Maximised(Picture):
    """The input ``x`` (C, H, W) that was made for ``unit``, its score ``before`` (of the start) and ``after``.

    ``scores`` are those on the way, before each step (of the shifted image, where there is jitter).
    """

    unit: Unit
    x: np.ndarray
    before: float
    after: float
    scores: list[float]
    settings: dict[str, Any] = field(default_factory=dict)
    colours: Colours | None = None
    names: Sequence[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": str(self.unit), "before": self.before, "after": self.after, "scores": self.scores,
            "settings": self.settings,
        }  # fmt: skip

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:g}" for name, value in self.settings.items())
        ends = f"from {number(self.before).strip()} to {number(self.after).strip()}"
        return f"{self.unit.called(self.names)} {ends} in {len(self.scores)} steps ({values})"

    def image(self) -> np.ndarray:
        words = f"{self.unit.called(self.names)} = {self.after:.4g}"
        return picture.captioned([(words, picture.photo(shown(self.x, self.colours), 160))])


def maximize(
    model: Module,
    unit: str | int | Unit,
    *,
    shape: Sequence[int] | None = None,
    start: Any = None,
    steps: int = 200,
    lr: float = 0.05,
    decay: float = 0.01,
    blur: float = 0.5,
    blur_every: int = 4,
    jitter: int = 2,
    seed: int = 0,
    colours: Colours | None = None,
    names: Sequence[str] | None = None,
) -> Maximised:
    """An input that makes the score of a unit large, by gradient ascent from noise or from ``start`` (C, H, W).

    ``unit`` is a class number, a channel (the mean of its map is raised) or one position; ``shape`` (C, H, W) is that
    of the input.  A step adds ``lr`` times the gradient, divided by its root mean square; with ``colours`` ``lr`` is a
    share of the range from black to white.  What keeps the image from becoming noise that only this network likes:

    - ``decay``: the share that each number loses in a step, which is the penalty of Simonyan et al. on its square;
    - ``blur``: the deviation of a Gaussian over which the image is averaged every ``blur_every`` steps (0: never);
    - ``jitter``: the gradient is taken of the image shifted by up to so many pixels, others in each step;
    - with ``colours`` the numbers stay between black and white.

    The same ``seed`` gives the same bits.

    Source: Erhan et al. 2009; Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034, section 2; decay and blur:
    Yosinski et al. 2015, arXiv:1506.06579, section 4; jitter: Mordvintsev, Olah and Tyka 2015.

    >>> from minidl import models, see
    >>> found = see.features.maximize(models.lenet5(), 3, shape=(1, 32, 32), steps=20)
    >>> found.after > found.before
    True
    """
    asked = find_unit(model, unit)
    check_least(steps=(steps, 1), lr=(lr, 0), decay=(decay, 0), blur=(blur, 0), blur_every=(blur_every, 1))
    check_least(jitter=(jitter, 0))
    rng = np.random.default_rng(seed)
    x = _start(model, shape, start, colours, rng)
    low, high = (-np.inf, np.inf) if colours is None else colours.limits(x.shape[1])
    reach = 1.0 if colours is None else high - low

    def goal(y: Tensor) -> Tensor:
        return score(y, asked, "mean")[0].sum()

    scores: list[float] = []
    before = _uphill(model, x, goal, asked.layer)[0]
    for step in range(steps):
        shift = tuple(int(s) for s in rng.integers(-jitter, jitter + 1, 2))
        value, g = _uphill(model, np.roll(x, shift, (2, 3)), goal, asked.layer)
        scores.append(value)
        size = float(np.sqrt(np.mean(g.astype(np.float64) ** 2)))
        x = x + np.roll(g, (-shift[0], -shift[1]), (2, 3)) * (lr * reach / (size or 1.0))
        x = x * x.dtype.type(1 - decay)
        if blur and (step + 1) % blur_every == 0:
            x = blurred(x, blur)
        x = np.clip(x, low, high).astype(g.dtype)
    after = _uphill(model, x, goal, asked.layer)[0]
    settings = {"lr": lr, "decay": decay, "blur": blur, "blur_every": blur_every, "jitter": jitter, "seed": seed}
    return Maximised(asked, x[0], before, after, scores, settings, colours, names)


def _start(
    model: Module, shape: Sequence[int] | None, start: Any, colours: Colours | None, rng: np.random.Generator
) -> np.ndarray:
    """The first input (1, C, H, W)."""
    if start is not None:
        given = np.asarray(start.numpy() if hasattr(start, "numpy") else start)
        return as_batch(model, given[None] if given.ndim == 3 else given[:1]).cpu().numpy().copy()
    if shape is None or len(shape) != 3:
        raise SeeError(f"what shape has the input? shape=(C, H, W), or an image as start; got shape={shape}")
    noise = rng.standard_normal((1, *shape)) * 0.1
    if colours is not None:
        noise = colours.values(0.5 + 0.2 * noise)
    return as_batch(model, noise).cpu().numpy().copy()


# ---- DeepDream -----------------------------------------------------------------------------------------------------


@dataclass(repr=False)
class Dream(Picture):
    """``x`` (C, H, W) dreamt from ``image``; ``scores``: for each octave, what the layer answered at its beginning and
    its end; ``sizes`` (H, W) of the octaves."""

    unit: Unit
    x: np.ndarray
    start: np.ndarray
    scores: list[tuple[float, float]]
    sizes: list[tuple[int, int]]
    colours: Colours | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": str(self.unit),
            "octaves": [{"size": list(s), "begin": a, "end": b} for s, (a, b) in zip(self.sizes, self.scores)],
        }

    def __str__(self) -> str:
        lines = [f"{h}x{w}: {a:.4g} to {b:.4g}" for (h, w), (a, b) in zip(self.sizes, self.scores)]
        return f"mean square of {self.unit}, octave by octave: {'; '.join(lines)}"

    def image(self) -> np.ndarray:
        both = [("image", self.start), (f"what {self.unit} sees in it", self.x)]
        return picture.captioned([(text, picture.photo(shown(x, self.colours), 300)) for text, x in both])


def dream(
    model: Module,
    x: Any,
    unit: str | Unit,
    *,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 10,
    lr: float = 0.006,
    jitter: int = 16,
    seed: int = 0,
    colours: Colours | None = None,
) -> Dream:
    """DeepDream: change the first image of ``x`` (N, C, H, W) so that a layer sees more of what it sees in it.

    What rises is the mean square of ``unit``, a layer (``"conv2"``) or one of its channels (``"conv2[3]"``): its
    gradient at the layer is the answer of the layer itself, times a number.  It is done at ``octaves`` sizes, each
    ``ratio`` times the one before, small ones first; details found in one are carried to the next.  A step is ``lr``
    of the range from black to white (without ``colours`` of the image's own range) times the gradient, divided by its
    mean size.  ``jitter`` shifts the image by up to so many pixels.  Networks compute up to the
    layer only, so that those with linear layers behind it dream too.

    Source: Mordvintsev, Olah and Tyka 2015, "Inceptionism: going deeper into neural networks".

    >>> import numpy as np
    >>> from minidl import models, see
    >>> image = np.random.default_rng(0).random((1, 1, 32, 32))
    >>> found = see.features.dream(models.lenet5(), image, "conv1", octaves=2, steps=2)
    >>> found.sizes, found.scores[1][1] > found.scores[1][0]
    ([(23, 23), (32, 32)], True)
    """
    from ...data.sampling import resize

    asked = find_unit(model, unit)
    check_least(octaves=(octaves, 1), ratio=(ratio, 1), steps=(steps, 1), lr=(lr, 0), jitter=(jitter, 0))
    image = as_batch(model, x)[:1].cpu().numpy()
    if image.ndim != 4:
        raise SeeError(f"a dream begins with an image (N, C, H, W), not with an input of shape {image.shape}")
    low, high = (image.min(), image.max()) if colours is None else colours.limits(image.shape[1])
    rng = np.random.default_rng(seed)
    h, w = image.shape[2:]
    sizes = [(max(1, round(h / ratio**i)), max(1, round(w / ratio**i))) for i in reversed(range(octaves))]

    def goal(y: Tensor) -> Tensor:
        if asked.index:
            check_unit(asked, y.shape)
            y = y[(slice(None), *asked.index)]
        return (y * y).mean()

    scores = []
    detail = np.zeros_like(image[:, :, :1, :1])
    for octave, size in enumerate(sizes):
        base = resize(image, size)
        detail = resize(detail, size)
        dreamt = base + detail
        try:
            begin = _uphill(model, dreamt, goal, asked.layer)[0]
        except ValueError as error:
            if octave or octaves == 1 or isinstance(error, SeeError):
                raise
            raise SeeError(
                f"the smallest of {octaves} octaves, {size[0]}x{size[1]} of {h}x{w}, is too small for {asked.layer}: "
                f"take fewer octaves or a smaller ratio ({str(error).splitlines()[0]})"
            ) from error
        for _ in range(steps):
            shift = tuple(int(s) for s in rng.integers(-jitter, jitter + 1, 2))
            g = _uphill(model, np.roll(dreamt, shift, (2, 3)), goal, asked.layer)[1]
            g = np.roll(g, (-shift[0], -shift[1]), (2, 3))
            step = lr * (high - low) / (np.abs(g).mean() or 1.0)
            dreamt = np.clip(dreamt + step * g, low, high).astype(image.dtype)
        scores.append((begin, _uphill(model, dreamt, goal, asked.layer)[0]))
        detail = dreamt - base
    return Dream(asked, dreamt[0], image[0], scores, sizes, colours)
