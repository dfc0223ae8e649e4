"""The grid that all pictures are laid out on, colours of maps, captions, and files."""

import io
import re
import warnings

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.models import lenet5
from minidl.see import SeeError, features
from minidl.see.features import picture
from minidl.see.features.picture import captioned, encoded, enlarge, grid, heat, levels, mosaic, signed


def test_every_tile_of_a_grid_lies_where_it_should():
    tiles = np.random.default_rng(0).random((7, 3, 4, 5))
    laid = grid(tiles, columns=3, scale="none", zoom=2, gap=3)
    assert laid.shape == (3 * 8 + 2 * 3, 3 * 10 + 2 * 3, 3) and laid.dtype == np.uint8
    covered = np.zeros(laid.shape[:2], bool)
    for i, tile in enumerate(tiles):
        top, left = i // 3 * 11, i % 3 * 13
        part = laid[top : top + 8, left : left + 10]
        np.testing.assert_array_equal(part[::2, ::2], np.round(tile * 255).transpose(1, 2, 0))
        np.testing.assert_array_equal(part, enlarge(part[::2, ::2], 2))
        covered[top : top + 8, left : left + 10] = True
    assert (laid[~covered] == 255).all() and (~covered).any()


def test_one_channel_is_grey_and_columns_have_a_default():
    tiles = np.random.default_rng(1).random((10, 6, 6))
    laid = grid(tiles, gap=0)
    assert laid.shape == (18, 24, 3) and (laid[..., 0] == laid[..., 2]).all()
    np.testing.assert_array_equal(grid(tiles[:, None], gap=0), laid)
    assert laid[:6, :6].min() == 0 and laid[:6, :6].max() == 255, "each tile uses the whole range"


@pytest.mark.parametrize("scale", ["tile", "whole"])
def test_levels_use_the_whole_range_and_keep_the_order(scale):
    tiles = np.random.default_rng(2).standard_normal((3, 4, 5)) * [[[1.0]], [[10.0]], [[0.1]]]
    found = levels(tiles, scale)
    groups = [(tiles, found)] if scale == "whole" else list(zip(tiles, found))
    for values, shown in groups:
        assert shown.min() == 0 and shown.max() == 1
        np.testing.assert_array_equal(np.argsort(values.ravel()), np.argsort(shown.ravel()))
    centred = levels(tiles, scale, centred=True)
    np.testing.assert_array_equal(np.sign(centred - 0.5), np.sign(tiles))
    assert max(centred.max(), 1 - centred.min()) == 1


def test_what_is_no_number_or_all_the_same_is_grey_or_black():
    tiles = np.array([[np.nan, 1.0, 3.0], [2.0, 2.0, 2.0], [np.nan] * 3])
    assert levels(tiles).tolist() == [[0.5, 0, 1], [0, 0, 0], [0.5] * 3]
    assert levels(tiles[1:2], centred=True).tolist() == [[1, 1, 1]]
    assert levels(np.zeros((1, 2)), centred=True).tolist() == [[0.5, 0.5]]
    assert levels(np.array([[-1.0, 0.25, 7.0]]), "none").tolist() == [[0, 0.25, 1]]


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 3), (2, 2, 3, 3), (1, 1, 1, 3, 3)])
def test_tiles_that_make_no_grid(shape):
    with pytest.raises(
        SeeError, match=re.escape("a grid is made of tiles (N, H, W), (N, 1, H, W) or (N, 3, H, W) with")
    ):
        grid(np.zeros(shape))
    with pytest.raises(SeeError, match="tiles are scaled by 'tile', 'whole' or 'none', not 'all'"):
        levels(np.zeros((1, 2, 2)), "all")  # type: ignore[arg-type]


def test_pictures_of_several_sizes():
    laid = mosaic(
        [np.zeros((2, 3, 3), np.uint8), np.full((4, 1, 3), 7, np.uint8), np.full((1, 5, 3), 9, np.uint8)], 2, 1
    )
    assert laid.shape == (4 + 1 + 1, 5 + 1 + 1, 3)
    assert (laid[:2, :3] == 0).all() and (laid[:4, 6] == 7).all() and (laid[5, :5] == 9).all()
    assert (laid[2:5, :5] == 255).all()


def test_colours_of_maps_are_monotone():
    steps = np.linspace(0, 1, 50)
    brightness = heat(steps).sum(-1)
    assert (np.diff(brightness) > 0).all() and brightness[0] == 0 and brightness[-1] == 3
    both = signed(np.linspace(-1, 1, 51))
    assert (both.max(-1) == 1).all() and both[25].tolist() == [1, 1, 1]
    assert (both[:25, 2] == 1).all() and (both[26:, 0] == 1).all() and (np.diff(both[:26, 0]) > 0).all()


