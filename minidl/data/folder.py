"""Image folders: one sub-folder per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._files import PathLike
from ._transform import call_transform
from .dataset import Dataset
from .errors import DataError, DataNotFoundError

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp", ".gif")


def read_image(path: PathLike, mode: str = "RGB", *, upright: bool = False) -> np.ndarray:
    """An image file as uint8 (C, H, W): C = 3 for ``mode="RGB"``, 1 for ``"L"``.

    The file is told by its content, not by its name. What is transparent shows white paper behind it; grey of 16 bits
    is rounded to 8. Decoded by Pillow, which refuses images of more than about 180 million pixels.  ``upright`` turns a
    photograph as the camera says (EXIF), which the published accuracies do not.

    :raises DataError: not an image, cut short or damaged; or of numbers that do not say which of them is white (32 bits
        a pixel, fractions).

    >>> import os, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "red.png")
    ...     Image.new("RGB", (3, 2), "red").save(path)
    ...     image = read_image(path)
    >>> image.shape, image[:, 0, 0].tolist()
    ((3, 2, 3), [255, 0, 0])
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image = _with_8_bits(ImageOps.exif_transpose(file) if upright else file, file.format or "")
            if image.has_transparency_data:
                paper = Image.new("RGBA", image.size, "white")
                pixels = np.array(Image.alpha_composite(paper, image.convert("RGBA")).convert(mode), np.uint8)
            else:
                pixels = np.array(image.convert(mode), np.uint8)  # (H, W) or (H, W, C)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever comes
        raise DataError(f"the image cannot be read ({type(error).__name__}: {error})", path) from error
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (C, H, W)


def _with_8_bits(image: Any, format: str) -> Any:
    """Grey of more than 8 bits, of which Pillow's own conversion would make white of all above 255."""
    from PIL import Image

    if image.mode == "F" or (image.mode == "I" and format not in ("PNG", "PPM")):  # of these two it is 16 bits
        raise ValueError(f"pixels of mode {image.mode}, of which nobody says which number is white: save 8 or 16 bits")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    clear = image.info.get("transparency")  # of a PNG: the grey, of 16 bits, that stands for the paper
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


class ImageFolder(Dataset):
    """Images ``root/CLASS/.../NAME.EXT``; the classes are the sub-folders in alphabetical order, numbered from 0.

    A sample is ``(image, label)``: uint8 (C, H, W), and an int. ``classes``, ``class_to_idx``, ``samples`` (path,
    label), ``targets`` and ``imgs`` as in torchvision. ``extensions`` are compared without case; hidden files are
    passed over. ``mode`` is ``"RGB"`` or ``"L"`` (grey).

    :raises DataNotFoundError: no such folder, no class in it, or a class without an image.
    :raises DataError: (on access) a damaged image; the message names the file.

    >>> import os, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("dog", "cat"):
    ...         os.mkdir(os.path.join(folder, name))
    ...         Image.new("RGB", (3, 2)).save(os.path.join(folder, name, "1.png"))
    ...     data = ImageFolder(folder)
    ...     len(data), data.classes, data[1][0].shape, data[1][1]
    (2, ['cat', 'dog'], (3, 2, 3), 1)
    """

    def __init__(
        self,
        root: PathLike,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        *,
        extensions: Sequence[str] = IMG_EXTENSIONS,
        mode: str = "RGB",
    ) -> None:
        if mode not in ("RGB", "L"):
            raise ValueError(f"mode is 'RGB' or 'L', got {mode!r}")
        base = Path(root)
        if not base.is_dir():
            raise DataNotFoundError("there is no such folder; it has to hold one sub-folder per class", root)
        self.root, self.mode = base, mode
        self.transform, self.target_transform = transform, target_transform
        self.classes = sorted(p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not self.classes:
            raise DataNotFoundError(
                "no classes: the folder has to hold one sub-folder per class, with its images", root
            )
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        endings = tuple(e.lower() for e in extensions)
        self.samples: list[tuple[Path, int]] = []
        empty = []
        for label, name in enumerate(self.classes):
            found = [
                (path, label)
                for path in sorted((base / name).rglob("*"))
                if path.name.lower().endswith(endings) and not path.name.startswith(".") and path.is_file()
            ]
            if not found:
                empty.append(name)
            self.samples += found
        if empty:
            raise DataNotFoundError(
                f"no image in the folders of the classes {', '.join(empty)}; extensions: {', '.join(endings)}",
                root,
            )
        self.imgs = self.samples
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def get_sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        path, label = self.samples[index]
        image = read_image(path, self.mode)
        if self.transform is not None:
            image = call_transform(self.transform, image, rng)
        return image, label if self.target_transform is None else self.target_transform(label)

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.root)!r}, {len(self)} images, {len(self.classes)} classes)"
