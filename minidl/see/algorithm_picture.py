"""What the algorithms of one convolution compute on the way, as a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .algorithm_table import PASSES, Steps, Table
from .errors import SeeError
from .features import picture

Array = np.ndarray
Panel = tuple[str, Array]

_ROWS, _COLUMNS, _TILES = 64, 160, 16  # of a matrix, and tiles, so many are drawn
_SIDE, _WIDE = 160, 640  # pixels of a panel, and of a matrix with long rows, about


@dataclass(repr=False)
class Intermediates(picture.Picture):
    """The named intermediates of one pass of :func:`algorithms`: a row of panels for each algorithm.

    Im2col: the pixels of the first image, each with a colour of its own, and the column matrix with the colours of the
    pixels that its entries are copies of (white: padding); then the matrices' values.  FFT: the spectra, the logarithm
    of their size.  Winograd: the first tiles of U, V and M.  Of values blue is below 0 and red above.  Shown are the
    first image, group and channel; SeeError for a pass that there is not.

    >>> import numpy as np
    >>> from minidl import see
    >>> table = see.algorithms(np.ones((1, 1, 4, 4), "f"), np.ones((1, 1, 3, 3), "f"), repeats=1)
    >>> print(see.Intermediates(table, "weight_grad"))
    weight_grad by im2col: columns 1x1x9x4, cotangent 1x1x1x4, products 1x1x1x9, dw 1x1x3x3
    weight_grad by fft: X 1x1x4x3, W 1x1x4x3, Y 1x1x4x3, result 1x1x3x3
    weight_grad by winograd: U 4x4x1x1x1, V 4x4x1x1x1, M 4x4x1x1x1, result 1x1x3x3
    """

    table: Table
    pass_: str = "forward"

    def __post_init__(self) -> None:
        if self.pass_ not in PASSES:
            raise SeeError(f"a convolution has the passes {', '.join(PASSES)}, and no {self.pass_!r}")
        if not self._steps():
            raise SeeError("this table was made with steps=False: there is nothing to draw")

    def _steps(self) -> list[Steps]:
        return [s for s in self.table.steps if s.pass_ == self.pass_]

    def to_dict(self) -> dict[str, Any]:
        """The shapes and meanings of what is drawn."""
        return {"problem": self.table.problem, "pass": self.pass_, "steps": [s.to_dict() for s in self._steps()]}

    def __str__(self) -> str:
        return "\n".join(
            f"{s.pass_} by {s.algorithm}: {', '.join(f'{n} {_size(a)}' for n, a in _drawn(s).items())}"
            for s in self._steps()
        )

    def image(self) -> Array:
        rows = []
        for steps in self._steps():
            if steps.sources is not None:
                rows.append(picture.captioned(self._by_pixel(steps.sources[0])))
            rows.append(
                picture.captioned(
                    [
                        (f"{steps.algorithm}: {name} {_size(a)}", self._panel(steps, name, a))
                        for name, a in _drawn(steps).items()
                    ]
                )
            )
        return picture.mosaic(rows, 1)

    def _by_pixel(self, sources: Array) -> list[Panel]:
        channels, *size = self.table.input_shape
        flat = (math.prod(size[:-1]), size[-1])
        pixels = np.arange(channels * math.prod(size)).reshape(channels, *flat)
        key = [("x" if channels == 1 else f"x, channel {c}", pixels[c]) for c in range(min(channels, 3))]
        matrix = ("im2col: columns, by the pixel of x", sources[:_ROWS, :_COLUMNS])
        return [(text, _enlarged(source_colours(p, self.table.input_shape))) for text, p in (*key, matrix)]

    def _panel(self, steps: Steps, name: str, a: Array) -> Array:
        if np.iscomplexobj(a):
            a = np.log10(np.abs(a) + 1e-12 * (np.abs(a).max(initial=0.0) or 1.0))
            return _values(_matrix(a), signed=False)
        if steps.algorithm == "winograd" and name in ("U", "V", "M"):
            axes = len(self.table.input_shape) - 1
            tiles = np.moveaxis(a.reshape(*a.shape[:axes], -1), -1, 0)[:_TILES]  # (tiles, n, ...)
            drawn = np.stack([_matrix(tile) for tile in tiles])
            side = math.ceil(math.sqrt(len(drawn)))
            return picture.grid(_coloured(drawn), side, scale="none", zoom=_zoom(side * drawn.shape[1], 1))
        return _values(_matrix(a), signed=True)


def _drawn(steps: Steps) -> dict[str, Array]:
    """Without the matrices of Winograd's transforms, which are the same for every convolution."""
    return {name: a for name, a in steps.arrays.items() if name.rstrip("0123456789") not in ("AT", "G", "BT")}


def _size(a: Array) -> str:
    return "x".join(map(str, a.shape))


def _matrix(a: Array) -> Array:
    """The first matrix (rows, columns) of an array, its beginning if it is large."""
    while a.ndim > 2:
        a = a[0]
    return np.atleast_2d(a)[:_ROWS, :_COLUMNS]


def _coloured(values: Array) -> Array:
    """Values (N, H, W) as colours (N, 3, H, W) in 0..1: white at 0."""
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    return np.moveaxis(picture.signed(values / most), -1, 1)


def _values(matrix: Array, signed: bool) -> Array:
    tiles = _coloured(matrix[None]) if signed else picture.levels(matrix[None])[:, None]
    return picture.grid(tiles, scale="none", zoom=_zoom(*matrix.shape))


def _enlarged(colours: Array) -> Array:
    return picture.grid(np.moveaxis(colours, -1, 0)[None], scale="none", zoom=_zoom(*colours.shape[:2]))


def _zoom(rows: int, columns: int) -> int:
    return max(1, min(_SIDE // rows, _WIDE // columns, 24))


def source_colours(sources: Array, shape: tuple[int, ...]) -> Array:
    """Colours (..., 3) in 0..1 of flat pixel numbers in (C, *size): red grows downward, green to the right, blue falls
    from channel to channel; -1, padding, is white.

    >>> source_colours(np.array([0, 3, -1]), (1, 2, 2)).tolist()
    [[0.1, 0.1, 0.8], [1.0, 1.0, 0.8], [1.0, 1.0, 1.0]]
    """
    channels, rows, columns = shape[0], math.prod(shape[1:-1]), shape[-1]
    c, i, j = sources // (rows * columns), sources // columns % rows, sources % columns
    red, green = (0.1 + 0.9 * at / max(n - 1, 1) for at, n in ((i, rows), (j, columns)))
    colours = np.stack([red, green, 0.8 - 0.7 * c / max(channels - 1, 1)], -1)
    return np.where((sources < 0)[..., None], 1.0, colours)
