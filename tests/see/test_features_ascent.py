"""Maximisation, DeepDream, loss surfaces, and what a shift does: against closed forms and promises that can fail."""

import re

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.models import lenet5
from minidl.see import SeeError, features

RNG = np.random.default_rng


def convnet(seed: int = 2, dtype: str = "float32") -> nn.Sequential:
    minidl.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(48, 5)
    ).to(dtype)  # fmt: skip


# ---- maximisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [3, "conv2[1]", "conv2[1,0,2]"])
def test_ascent_raises_the_unit_many_times_over(unit):
    net = convnet()
    found = features.maximize(net, unit, shape=(2, 12, 12), steps=40, lr=0.1, seed=1)
    free = features.maximize(net, unit, shape=(2, 12, 12), steps=40, lr=0.1, seed=1, blur=0, jitter=0)
    assert found.after > 4 * abs(found.before) and free.after > 15 * abs(free.before) and free.before == found.before
    with minidl.no_grad():
        y = net(minidl.tensor(found.x[None])) if unit == 3 else net[:4](minidl.tensor(found.x[None]))
    expected = {3: lambda: y[0, 3], "conv2[1]": lambda: y[0, 1].mean(), "conv2[1,0,2]": lambda: y[0, 1, 0, 2]}[unit]()
    assert found.after == pytest.approx(expected.item(), rel=1e-5)


def test_the_seed_decides_every_bit():
    net = convnet()
    runs = [features.maximize(net, 2, shape=(2, 12, 12), steps=6, seed=s) for s in (5, 5, 6)]
    assert runs[0].x.tobytes() == runs[1].x.tobytes() and runs[0].scores == runs[1].scores
    assert runs[0].x.tobytes() != runs[2].x.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_optimum_of_a_linear_score_under_decay_is_known(dtype):
    """x <- (x + lr g / rms(g)) (1 - decay) has the fixed point lr (1 - decay) / decay g / rms(g)."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 2)).to(dtype)
    found = features.maximize(net, 1, shape=(2, 3, 3), steps=400, lr=0.25, decay=0.125, blur=0, jitter=0)
    w = net[1].weight.detach().numpy()[1].reshape(2, 3, 3).astype(np.float64)
    expected = 0.25 * 0.875 / 0.125 * w / np.sqrt((w**2).mean())
    np.testing.assert_allclose(found.x, expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert found.x.dtype == dtype and np.diff(found.scores).min() > -1e-5


def test_jitter_blur_and_colours_do_what_they_say():
    net = convnet()
    kept = features.Colours((0.5, 0.25), (0.25, 0.25))
    inside = features.maximize(net, 1, shape=(2, 12, 12), steps=30, lr=1.0, colours=kept)
    low, high = kept.limits(2)
    assert (inside.x >= low.astype("f")).all() and (inside.x <= high.astype("f")).all()
    assert (inside.x == low.astype("f")).any() and (inside.x == high.astype("f")).any()

    def roughness(x):
        return np.abs(np.diff(x)).mean() / np.abs(x).mean()

    options = {"shape": (2, 12, 12), "steps": 30}
    rough, smooth = (features.maximize(net, 1, **options, blur=b, blur_every=1, jitter=0) for b in (0, 1.0))
    assert roughness(smooth.x) < 0.7 * roughness(rough.x)
    still, moved = (features.maximize(net, 1, **options, blur=0, jitter=j) for j in (0, 3))
    assert still.scores != moved.scores and still.scores[0] == still.before
    begun = features.maximize(net, 1, start=np.ones((2, 12, 12), "f"), steps=1, blur=0, jitter=0, decay=0, lr=1e-3)
    assert np.abs(begun.x - 1).max() < 0.02


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "what shape has the input? shape=(C, H, W), or an image as start; got shape=None"),
        ({"shape": (2, 12)}, "got shape=(2, 12)"),
        ({"shape": (2, 12, 12), "steps": 0}, "steps is 1 at least, not 0"),
        ({"shape": (2, 12, 12), "decay": float("nan")}, "decay is 0 at least, not nan"),
        ({"shape": (2, 12, 12), "unit": 5}, "output has 5 channels, so 5 is outside 0 to 4"),
    ],
)
def test_ascents_that_cannot_begin(options, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        features.maximize(convnet(), **({"unit": 1} | options))


# ---- DeepDream -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["conv2", "conv2[1]"])
def test_every_octave_of_a_dream_raises_the_layer(unit):
    net = convnet()
    x = RNG(0).random((1, 2, 25, 31)).astype("f")
    found = features.dream(net, x, unit, octaves=3, ratio=1.5, steps=5, jitter=2)
    assert found.sizes == [(11, 14), (17, 21), (25, 31)] and found.x.shape == (2, 25, 31)
    assert all(end > begin for begin, end in found.scores)
    assert found.x.min() >= x.min() and found.x.max() <= x.max()
    with minidl.no_grad():
        y = net[:4](minidl.tensor(found.x[None])).numpy()
    y = y if unit == "conv2" else y[:, 1]
    assert found.scores[-1][1] == pytest.approx((y**2).mean(), rel=1e-5)
    again = features.dream(net, x, unit, octaves=3, ratio=1.5, steps=5, jitter=2)
    assert found.x.tobytes() == again.x.tobytes()


def test_a_step_of_a_dream_follows_the_answer_of_the_layer():
    """The gradient of half the sum of squares at the layer is the layer's own answer."""
    net, x = convnet(dtype="float64"), RNG(1).random((1, 2, 12, 12))
    found = features.dream(net, x, "conv2", octaves=1, steps=1, jitter=0, lr=1e-4)
    leaf = minidl.tensor(x, requires_grad=True)
    y = net[:4](leaf)
    (g,) = minidl.autograd.grad(y, leaf, y.detach())
    step = 1e-4 * np.ptp(x) * g.numpy()[0] / np.abs(g.numpy()).mean()
    np.testing.assert_allclose(found.x, np.clip(x[0] + step, x.min(), x.max()), rtol=1e-9)


