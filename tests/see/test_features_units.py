"""Names of units, what units see, and what looking leaves as it was."""

import re

import numpy as np
import pytest

import minidl
from minidl import nn, see
from minidl.models import lenet5
from minidl.see import SeeError, features
from minidl.see.features.units import answer, answers, as_batch, find_path, score
from minidl.transfer import LayerNameError


def awkward(dtype: str = "float64") -> nn.Sequential:
    """Strides, paddings and dilations that differ by axis; a pool whose windows overlap."""
    net = nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        nn.ReLU(),
        nn.AvgPool2d((2, 3), stride=(1, 2), padding=(0, 1)),
        nn.Conv2d(3, 4, 2, bias=False),
    )
    with minidl.no_grad():
        for p in net.parameters():  # positive weights: no gradient can vanish by chance
            p.copy_(p.abs() + 0.1)
    return net.to(dtype)


def test_units_are_named_by_layer_and_numbers():
    net = lenet5()
    found = {
        text: features.find_unit(net, text) for text in ("conv2[3]", "features.3[3, 5,5]", "conv1", "output[7]", "7")
    }
    assert {text: str(unit) for text, unit in found.items()} == {
        "conv2[3]": "features.3[3]", "features.3[3, 5,5]": "features.3[3,5,5]", "conv1": "features.0",
        "output[7]": "output[7]", "7": "output[7]",
    }  # fmt: skip
    assert features.find_unit(net, 7) == features.find_unit(net, np.int64(7)) == found["7"]
    assert features.find_unit(net, found["7"]) is found["7"]
    named = nn.Sequential()
    named.add_module("conv2", nn.Conv2d(1, 1, 1))
    assert find_path(named, "conv2") == "conv2", "a module's own name comes before the count of convolutions"


@pytest.mark.parametrize(
    "unit, message",
    [
        ("conv2[x]", "'conv2[x]' names no unit: write conv2[3] for a channel, conv2[3,5,5] for one of its positions"),
        ("[3]", "'[3]' names no unit"),
        ("conv2[99]", "features.3[99]: features.3 has 16 channels, so 99 is outside 0 to 15"),
        ("conv2[3,5,10]", "features.3 has 10 positions on axis 2, so 10 is outside 0 to 9"),
        (
            "conv2[3,5]",
            "features.3 has shape (16, 10, 10) for an image: a unit has 1 number (channel, or 3: channel and",
        ),
        ("output[10]", "output[10]: output has 10 channels, so 10 is outside 0 to 9"),
        ("output[1,2]", "output has shape (10,) for an image: a unit has 1 number (channel), not 1, 2"),
        ("fc1", "a unit has 1 number (channel), not none"),
    ],
)
def test_units_that_there_are_not(unit, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        features.saliency(lenet5(), np.zeros((1, 1, 32, 32)), unit)


def test_layers_that_there_are_not():
    with pytest.raises(LayerNameError, match=r"LeNet5 has no layer 'features.30'; did you mean features.3 or"):
        features.saliency(lenet5(), np.zeros((1, 1, 32, 32)), "features.30[0]")
    with pytest.raises(
        SeeError, match=r"inputs have shape \(N, C, H, W\) with at least one image, not \(0, 1, 32, 32\)"
    ):
        features.saliency(lenet5(), np.zeros((0, 1, 32, 32)), 3)


def test_results_that_are_no_tensor_or_have_no_channels():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Total(nn.Module):
        def forward(self, x):
            return x.sum()

    x = minidl.ones(1, 2, 3, 3)
    with pytest.raises(SeeError, match="0 gives a tuple, and only a tensor can be looked at: name a layer inside"):
        answer(nn.Sequential(Pair(), nn.Identity()), "0", x)
    with pytest.raises(
        SeeError, match=r"output gives a result of shape \(\), which has no axes of images and channels"
    ):
        answer(Total(), "output", x)


def test_inputs_take_the_dtype_of_the_parameters():
    assert as_batch(lenet5().to("float64"), np.ones((1, 1, 32, 32), np.float32)).dtype == np.float64
    assert as_batch(nn.Flatten(), np.ones((1, 2), np.uint8)).dtype == np.float32
    assert as_batch(nn.Flatten(), np.ones((1, 2), np.float64)).dtype == np.float64


def test_looking_leaves_the_model_as_it_was():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)
    )
    net[1].eval()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    x = np.random.default_rng(0).standard_normal((3, 1, 8, 8))
    first = features.saliency(net, x, 1).map
    features.guided_backprop(net, x, 1)
    features.occlusion(net, x, 1, size=4)
    features.maximize(net, 1, shape=(1, 8, 8), steps=2)
    features.loss_surface(net, x, [0, 1, 2], points=3, dims=1)
    features.receptive_field(net, "0", images=x)
    assert [m.training for m in net.modules()] == modes
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    np.testing.assert_array_equal(features.saliency(net, x, 1).map, first), "dropout is off"


