"""Labelled images from wherever they lie, and counting right answers."""

import re
from pathlib import Path

import numpy as np
import pytest

from minidl import models
from minidl.data import DataNotFoundError, write_idx
from minidl.models.weights import class_names
from minidl.predict import PREPROCESS, Classifier, PredictError, Samples, Score, load_samples, score
from tests.predict.jpeg_archive import unpack

image_module = pytest.importorskip("PIL.Image")
IMAGENET = class_names("imagenet")


def write_image(path: Path, seed: int = 0, mode: str = "RGB") -> np.ndarray:
    shape = (5, 7, 3) if mode == "RGB" else (5, 7)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.fromarray(pixels).save(path)
    return pixels.transpose(2, 0, 1) if mode == "RGB" else pixels[None]


def names(samples: Samples) -> list[str]:
    return [Path(name).name for name, _ in samples.items]


class Fixed:
    """A classifier that knows its answers: image i is all of value i and gets row i."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows)
        self.classes = [str(i) for i in range(self.rows.shape[1])]

    def probabilities(self, images) -> np.ndarray:
        return np.array([self.rows[image[0, 0, 0]] for image in images]).reshape(-1, self.rows.shape[1])


def constant(value: int):
    return lambda: np.full((3, 2, 2), value, np.uint8)


def test_top_1_and_top_k_are_counted_and_broken_images_are_left_out() -> None:
    def broken() -> np.ndarray:
        raise DataNotFoundError("gone", "c.png")

    rows = [[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]]
    items = [("a", constant(0)), ("b", constant(1)), ("c.png", broken), ("d", constant(2)), ("e", constant(3))]
    told: list[int] = []
    result = score(Fixed(rows), Samples(items, [0, 0, 1, 2, 1]), top=(1, 2, 3), progress=told.append)
    assert (result.count, result.correct) == (4, {1: 1, 2: 2, 3: 4}) and told == [0, 1, 2, 3, 4]
    assert result.broken == [("c.png", "c.png: gone")]
    assert str(result) == "top-1 25.00 % (1 of 4), top-2 50.00 % (2 of 4), top-3 100.00 % (4 of 4)"
    assert result.accuracy(2) == 0.5 and np.isnan(Score(0, {1: 0}).accuracy())


def test_no_image_at_all() -> None:
    assert score(Fixed([[1.0, 0.0]]), Samples([], [])).count == 0


def test_a_folder_for_each_class_by_wordnet_number_name_or_number(tmp_path: Path) -> None:
    first = write_image(tmp_path / "n01443537" / "b.png", 1)
    write_image(tmp_path / "tench" / "deeper" / "a.png")
    write_image(tmp_path / "999" / "c.png")
    samples = load_samples(tmp_path, IMAGENET)
    found = dict(zip(names(samples), samples.labels, strict=True))
    assert found == {"a.png": 0, "b.png": 1, "c.png": 999} and len(samples) == 3
    np.testing.assert_array_equal(dict(zip(names(samples), samples.items, strict=True))["b.png"][1](), first)


def test_wordnet_numbers_in_the_names_of_files(tmp_path: Path) -> None:
    for name in ("n01440764_10026.png", "ILSVRC_n15075141.png", "000_n01443537_x.png"):
        write_image(tmp_path / name)
    samples = load_samples(tmp_path, IMAGENET)
    assert samples.labels == [1, 999, 0]


def test_a_list_beside_the_images(tmp_path: Path) -> None:
    write_image(tmp_path / "b" / "x.png", mode="L")
    write_image(tmp_path / "y.png", mode="L")
    (tmp_path / "labels.csv").write_text("label,file\n7,y.png\nthree,b/x.png\n")
    classes = ["zero", "one", "two", "three", "four", "five", "six", "seven"]
    samples = load_samples(tmp_path, classes, mode="L")
    assert samples.labels == [7, 3] and samples.items[1][1]().shape == (1, 5, 7)


def test_a_list_of_other_columns_is_passed_over(tmp_path: Path) -> None:
    write_image(tmp_path / "n01443537.png")
    (tmp_path / "labels.csv").write_text("class,score\n0,1\n")
    assert load_samples(tmp_path, IMAGENET).labels == [1]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"file,label\ny.png,0\ny.png\n", "labels.csv, line 3: a line needs a file and a label"),
        (b"file,label\n,0\n", "labels.csv, line 2: a line needs a file and a label"),
        (b"file,label\n", "no image with a label"),
        ("file,label\ny.png,Käfer\n".encode("latin-1"), "labels.csv: this is no text in UTF-8 (byte 18)"),
    ],
)
def test_lists_that_do_not_name_a_label_for_each_image(tmp_path: Path, content: bytes, message: str) -> None:
    write_image(tmp_path / "y.png")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(PredictError, match=re.escape(message)):
        load_samples(tmp_path, "abc")


def test_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    channels_last = rng.integers(0, 256, (4, 5, 6, 3), np.uint8)
    y = np.array([0, 2, 1, 0])
    for x in (channels_last, channels_last.transpose(0, 3, 1, 2), channels_last[..., 0]):
        np.savez(tmp_path / "a.npz", x=x, y=y)
        samples = load_samples(tmp_path / "a.npz", "abc")
        expected = channels_last[1].transpose(2, 0, 1) if x.ndim == 4 else channels_last[1, None, :, :, 0]
        np.testing.assert_array_equal(samples.items[1][1](), expected)
        assert samples.labels == [0, 2, 1, 0]


def test_the_test_part_of_a_data_set(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.array([3, 1, 9], np.uint8))
    samples = load_samples("mnist", "0123456789", data_dir=tmp_path)
    assert samples.labels == [3, 1, 9]
    np.testing.assert_array_equal(samples.items[2][1](), images[2:3])
    with pytest.raises(PredictError, match="mnist has other classes than the network: 10, 0 first, instead of 1000, t"):
        load_samples("mnist", IMAGENET, data_dir=tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        ({"a": [1]}, "needs x (images) and y (labels), but holds a"),
        ({"x": np.zeros((2, 3)), "y": [0, 1]}, "x is uint8 (N, H, W, C), (N, C, H, W) or (N, H, W), y (N,); here x is"),
        ({"x": np.zeros((2, 3, 3), np.uint8), "y": [0, 1, 1]}, "here x is uint8 (2, 3, 3), y (3,)"),
        ({"x": np.zeros((2, 3, 3), np.uint8), "y": [0, 3]}, "labels from 0 to 3 for a network with 3 classes"),
        ({"x": np.zeros((2, 3, 3), np.uint8), "y": ["a", "b"]}, "numbers of classes, whole ones, but y is <U1"),
        ({"x": np.zeros((2, 3, 3), np.uint8), "y": [0.5, 1]}, "whole ones, but y is float64"),
        ({"x": np.zeros((2, 5, 5, 4), np.uint8), "y": [0, 1]}, "grey (C = 1) or RGB (C = 3), but x is (2, 5, 5, 4)"),
        ({"x": np.zeros((0, 5, 5), np.uint8), "y": np.zeros(0, int)}, "a.npz: no image with a label"),
    ],
)
def test_arrays_that_are_no_samples(tmp_path: Path, content: dict, message: str) -> None:
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(PredictError, match=re.escape(message)):
        load_samples(tmp_path / "a.npz", "abc")


def test_labels_that_are_no_classes(tmp_path: Path) -> None:
    path = tmp_path / "crane" / "a.png"
    write_image(path)
    with pytest.raises(PredictError, match="two classes are called 'crane'; use their WordNet numbers"):
        load_samples(tmp_path, IMAGENET)
    path.parent.rename(tmp_path / "heron")
    with pytest.raises(PredictError, match="'heron' is none of the network's 1000 classes"):
        load_samples(tmp_path, IMAGENET)
    write_image(tmp_path / "plain" / "a.png")
    with pytest.raises(
        PredictError, match=r"a\.png: no label\. A folder has labels\.csv with the columns file and label, a sub-folder"
    ):
        load_samples(tmp_path / "plain", IMAGENET)
    with pytest.raises(PredictError, match=r"is no folder, no \.npz file and none of digits, mnist"):
        load_samples(tmp_path / "nothing", IMAGENET)


def test_of_a_real_classifier(tmp_path: Path) -> None:
    """Top-k of ten classes is everything for k = 10, and the same whatever the batches."""
    rng = np.random.default_rng(4)
    np.savez(tmp_path / "a.npz", x=rng.integers(0, 256, (7, 28, 28), np.uint8), y=rng.integers(0, 10, 7))
    samples = load_samples(tmp_path / "a.npz", "0123456789")
    model = models.lenet_caffe()
    results = []
    for batch in (1, 3, 64):
        lenet = Classifier(model, PREPROCESS["mnist_caffe"], "0123456789", batch_size=batch)
        results.append(score(lenet, samples, top=(1, 5, 10)))
    assert results[0] == results[1] == results[2] and results[0].accuracy(10) == 1


def test_an_archive_of_jpegs_becomes_folders(tmp_path: Path) -> None:
    pictures = [write_image(tmp_path / f"{i}.jpg", i) for i in range(3)]
    bodies = [(tmp_path / f"{i}.jpg").read_bytes() for i in range(3)]
    offset = np.cumsum([0, *map(len, bodies)])
    for offsets in (offset, offset[:-1]):  # with and without the end of the last one
        np.savez(tmp_path / "a.npz", jpeg=np.frombuffer(b"".join(bodies), np.uint8), offset=offsets, y=[2, 0, 2])
        assert unpack(tmp_path / "a.npz", tmp_path / "out") == len(pictures)
        assert (tmp_path / "out" / "2" / "00002.jpg").read_bytes() == bodies[2]
    samples = load_samples(tmp_path / "out", "abc")
    assert samples.labels == [0, 2, 2] and samples.items[0][1]().shape == (3, 5, 7)