def test_dreams_that_cannot_begin():
    with pytest.raises(SeeError, match="octaves is 1 at least, not 0"):
        features.dream(convnet(), np.ones((1, 2, 12, 12)), "conv1", octaves=0)
    with pytest.raises(
        SeeError, match=r"a dream begins with an image \(N, C, H, W\), not with an input of shape \(1, 3\)"
    ):
        features.dream(nn.Linear(3, 2), np.ones((1, 3)), "output")
    with pytest.raises(SeeError, match="0 has 4 channels, so 4 is outside 0 to 3"):
        features.dream(convnet(), np.ones((1, 2, 12, 12)), "conv1[4]")
    small = r"the smallest of 4 octaves, 12x12 of 32x32, is too small for features.3: take fewer octaves or a smaller"
    with pytest.raises(SeeError, match=small):
        features.dream(minidl.models.lenet5(), np.ones((1, 1, 32, 32)), "conv2")


# ---- loss surface ----------------------------------------------------------------------------------------------------


def normed(dtype: str = "float64") -> nn.Sequential:
    minidl.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).to(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dims", [1, 2])
def test_the_centre_of_the_surface_is_the_loss(dims, dtype):
    net, x, t = normed(dtype), RNG(4).standard_normal((7, 1, 6, 6)).astype(dtype), [0, 3, 1, 2, 2, 0, 1]
    found = features.loss_surface(net, x, t, dims=dims, points=5, span=0.5, batch=7)
    with minidl.no_grad():
        expected = nn.functional.cross_entropy(net.eval()(minidl.tensor(x)), minidl.tensor(t)).item()
    assert found.centre == expected, "the weights themselves, to the bit"
    assert found.losses.shape == (5,) * dims and found.steps.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    parts = features.loss_surface(net, x, t, dims=dims, points=5, span=0.5, batch=3)
    np.testing.assert_allclose(parts.losses, found.losses, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_directions_have_filters_as_long_as_the_networks():
    net = normed()
    direction = features.filter_normalised(net, RNG(0))
    assert list(direction) == ["0.weight", "4.weight"], "no biases, nothing of batch norm"
    for name, d in direction.items():
        w = dict(net.named_parameters())[name].detach().numpy()
        rows = [v.reshape(len(v), -1) for v in (w, d)]
        np.testing.assert_allclose(*(np.linalg.norm(r, axis=1) for r in rows), rtol=1e-9)
        assert abs((rows[0] * rows[1]).sum()) < 0.9 * (rows[0] ** 2).sum(), "in a direction of their own"


def test_a_point_of_the_surface_is_the_loss_of_the_moved_weights():
    net, x, t = normed(), RNG(5).standard_normal((4, 1, 6, 6)), [0, 1, 2, 3]
    found = features.loss_surface(net, x, t, points=3, span=0.25, seed=9)
    twin = normed().eval()
    with minidl.no_grad():
        for name, p in twin.named_parameters():
            if name in found.directions[0]:
                p.copy_(p + minidl.tensor(-0.25 * found.directions[0][name] + 0.25 * found.directions[1][name]))
        expected = nn.functional.cross_entropy(twin(minidl.tensor(x)), minidl.tensor(t)).item()
    assert found.losses[0, 2] == pytest.approx(expected, rel=1e-12)


def test_the_surface_of_a_linear_model_with_a_square_loss_is_a_parabola():
    net = nn.Sequential(nn.Linear(6, 3, bias=False)).to("float64")
    x, t = RNG(6).standard_normal((5, 6)), RNG(7).standard_normal((5, 3))
    found = features.loss_surface(net, x, t, loss="mse_loss", dims=1, points=9, span=2.0)
    coefficients = np.polyfit(found.steps, found.losses, 2)
    np.testing.assert_allclose(np.polyval(coefficients, found.steps), found.losses, rtol=1e-9)
    d = found.directions[0]["0.weight"]
    assert coefficients[0] == pytest.approx(((x @ d.T) ** 2).mean(), rel=1e-9)


def test_weights_come_back_when_the_loss_fails():
    net = normed()
    before = [p.numpy().copy() for p in net.parameters()]

    def breaks(y, t):
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        features.loss_surface(net, np.ones((2, 1, 6, 6)), [0, 1], loss=breaks, points=3)
    assert all(np.array_equal(p.numpy(), b) for p, b in zip(net.parameters(), before))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"points": 4}, "an odd number of points from 3 on and a span above 0, got dims=2, points=4, span=1"),
        ({"dims": 3}, "a surface has 1 or 2 dims"),
        (
            {"loss": "no_such_loss"},
            "there is no loss called 'no_such_loss' in minidl.nn.functional; try 'cross_entropy'",
        ),
        ({"target": [1]}, "2 inputs but 1 targets"),
        ({"model": nn.Flatten()}, "Flatten has no weights (of two axes or more) that could move"),
    ],
)
def test_surfaces_that_there_are_not(options, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        features.loss_surface(**({"model": normed(), "x": np.ones((2, 1, 6, 6)), "target": [0, 1]} | options))


# ---- shifting --------------------------------------------------------------------------------------------------------


def circular(stride: int = 1) -> nn.Sequential:
    minidl.manual_seed(6)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(3, 4, (1, 5), stride=(1, stride), padding=(0, 2), padding_mode="circular"),
    ).to("float64")