def test_the_score_of_a_channel_is_its_strongest_place_or_its_mean():
    y = minidl.tensor(np.random.default_rng(3).standard_normal((3, 2, 4, 5)))
    unit = features.Unit("layer", (1,))
    strongest, places = score(y, unit, "strongest")
    maps = y.numpy()[:, 1]
    np.testing.assert_array_equal(strongest.numpy(), maps.max((1, 2)))
    assert [maps[n][place] for n, place in enumerate(places)] == strongest.tolist()
    np.testing.assert_allclose(score(y, unit, "mean")[0].numpy(), maps.mean((1, 2)))
    assert score(y, features.Unit("layer", (1, 2, 3)), "mean")[0].tolist() == maps[:, 2, 3].tolist()


def test_answers_are_computed_in_batches():
    net, x = awkward(), np.random.default_rng(1).standard_normal((5, 2, 11, 9))
    np.testing.assert_allclose(answers(net, "2", x, batch=2), net[:3](minidl.tensor(x)).numpy(), rtol=1e-12)


# ---- what a unit sees ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", ["0", "1", "2", "3"])
def test_the_box_of_a_unit_is_the_support_of_its_gradient(layer, dtype):
    net, shape = awkward(dtype), (2, 11, 13)
    sight = features.sight(net, layer, shape)
    x = minidl.tensor(np.random.default_rng(0).random((1, *shape)) + 0.5, dtype=dtype, requires_grad=True)
    y = answer(net, layer, x)
    assert sight.positions == y.shape[2:]
    for place in np.ndindex(sight.positions):
        (g,) = minidl.autograd.grad(y[(0, 0, *place)], x, retain_graph=True)
        seen = np.argwhere(np.abs(g.numpy()[0]).sum(0) > 0)
        inside = sight.inside(place)
        assert all((axis.min(), axis.max()) == (s.start, s.stop - 1) for axis, s in zip(seen.T, inside)), place
        assert all(s.start >= b.start and s.stop <= b.stop for s, b in zip(inside, sight.box(place)))


def test_a_layer_without_positions_sees_the_whole_image():
    sight = features.sight(lenet5(), "fc1", (1, 32, 32))
    assert sight.box(()) == (range(32), range(32)) and sight.positions == ()


def test_a_layer_behind_a_resize_has_no_box():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2))
    with pytest.raises(
        SeeError,
        match=r"that slides over the input \(1, 8, 8\) \(a resize, a transposed convolution, circular padding",
    ):
        features.sight(net, "1", (1, 8, 8))


@pytest.mark.parametrize("layer", ["0", "1", "2", "3"])
def test_the_effective_field_lies_in_the_theoretical_one_and_fills_it(layer):
    found = features.receptive_field(awkward(), layer, input_shape=(2, 17, 21), samples=3)
    assert found.outside == 0
    inside = found.effect[found.sight.inside(found.position)]
    rows, columns = np.nonzero(inside)
    assert rows.min() == columns.min() == 0 and (rows.max() + 1, columns.max() + 1) == inside.shape
    assert 0 < found.effective_size <= np.sqrt(inside.size)
    assert f"{found.size[0]}x{found.size[1]} of 17x21" in str(found)


def test_the_effective_field_is_the_mean_gradient_of_a_linear_layer():
    """Of one convolution with one filter it is the size of its weights, whatever the inputs."""
    net = nn.Conv2d(2, 1, (3, 5), bias=False).to("float64")
    wrapped = nn.Sequential(net)
    found = features.receptive_field(wrapped, "0", input_shape=(2, 9, 11), samples=2, position=(4, 1))
    expected = np.zeros((9, 11))
    expected[4:7, 1:6] = np.abs(net.weight.detach().numpy()[0]).sum(0)
    np.testing.assert_allclose(found.effect, expected, rtol=1e-12)
    assert found.effective_size == pytest.approx(np.sqrt((expected > 0.0455 * expected.max()).sum()))


def test_the_effective_field_of_deep_networks_is_smaller_than_the_theoretical():
    """Luo et al. 2016: with random weights it is a Gaussian whose side grows with the root of the depth."""
    minidl.manual_seed(1)
    net = nn.Sequential(*(nn.Conv2d(1 if i == 0 else 4, 4, 3, padding=1) for i in range(8)))
    found = features.receptive_field(net, "7", input_shape=(1, 31, 31), samples=2)
    assert found.size == (17, 17) and found.effective_size < 13


def test_fields_that_cannot_be_asked():
    net = lenet5()
    with pytest.raises(SeeError, match=r"say what the inputs are: images \(N, C, H, W\), or input_shape"):
        features.receptive_field(net, "conv1")
    with pytest.raises(SeeError, match=r"features.0 has positions \(28, 28\), and \(28, 0\) is none of them"):
        features.receptive_field(net, "conv1", input_shape=(1, 32, 32), position=(28, 0))
    flat = nn.Sequential(nn.Conv1d(2, 1, 3))
    with pytest.raises(SeeError, match="a receptive field is drawn for images"):
        features.receptive_field(flat, "0", images=np.ones((1, 2, 9)))


def test_see_offers_features():
    assert see.features is features
