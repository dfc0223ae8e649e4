"""The picture of what algorithms compute on the way: its colours are those of the pixels, its panels the arrays."""

import numpy as np
import pytest

from minidl import see
from minidl.__main__ import main
from minidl.see.algorithm_picture import source_colours

RNG = np.random.default_rng


def table(x=(2, 3, 6, 5), w=(4, 3, 3, 2), **options):
    rng = RNG(3)
    options = {"padding": 1, "stride": 2, **options}
    return see.algorithms(rng.standard_normal(x), rng.standard_normal(w), repeats=1, **options)


def test_each_pixel_has_a_colour_of_its_own_and_padding_is_white():
    shape = (3, 5, 7)
    colours = source_colours(np.arange(105), shape)
    assert len({tuple(c) for c in colours.round(6).tolist()} | {(1.0, 1.0, 1.0)}) == 106
    assert colours.min() >= 0 and colours.max() <= 1
    assert source_colours(np.array([[-1]]), shape).tolist() == [[[1.0, 1.0, 1.0]]]


def test_the_columns_are_painted_with_the_pixels_that_they_copy():
    found = see.Intermediates(table())
    steps = next(s for s in found.table.steps if s.sources is not None)
    panels = dict(found._by_pixel(steps.sources[0]))
    assert list(panels) == ["x, channel 0", "x, channel 1", "x, channel 2", "im2col: columns, by the pixel of x"]
    columns = panels.pop("im2col: columns, by the pixel of x")
    zoom = columns.shape[0] // steps.sources.shape[1]
    matrix = columns[::zoom, ::zoom]
    keys = [key[:: key.shape[0] // 6, :: key.shape[1] // 5] for key in panels.values()]
    assert matrix.shape[:2] == steps.sources.shape[1:] and all(key.shape == (6, 5, 3) for key in keys)
    for row, column in np.ndindex(*matrix.shape[:2]):
        pixel = steps.sources[0, row, column]
        expected = [255, 255, 255] if pixel < 0 else keys[pixel // 30][pixel // 5 % 6, pixel % 5].tolist()
        assert matrix[row, column].tolist() == expected


@pytest.mark.parametrize("pass_", ["forward", "input_grad", "weight_grad"])
@pytest.mark.parametrize(
    "x, w, options",
    [
        ((2, 3, 6, 5), (4, 3, 3, 2), {}),
        ((1, 4, 7), (2, 2, 3), {"groups": 2}),
        ((1, 1, 4, 5, 4), (2, 1, 2, 3, 2), {"stride": 1}),
        ((1, 1, 70, 60), (1, 1, 3, 3), {"stride": 1}),
    ],
)
def test_every_pass_and_dimension_can_be_drawn(pass_, x, w, options):
    found = see.Intermediates(table(x, w, **options), pass_)
    image = found.image()
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.std() > 1
    assert f"{pass_} by im2col: " in str(found) and f"{pass_} by fft: X " in str(found)
    assert found.to_dict()["pass"] == pass_ and len(found.to_dict()["steps"]) == len(str(found).splitlines())


def test_what_cannot_be_drawn():
    passes = "a convolution has the passes forward, input_grad, weight_grad, and no 'backward'"
    with pytest.raises(see.SeeError, match=passes):
        see.Intermediates(table(), "backward")
    with pytest.raises(see.SeeError, match="this table was made with steps=False: there is nothing to draw"):
        see.Intermediates(table(steps=False))


def test_the_command_writes_the_picture(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["algorithms", "1,1,6,6", "1,1,3,3", "--repeats", "1", "-o"]
    assert main([*arguments, "a.png", "--pass", "weight_grad"]) == 0
    assert capsys.readouterr().out.endswith("picture: a.png\n") and (tmp_path / "a.png").stat().st_size > 1000
    assert main([*arguments, "a.gif"]) == 2
    assert "a picture is written as .png, .jpg or .webp" in capsys.readouterr().err


def test_the_gradient_of_a_table_is_not_its_input_drawn_again():
    x = RNG(0).standard_normal((1, 1, 4, 4))
    found = see.algorithms(x, np.ones((1, 1, 1, 1)), repeats=1)
    g = next(s for s in found.steps if s.pass_ == "weight_grad").arrays["cotangent"]
    assert not np.isclose(g.ravel(), x.ravel()).any()
