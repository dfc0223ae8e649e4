"""Arrays as pictures: one function that lays out tiles, colours for maps, captions, and PNG files.

Pictures are uint8 arrays (H, W, 3).  Pillow writes and letters them; it is imported when that happens.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import SeeError
from ..shown import Shown

Scale = Literal["tile", "whole", "none"]
PAPER = 255  # what lies between tiles
MISSING = 0.5  # grey for NaN: outside of an image


class Picture(Shown):
    """A result that can be looked at: ``image()`` is uint8 (H, W, 3), ``save(path)`` writes it to a file.

    A notebook shows it by itself.
    """

    def image(self) -> np.ndarray:
        """The picture, uint8 (H, W, 3)."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture as .png, .jpg or .webp; an older file stays whole if that fails."""
        from ...io import atomic_write

        kind = file_format(path)
        data = encoded(self.image(), kind)
        with atomic_write(path) as file:
            file.write(data)

    def _repr_png_(self) -> bytes:
        return encoded(self.image())


@dataclass(repr=False)
class Several(Picture):
    """Results of one kind beside each other."""

    results: Sequence[Any]

    def to_dict(self) -> dict[str, Any]:
        return {"results": [one.to_dict() for one in self.results]}

    def __str__(self) -> str:
        return "\n".join(map(str, self.results))

    def image(self) -> np.ndarray:
        images = [one.image() for one in self.results]
        return mosaic(images, columns=min(len(images), 5))


_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def file_format(path: str | os.PathLike[str]) -> str:
    """Pillow's name for the format of a file; SeeError for those that pictures are not written in."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _FORMATS:
        raise SeeError(f"a picture is written as .png, .jpg or .webp, and {os.fspath(path)} ends in none of them")
    return _FORMATS[suffix]


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    """A uint8 picture (H, W, 3) as the bytes of a file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, kind, optimize=True, quality=90)
    return buffer.getvalue()


def levels(tiles: np.ndarray, scale: Scale = "tile", centred: bool = False) -> np.ndarray:
    """Tiles (N, ...) in 0..1: smallest value 0, largest 1, of each tile or of the whole.

    ``centred`` makes 0 the middle grey and stretches both sides alike.  "none": the values are in 0..1 already and
    what is not is cut off.  NaN becomes grey.

    >>> tiles = np.array([[0.0, 2.0], [0.0, 4.0]])
    >>> levels(tiles).tolist(), levels(tiles, "whole").tolist()
    ([[0.0, 1.0], [0.0, 1.0]], [[0.0, 0.5], [0.0, 1.0]])
    >>> levels(np.array([[-1.0, 0.0, 0.5]]), centred=True).tolist()
    [[0.0, 0.5, 0.75]]
    """
    if scale not in ("tile", "whole", "none"):
        raise SeeError(f"tiles are scaled by 'tile', 'whole' or 'none', not {scale!r}")
    values = np.array(tiles, dtype=np.float64)
    none = ~np.isfinite(values)
    if scale != "none" and values.size:
        known = np.where(none, np.nan, values)
        axes = tuple(range(values.ndim)) if scale == "whole" else tuple(range(1, values.ndim))
        empty = np.isnan(known).all(axes, keepdims=True)
        known = np.where(empty, 0.0, known)
        low, high = np.nanmin(known, axes, keepdims=True), np.nanmax(known, axes, keepdims=True)
        if centred:
            high = np.maximum(-low, high)
            low = -high
        flat = high <= low  # nothing to stretch
        values = np.where(flat, 0.5 if centred else 0.0, (values - low) / np.where(flat, 1.0, high - low))
    values[none] = MISSING
    return np.clip(values, 0, 1)


def grid(
    tiles: np.ndarray | Sequence[np.ndarray],
    columns: int | None = None,
    *,
    scale: Scale = "tile",
    centred: bool = False,
    zoom: int = 1,
    gap: int = 2,
) -> np.ndarray:
    """Tiles (N, H, W), (N, 1, H, W) or (N, 3, H, W) side by side, row after row: a picture uint8 (H, W, 3).

    ``columns`` is about the square root of N without a wish; ``scale`` and ``centred`` as for :func:`levels`; each
    number becomes ``zoom`` x ``zoom`` pixels, with ``gap`` white pixels between tiles.

    >>> grid(np.arange(12.0).reshape(3, 2, 2), columns=2, gap=1).shape
    (5, 5, 3)
    """
    values = np.asarray(tiles)
    if values.ndim == 3:
        values = values[:, None]  # (N, 1, H, W)
    if values.ndim != 4 or values.shape[1] not in (1, 3) or not len(values):
        raise SeeError(
            f"a grid is made of tiles (N, H, W), (N, 1, H, W) or (N, 3, H, W) with N at least 1, not {values.shape}"
        )
    bytes_ = np.round(levels(values, scale, centred) * 255).astype(np.uint8)
    colour = np.broadcast_to(bytes_.transpose(0, 2, 3, 1), (*_one_colour(bytes_.shape), 3))  # (N, H, W, 3)
    return mosaic([enlarge(tile, zoom) for tile in colour], columns, gap)