@pytest.mark.parametrize("axis", [0, 1])
def test_circular_convolutions_of_stride_1_follow_exactly(axis):
    x = RNG(8).standard_normal((2, 2, 8, 12))
    found = features.shift(circular(), x, ["0", "1", "2"], shifts=(1, 3, -2), axis=axis, wrap=True)
    for layer in found.layers:
        assert layer.jump == 1 and layer.equivariance.max() < 1e-14
        assert layer.change.min() > 0.5 and layer.changed.min() > 0.3
    at_0 = features.shift(circular(), x, ["2"], shifts=(0,), axis=axis, wrap=True).layers[0]
    assert at_0.change.tolist() == at_0.changed.tolist() == [0]


def test_strides_follow_whole_steps_only():
    x = RNG(9).standard_normal((1, 2, 6, 12))
    found = features.shift(circular(3), x, ["2"], shifts=(1, 2, 3, 6), wrap=True).layers[0]
    assert found.jump == 3
    assert found.equivariance[[2, 3]].max() < 1e-14 and found.equivariance[[0, 1]].min() > 0.1
    rows = features.shift(circular(3), x, ["2"], shifts=(1, 2), axis=0, wrap=True).layers[0]
    assert rows.jump == 1 and rows.equivariance.max() < 1e-14


def test_positions_that_see_the_border_do_not_count():
    """With zero padding the seam and the border would break equivariance; what lies inside follows all the same."""
    x = RNG(10).standard_normal((2, 1, 32, 32))
    found = features.shift(lenet5(), x, shifts=(1, 2, 4, -4), axis=0)
    named = {layer.name: layer for layer in found.layers}
    assert [layer.jump for layer in found.layers] == [1, 1, 2, 2, 2, 4, 0]
    for name, multiple in (("features.0", 1), ("features.2", 2), ("features.3", 2), ("features.5", 4)):
        exact = np.array([s % multiple == 0 for s in found.shifts])
        assert named[name].equivariance[exact].max() < 1e-5
        assert not (~exact).any() or named[name].equivariance[~exact].min() > 0.05
    assert np.isnan(named["output"].equivariance).all() and (named["output"].changed == 1).all()
    padded = features.shift(nn.Sequential(nn.Conv2d(1, 2, 5, padding=2)), x, ["0"], shifts=(3,))
    assert padded.layers[0].equivariance[0] < 1e-6
    wrapped = features.shift(nn.Sequential(nn.Conv2d(1, 2, 5, padding=2)), x, ["0"], shifts=(3,), wrap=True)
    assert wrapped.layers[0].equivariance[0] > 0.05, "zero padding is no circular padding"


