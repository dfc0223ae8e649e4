"""JPEG files in one .npz (jpeg: all bytes, offset: where each begins, y: labels) as folders for `minidl eval`.

``python -m tests.predict.jpeg_archive test_jpeg.npz FOLDER`` writes FOLDER/LABEL/NUMBER.jpg.
"""

import sys
from pathlib import Path

import numpy as np


def unpack(archive: Path, folder: Path) -> int:
    """Write all images; returns how many."""
    with np.load(archive) as data:
        raw, starts, labels = data["jpeg"].tobytes(), data["offset"], data["y"]
    ends = [*starts[1:], len(raw)]
    for number, label in enumerate(labels):
        path = folder / str(label) / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw[starts[number] : ends[number]])
    return len(labels)


if __name__ == "__main__":
    print(unpack(Path(sys.argv[1]), Path(sys.argv[2])), "images")