def _one_colour(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[0], shape[2], shape[3]


def mosaic(pictures: Sequence[np.ndarray], columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Pictures (H, W, 3) of any sizes in rows; each lies at the top left of its cell."""
    count = len(pictures)
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = [pictures[i : i + columns] for i in range(0, count, columns)]
    widths = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(p.shape[0] for p in row) for row in rows]
    canvas = np.full((sum(heights) + gap * (len(rows) - 1), sum(widths) + gap * (columns - 1), 3), PAPER, np.uint8)
    top = 0
    for row, height in zip(rows, heights):
        left = 0
        for picture, width in zip(row, widths):
            h, w = picture.shape[:2]
            canvas[top : top + h, left : left + w] = picture
            left += width + gap
        top += height + gap
    return canvas


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Each pixel of (H, W, ...) as ``factor`` x ``factor`` pixels."""
    return image.repeat(factor, 0).repeat(factor, 1) if factor > 1 else image


def zoom_to(side: int, height: int, width: int) -> int:
    """The whole factor that brings a picture to about ``side`` pixels, 1 for large ones."""
    return max(1, round(side / max(height, width)))


def photo(pixels: np.ndarray, side: int = 200, shrink: bool = False) -> np.ndarray:
    """Pixels (1, H, W) or (3, H, W) in 0..1 as a picture of about ``side`` pixels; large ones keep their size unless
    ``shrink``."""
    from ...data.sampling import resize

    h, w = pixels.shape[-2:]
    if shrink and max(h, w) > 1.5 * side:
        pixels = resize(pixels, (max(1, h * side // max(h, w)), max(1, w * side // max(h, w))))
    return grid(pixels[None], scale="none", zoom=zoom_to(side, *pixels.shape[-2:]))


# ---- colours -----------------------------------------------------------------------------------------------------


def heat(values: np.ndarray) -> np.ndarray:
    """0..1 (...) as colours (..., 3) in 0..1: black, red, yellow, white.

    >>> heat(np.array([0.0, 1 / 3, 2 / 3, 1.0])).round(6).tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    return np.clip(3 * np.asarray(values)[..., None] - np.arange(3), 0, 1)


def signed(values: np.ndarray) -> np.ndarray:
    """-1..1 (...) as colours (..., 3) in 0..1: blue below 0, white at 0, red above.

    >>> signed(np.array([-1.0, 0.0, 1.0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    v = np.clip(np.asarray(values, dtype=np.float64), -1, 1)
    return np.stack([1 + np.minimum(v, 0), 1 - np.abs(v), 1 - np.maximum(v, 0)], -1)


def heat_map(values: np.ndarray, side: int = 200, over: np.ndarray | None = None) -> np.ndarray:
    """A map (H, W), its smallest value black and its largest white; ``over`` pixels (C, H, W) in 0..1 it is mixed."""
    colours = heat(levels(values[None])[0]).transpose(2, 0, 1)  # (3, H, W)
    return photo(colours if over is None else 0.45 * over + 0.55 * colours, side)


def signed_map(values: np.ndarray, side: int = 200) -> np.ndarray:
    """A map (H, W) whose sign matters: 0 is white."""
    most = float(np.abs(values).max()) if values.size else 0.0
    return photo(signed(values / (most or 1.0)).transpose(2, 0, 1), side)


# ---- words -------------------------------------------------------------------------------------------------------


def captioned(panels: Sequence[tuple[str, np.ndarray]], columns: int | None = None, gap: int = 8) -> np.ndarray:
    """Pictures with words above them, in rows (one row without a wish), a white margin around all."""
    lines = max(len(_wrapped(text, image.shape[1])) for text, image in panels)
    cells = [_with_caption(text, image, lines) for text, image in panels]
    laid = mosaic(cells, columns or len(cells), gap)
    return np.pad(laid, ((gap, gap), (gap, gap), (0, 0)), constant_values=PAPER)


_SIZE, _LINE = 13, 17  # of the letters, and from one line to the next


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(8, int(width / (_SIZE * 0.52)))) if text else []


def _with_caption(text: str, image: np.ndarray, lines: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    if not lines:
        return image
    words = _wrapped(text, image.shape[1])
    font: Any = ImageFont.load_default(_SIZE)
    width = max([image.shape[1], *(math.ceil(font.getlength(line)) for line in words)])
    strip = Image.new("RGB", (width, lines * _LINE + 2), "white")
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(words):
        pen.text((0, (lines - len(words) + number) * _LINE), line, fill="black", font=font)
    body = np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=PAPER)
    return np.concatenate([np.asarray(strip), body])