def test_max_pooling_changes_half_as_many_numbers_as_goodfellow_draws():
    """Deep Learning, figure 9.8: every value of the row changes, of those pooled over three neighbours half do."""
    row = np.array([0.1, 1.0, 0.2, 0.1, 0.05, 0.3])[None, None, None]  # 0.3 enters from the left
    pool = nn.Sequential(nn.Identity(), nn.MaxPool2d((1, 3), stride=1))
    found = features.shift(pool, row, ["0", "1"], shifts=(1,), wrap=True)
    before = np.array([max(row[0, 0, 0, i : i + 3]) for i in range(4)])
    moved = np.roll(row, 1)[0, 0, 0]
    after = np.array([max(moved[i : i + 3]) for i in range(4)])
    assert found.layers[1].changed[0] == (before != after).mean() == 0.5
    assert found.layers[0].changed[0] == 1
    smooth = np.abs(RNG(11).standard_normal((1, 1, 64, 64)))
    both = features.shift(nn.Sequential(nn.Identity(), nn.MaxPool2d(5, stride=1)), smooth, ["0", "1"], shifts=(1,))
    assert both.layers[1].change[0] < 0.5 * both.layers[0].change[0] and both.layers[1].changed[0] < 0.6


def test_layers_that_do_not_slide_and_shifts_that_leave_nothing():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2))
    found = features.shift(net, np.ones((1, 1, 9, 9)), ["1"], shifts=(1,)).layers[0]
    assert found.jump == 0 and np.isnan(found.equivariance).all() and found.to_dict()["equivariance"] == [None]
    wide = features.shift(nn.Sequential(nn.Conv2d(1, 1, 7)), RNG(0).random((1, 1, 9, 9)), ["0"], shifts=(2, 5)).layers[
        0
    ]
    assert wide.equivariance[0] < 1e-6 and np.isnan(wide.equivariance[1]), (
        "a shift by 5 leaves 4 columns for a field of 7"
    )
    text = str(features.shift(lenet5(), np.ones((1, 1, 32, 32)), shifts=(1, 20)))
    assert text.splitlines()[1].split() == ["step", "1", "20"] and "---" in text


@pytest.mark.parametrize(
    "options, message",
    [
        ({"axis": 2}, "images (N, C, H, W) are moved along axis 0 (rows) or 1 (columns); got (1, 1, 32, 32)"),
        ({"shifts": (32,)}, "shifts are whole pixels below 32, the image's length on that axis, not [32]"),
        ({"shifts": ()}, "shifts are whole pixels below 32"),
    ],
)
def test_shifts_that_there_are_not(options, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        features.shift(lenet5(), np.ones((1, 1, 32, 32)), **options)


def test_layers_of_a_shift_give_tensors():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(SeeError, match="0 gives a tuple, and only a tensor can be compared: name a layer inside"):
        features.shift(nn.Sequential(Pair(), nn.Identity()), np.ones((1, 1, 4, 4)), ["0"], shifts=(1,))