def test_captions_are_written_above_the_pictures():
    black = np.zeros((40, 100, 3), np.uint8)
    laid = captioned([("a caption", black), ("", black)], columns=2)
    with_words = laid[: -(40 + 8)]
    assert (with_words[:, :108] < 128).any() and (with_words[:, 112:] == 255).all()
    assert (laid[-48:-8, 8:108] == 0).all()
    wide = captioned([("a long caption over a small picture", np.zeros((9, 9, 3), np.uint8))])
    assert wide.shape[1] >= 9 + 16 and captioned([("", black)]).shape == (56, 116, 3)


def test_photographs_shrink_only_when_asked():
    large = np.random.default_rng(3).random((3, 300, 600))
    assert picture.photo(large, 100).shape == (300, 600, 3)
    assert picture.photo(large, 100, shrink=True).shape == (50, 100, 3)
    assert picture.photo(large[:, :10, :20], 100).shape == (50, 100, 3)


def test_a_result_is_saved_as_it_is_shown(tmp_path):
    from PIL import Image

    found = features.filters(lenet5())
    path = tmp_path / "filters.png"
    found.save(path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), found.image())
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found._repr_png_()))), found.image())
    assert path.read_bytes() == encoded(found.image()) and [p.name for p in tmp_path.iterdir()] == ["filters.png"]
    several = features.Several([found, found])
    assert several.image().shape[1] == 2 * found.image().shape[1] + 2 and len(several.to_dict()["results"]) == 2
    assert str(several).count("features.0: 6 filters") == 2
    with pytest.raises(NotImplementedError):
        features.Picture().image()


@pytest.mark.parametrize("name, kind", [("a.JPG", "JPEG"), ("a.webp", "WEBP")])
def test_other_formats_look_nearly_the_same(name, kind, tmp_path):
    from PIL import Image

    found = features.effects(np.linspace(0, 1, 3 * 60 * 80).reshape(3, 60, 80), ["identity"])
    found.save(tmp_path / name)
    with Image.open(tmp_path / name) as file:
        assert file.format == kind
        assert np.abs(np.asarray(file.convert("RGB")).astype(int) - found.image()).mean() < 6
    with pytest.raises(
        SeeError, match=r"a picture is written as .png, .jpg or .webp, and \S*a.gif ends in none of them"
    ):
        found.save(tmp_path / "a.gif")


def test_only_what_a_unit_sees_is_shown():
    net, x = lenet5(activation="relu"), np.random.default_rng(0).random((1, 1, 32, 32)).astype("f")
    whole, part = features.saliency(net, x, 3), features.saliency(net, x, "conv1[2,3,4]")
    assert whole.seen is None and part.seen is not None
    assert part.seen.inside(part.places[0]) == (slice(3, 8), slice(4, 9))
    assert whole.image().shape[1] == 3 * 224 + 2 * 8 + 16 and part.image().shape[1] == 3 * 225 + 2 * 8 + 16
    zoomed = part.image()[-8 - 225 : -8 : 45, 8 : 8 + 225 : 45, 0]
    np.testing.assert_array_equal(zoomed, np.round(x[0, 0, 3:8, 4:9].astype(np.float64) * 255))
    behind = features.saliency(minidl.nn.Sequential(minidl.nn.Upsample(scale_factor=2)), x, "0[0]")
    assert behind.seen is None and behind.image().dtype == np.uint8, "no window: all of the image"


def test_an_older_picture_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"older")
    found = features.filters(lenet5())
    with pytest.raises(FileNotFoundError):
        found.save(tmp_path / "no" / "folder.png")
    monkeypatch.setattr(type(found), "image", lambda self: np.zeros((0, 0, 3), np.uint8))
    with pytest.raises((SystemError, ValueError, OSError)):
        found.save(path)
    assert path.read_bytes() == b"older"


def test_plots_are_pictures():
    """Every curve and surface can be drawn, NaN and losses of 0 included."""
    pytest.importorskip("matplotlib")
    net, x = lenet5(), np.random.default_rng(0).standard_normal((4, 1, 32, 32)).astype("f")
    field = features.receptive_field(net, "conv1", images=x[:1])
    shift = features.shift(net, x[:1], ["conv1", "fc1", "output"], shifts=(1, 20))
    steps = np.linspace(-1, 1, 3)
    flat = features.Surface(steps, np.array([1.0, 0.0, np.nan]), [])
    hill = features.Surface(steps, np.add.outer(steps**2, steps**2), [])
    high = features.Surface(steps, 1 + np.add.outer(steps**2, steps**2), [])
    level = features.Surface(steps, np.ones((3, 3)), [])
    for result in (field, shift, flat, hill, high, level):
        drawn = result.image()
        assert drawn.dtype == np.uint8 and drawn.shape[2] == 3 and np.ptp(drawn) > 200
    deep = features.shift(nn.Sequential(nn.Conv2d(1, 2, 1), *(nn.ReLU() for _ in range(60))), x[:1], shifts=(1,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # where the names of all layers leave no room for the curves matplotlib warns
        assert deep.image().shape[:2] > shift.image().shape[:2] and len(deep.layers) > 60
    assert str(hill) == "loss 0 at the weights; least 0 at (0, 0), along the first direction 1 at -1 and 1 at 1"
    assert hill.to_dict()["most"] == 2
