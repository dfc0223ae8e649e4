"""Which image files are meant, and reading one."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..data.errors import DataError
from ..data.folder import IMG_EXTENSIONS, read_image
from .errors import PredictError

_LONGEST = 1000  # times the shorter side: with that at 256, an image of 66 million pixels


def read_photo(path: str | Path, mode: str = "RGB", *, upright: bool = True) -> np.ndarray:
    """An image file as uint8 (C, H, W), turned as the camera says (``upright``).

    :raises DataError: not an image, cut short or damaged; or a strip, more than 1,000 times as long as wide.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (3, 2), "red").save(f"{folder}/red.png")
    ...     image = read_photo(f"{folder}/red.png")
    >>> image.shape, image[:, 0, 0].tolist()
    ((3, 2, 3), [255, 0, 0])
    """
    image = read_image(path, mode, upright=upright)
    h, w = image.shape[1:]
    if max(h, w) > _LONGEST * min(h, w):
        raise DataError(f"a strip of {h}x{w} pixels (height x width): cut a part out, at most {_LONGEST:,} to 1", path)
    return image


def find_images(what: Iterable[str | Path]) -> list[Path]:
    """Files as they are; of a folder all images in it and below; of a pattern (``*.jpg``) what fits; of ``@list`` the
    lines of that file.  Whether a file named is there shows when it is read.

    :raises PredictError: a folder without images, a pattern that nothing fits, an empty list, one that is no text.

    >>> [str(path) for path in find_images(["a.jpg", "b.png"])]
    ['a.jpg', 'b.png']
    """
    found: list[Path] = []
    for item in map(str, what):
        path = Path(item)
        if item.startswith("@") and not path.exists():
            named = [Path(line) for line in read_lines(item[1:])]
            kind = "a list without a line"
        elif path.is_dir():
            named = [p for p in sorted(path.rglob("*")) if p.is_file() and _looks_like_an_image(p)]
            kind = f"a folder without an image; extensions: {', '.join(IMG_EXTENSIONS)}"
        elif not path.exists() and glob.has_magic(item):
            named = [Path(name) for name in sorted(glob.glob(item, recursive=True)) if Path(name).is_file()]
            kind = "a pattern that no file fits"
        else:
            named, kind = [path], ""
        if not named:
            raise PredictError(f"{item}: {kind}")
        found += named
    return found


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file that hold something, without the blanks around it; see :func:`read_text`."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_text(path: str | Path) -> str:
    """A text file in UTF-8, also with the mark that Windows puts in front of it.

    :raises PredictError: no such text.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictError(f"{path}: this is no text in UTF-8 (byte {error.start}); save it as UTF-8") from error


def _looks_like_an_image(path: Path) -> bool:
    return path.suffix.lower() in IMG_EXTENSIONS and not path.name.startswith(".")
