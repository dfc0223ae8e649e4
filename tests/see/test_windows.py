"""The shape explorer agrees with the layers, and draws what it says; errors draw the same picture."""

import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import minidl
from minidl import see
from minidl.kernels import drawing
from minidl.kernels.cpu import winograd_tiles
from minidl.kernels.errors import ShapeError
from minidl.kernels.geometry import Conv
from minidl.kernels.spec import conv as definition
from minidl.kernels.spec import error_bounds

F = minidl.nn.functional


@hypothesis.given(
    st.integers(1, 14), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.booleans()
)
@hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
def test_counts_are_those_of_the_convolution(size, kernel, stride, padding, dilation, ceil):
    side = see.window(size, kernel, stride, padding, dilation, ceil).sides[0]
    if side.floor < 1:
        with pytest.raises(ShapeError):
            F.conv1d(minidl.ones(1, 1, size), minidl.ones(1, 1, kernel), None, stride, padding, dilation)
        return
    x, w = minidl.ones(1, 1, size).requires_grad_(), minidl.ones(1, 1, kernel)
    y = F.conv1d(x, w, None, stride, padding, dilation)
    assert y.shape[-1] == side.floor
    if not ceil:
        y.sum().backward()
        assert x.grad.numpy().ravel().astype(int).tolist() == side.reads
        assert side.unread == [i for i, n in enumerate(side.reads) if n == 0]
        for n, extra in side.output_padding.items():
            back = F.conv_transpose1d(y.detach(), w, None, stride, padding, extra, dilation=dilation)
            assert back.shape[-1] == n
        assert side.same_output == [
            n for n in range(1, 40) if see.window(n, kernel, stride, padding, dilation).out == (side.out,)
        ]


def test_ceil_rule_is_that_of_the_pools():
    w = see.window((8, 9), 3, 2, 1, ceil_mode=True)
    assert F.max_pool2d(minidl.ones(1, 1, 8, 9), 3, 2, 1, ceil_mode=True).shape[2:] == w.out
    assert [s.letter for s in w.sides] == ["P", "Q"]
    assert "the ceil rule adds a window over the rest" in str(w)
    json.dumps(w.to_dict())


def test_the_drawing():
    text = str(see.window(7, 3, stride=3, dilation=2))
    assert text.splitlines()[:4] == [
        "P = (7 + 2*0 - 2*(3-1) - 1)//3 + 1 = 1",
        "  x         0  1  2  3  4  5  6",
        "  window 0  #  -  #  -  #",
        "  left over                #  #",
    ]
    assert "dilation 2: 3 taps span 5 positions with 2 holes" in text
    assert "left over: 2 padded positions behind the last window" in text
    assert "never read: 1, 3, 5, 6" in text
    assert "the last window hangs over by 1 positions" in str(see.window(4, 3, 2, ceil_mode=True))
    assert "no window fits: it spans 5 positions, the padded input has 3" in str(see.window(3, 5))
    assert drawing.axis(100, 3) == []
    assert "... 8 more windows" in drawing.axis(20, 1, windows=20)


def test_errors_draw_the_window_that_does_not_fit():
    with pytest.raises(ShapeError) as caught:
        F.conv2d(minidl.ones(1, 1, 2, 9), minidl.ones(1, 1, 5, 3), padding=(1, 0))
    lines = str(caught.value).splitlines()
    at = next(i for i, line in enumerate(lines) if "P = (2 + 2*1 - 1*(5-1) - 1)//1 + 1 = 0" in line)
    assert [line.strip() for line in lines[at + 1 : at + 3]] == ["x         .  0  1  .", "window 0  #  #  #  #  X"]


def test_mistakes():
    with pytest.raises(see.SeeError, match="stride must be at least 1 on every axis, got stride = "):
        see.window(5, 3, 0)
    with pytest.raises(see.SeeError, match="padding must not be negative, got"):
        see.window(5, 3, 1, -1)


def test_bounds_are_those_of_the_transform_that_runs():
    """5 x 5 taps have another than 3 x 3, and none is the twin's own default."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 3, 9, 8)).astype(np.float32)
    for taps in (3, 5):
        w = rng.standard_normal((4, 3, taps, taps)).astype(np.float32)
        conv = Conv.from_shapes(x.shape, w.shape)
        g = rng.standard_normal(conv.y_shape).astype(np.float32)
        operands = {"forward": (x, w), "input_grad": (w, g), "weight_grad": (x, g)}
        for row in see.algorithms(x, w, g=g, repeats=1, steps=False).rows:
            if row.algorithm == "winograd":
                a, b = operands[row.pass_]
                ran = winograd_tiles.options(row.pass_, conv)
                bound = error_bounds.error_bound("winograd", row.pass_, a, b, conv, x.dtype, **ran).max()
                truth = getattr(definition, row.pass_)(a.astype(np.float64), b.astype(np.float64), conv)
                np.testing.assert_allclose(row.bound, bound / np.abs(truth).max(), rtol=1e-12)


def test_algorithms_side_by_side():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 7, 6)).astype(np.float32), rng.standard_normal((6, 2, 3, 3)).astype(np.float32)
    table = see.algorithms(x, w, padding=1, groups=2, repeats=1)
    assert [sum(r.pass_ == p for r in table.rows) for p in ("forward", "input_grad", "weight_grad")] == [6, 6, 6]
    assert sum(r.chosen for r in table.rows) == 3
    for r in table.rows:
        assert r.reason or (r.seconds > 0 and r.error <= r.bound)
    for s in table.steps:
        expected = {"forward": (2, 6, 7, 6), "input_grad": (2, 4, 7, 6), "weight_grad": (6, 2, 3, 3)}[s.pass_]
        last = list(s.arrays)[-1] if s.algorithm == "im2col" else "result"
        assert s.arrays[last].shape == expected
    columns = table.steps[0]
    flat = np.concatenate([x[0].ravel(), [0.0]])  # -1 reads the 0 at the end
    np.testing.assert_array_equal(columns.arrays["columns"][0], flat[columns.sources])
    text = str(table)
    assert "> " in text and "steps of winograd" in text
    json.dumps(table.to_dict(values=True))
    refused = see.algorithms(minidl.tensor(x), minidl.tensor(w), stride=2, groups=2, repeats=1, steps=False)
    assert "cannot: Winograd needs stride 1" in str(refused) and not refused.steps
    many = see.algorithms(x[:, :, :1], rng.standard_normal((2, 4, 1, 12)).astype(np.float32), padding=6, repeats=1)
    assert not any(s.algorithm == "winograd" for s in many.steps)
