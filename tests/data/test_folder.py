import re

import numpy as np
import pytest

from minidl.data import DataError, DataLoader, DataNotFoundError, ImageFolder, SampleError, read_image
from minidl.data import transforms as T

Image = pytest.importorskip("PIL.Image")


def image(seed, shape=(5, 4, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def root(tmp_path):
    for i, name in enumerate(
        ("dog/b.png", "dog/a.PNG", "cat/deep/c.bmp", "cat/.hidden.png", "cat/notes.txt", ".git/x.png")
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            path.write_text("no image")
        else:
            Image.fromarray(image(i)).save(path)
    return tmp_path


def test_classes_samples_and_pixels(root):
    data = ImageFolder(root)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert [p.relative_to(root).as_posix() for p, _ in data.samples] == ["cat/deep/c.bmp", "dog/a.PNG", "dog/b.png"]
    assert data.targets == [0, 1, 1] and data.imgs == data.samples and len(data) == 3
    pixels, label = data[2]
    np.testing.assert_array_equal(pixels, image(0).transpose(2, 0, 1))
    assert label == 1 and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert repr(data) == f"ImageFolder('{root}', 3 images, 2 classes)"


def test_transforms_extensions_and_grey(root):
    data = ImageFolder(root, T.RandomCrop(3), lambda label: label + 10, mode="L")
    pixels, label = data[0]
    assert pixels.shape == (1, 3, 3) and label == 10
    batch, labels = next(iter(DataLoader(data, 3, num_workers=2, to_tensor=False)))
    assert batch.shape == (3, 1, 3, 3) and labels.tolist() == [10, 11, 11]
    with pytest.raises(DataNotFoundError, match=r"no image in the folders of the classes cat; extensions: .png"):
        ImageFolder(root, extensions=(".png",))
    with pytest.raises(ValueError, match="mode is 'RGB' or 'L', got 'CMYK'"):
        ImageFolder(root, mode="CMYK")


def test_palette_grey_and_alpha_become_rgb(tmp_path):
    grey = image(0, (5, 4))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[None], 3, 0))
    Image.fromarray(image(1, (5, 4, 4))).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png").shape == (3, 5, 4)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", "L"), grey[None])


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm"])
@pytest.mark.parametrize("upright", [False, True])
def test_grey_of_16_bits_is_rounded_to_8(tmp_path, name, upright):
    grey = np.array([[0, 128, 129, 300], [257, 32768, 65406, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / name)
    expected = np.round(grey / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / name, "L", upright=upright), expected[None])
    np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(expected[None], 3, 0))


def test_grey_of_16_bits_lies_on_white_paper(tmp_path):
    """The neighbour of the transparent grey becomes the same number of 8 bits, and stays."""
    grey = np.array([[0, 1000, 1001], [500, 65535, 1000]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "x.png", transparency=1000)
    expected = [[0, 255, 4], [2, 255, 255]]
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", "L"), [expected])


@pytest.mark.parametrize(("dtype", "mode"), [("int32", "I"), ("float32", "F")])
def test_numbers_that_do_not_say_what_white_is(tmp_path, dtype, mode):
    Image.fromarray(image(0, (5, 4)).astype(dtype)).save(tmp_path / "x.tif")
    message = f"x.tif: the image cannot be read .*pixels of mode {mode}, of which nobody says which number is white"
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / "x.tif")


def test_damaged_images_are_named(root):
    path = root / "dog" / "b.png"
    whole = path.read_bytes()
    data = ImageFolder(root)
    for spoilt in (whole[:-30], b"", b"GIF89a", whole[:60] + bytes(20) + whole[80:]):
        path.write_bytes(spoilt)
        with pytest.raises(DataError, match=re.escape(f"{path}: the image cannot be read (")):
            data[2]
    with pytest.raises(SampleError, match=re.escape("sample 2 (epoch 0, batch 0) could not be loaded: DataError: ")):
        list(DataLoader(data, 3, to_tensor=False))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        data[2]


def test_empty_folders(tmp_path):
    with pytest.raises(DataNotFoundError, match="there is no such folder; it has to hold one sub-folder per class"):
        ImageFolder(tmp_path / "none")
    with pytest.raises(
        DataNotFoundError, match="no classes: the folder has to hold one sub-folder per class, with its"
    ):
        ImageFolder(tmp_path)


def test_real_photographs(shared_data):
    paths = sorted((shared_data / "imagenet_samples").glob("*.png"))[:3]
    assert len(paths) == 3
    for path in paths:
        pixels = read_image(path)
        assert pixels.shape == (3, 256, 256) and pixels.std() > 5
        expected = np.asarray(Image.open(path).convert("RGB").resize((64, 48), Image.Resampling.BILINEAR)).transpose(
            2, 0, 1
        )
        assert np.abs(T.Resize((48, 64))(pixels).astype(int) - expected).max() <= 1
