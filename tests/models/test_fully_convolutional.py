"""Fully connected layers as convolutions and back: what is exact, and what only looks so."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models._convnet import ConvNet
from tests.checks.models import layer_shapes, narrow_head, sizes


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


def small_net(padding, rng):
    """A net with a stride of 4 in all and a 5x4 map in front of its fully connected layers."""
    features = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 7, (3, 2), stride=(2, 2), padding=padding),
        nn.ReLU(),
    )
    classifier = nn.Sequential(nn.Linear(7 * 5 * 4, 11), nn.ReLU(), nn.Dropout(), nn.Linear(11, 9), nn.Linear(9, 4))
    net = ConvNet(features, classifier).to("float64").eval()
    with minidl.no_grad():
        for p in net.parameters():
            p.copy_(minidl.tensor(rng.standard_normal(p.shape) * 0.3))
    return net


def crops_and_map(padding, size=(24, 18)):
    """Scores of all crops at a distance of 4, one by one, and the map of the whole image: both (4, P, Q)."""
    rng = np.random.default_rng(3)
    net = small_net(padding, rng)
    h, w = size
    image = rng.standard_normal((1, 3, h + 12, w + 8))
    whole = models.to_fully_convolutional(net, (5, 4))(minidl.tensor(image)).detach().numpy()[0]
    crops = np.stack(
        [
            np.stack([net(minidl.tensor(image[:, :, i : i + h, j : j + w])).detach().numpy()[0] for j in (0, 4, 8)])
            for i in (0, 4, 8, 12)
        ]
    )
    return crops.transpose(2, 0, 1), whole


def test_without_padding_the_map_is_the_crops():
    crops, whole = crops_and_map(padding=0)
    assert whole.shape == (4, 4, 3)
    np.testing.assert_allclose(whole, crops, rtol=1e-12, atol=1e-12)


def test_with_padding_it_is_not():
    """What the lecture calls identical: the crops have zeros around them where the image goes on."""
    crops, whole = crops_and_map(padding=1, size=(20, 14))
    assert whole.shape == crops.shape
    difference = np.linalg.norm(whole - crops, axis=0) / np.linalg.norm(crops, axis=0)
    assert difference.min() > 0.01


def test_at_the_size_of_training_both_forms_of_vgg_agree(monkeypatch):
    """224 pixels give 1x1 scores, those of the fully connected form, padding or not."""
    monkeypatch.setattr("minidl.models.vgg.MAPS", (4, 4, 8, 8, 8))
    narrow_head(monkeypatch, "vgg", 50)
    net = models.vgg16(num_classes=10).to("float64").eval()
    with minidl.no_grad():
        for p in net.parameters():
            p.copy_(minidl.tensor(np.random.default_rng(p.numel()).standard_normal(p.shape) * 0.2))
    x = minidl.tensor(np.random.default_rng(5).standard_normal((2, 3, 224, 224)))
    expected = net(x).detach().numpy()
    got = models.to_fully_convolutional(net)(x).detach().numpy()
    assert got.shape == (2, 10, 1, 1) and np.abs(expected).max() > 0
    np.testing.assert_allclose(got[:, :, 0, 0], expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())


def test_the_lectures_sizes():
    """384 -> 12x12x512 -> 6x6x1000, one score for each of the crops at a distance of 32: 224 + 5 * 32 = 384."""
    net = shell("vgg16_fc_conv_384")
    assert sizes(net, (3, 384, 384))[-4:] == [(512, 12, 12), (4096, 6, 6), (4096, 6, 6), (1000, 6, 6)]
    assert sizes(net, (3, 224, 224))[-3:] == [(4096, 1, 1), (4096, 1, 1), (1000, 1, 1)]
    alexnet = shell("alexnet_fc_conv")
    assert sizes(alexnet, (3, 227, 227))[-4:] == [(256, 6, 6), (4096, 1, 1), (4096, 1, 1), (1000, 1, 1)]
    assert alexnet.classifier[0].weight.shape == (4096, 256, 6, 6)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_grouped", "zfnet", "vgg11_bn"])
def test_names_and_elements_stay(name):
    net = shell(name)
    dense = models.to_fully_convolutional(net)
    before, after = net.state_dict(), dense.state_dict()
    assert list(before) == list(after)
    assert [v.numel() for v in before.values()] == [v.numel() for v in after.values()]
    assert not any(isinstance(m, nn.Linear) for m in dense.modules())
    assert dense.training == net.training


def test_there_and_back_is_the_same_network():
    rng = np.random.default_rng(8)
    net = small_net(1, rng)
    dense = models.to_fully_convolutional(net, (5, 4))
    back = models.to_fully_connected(dense)
    assert [repr(m) for m in back.classifier] == [repr(m) for m in net.classifier]
    x = minidl.tensor(rng.standard_normal((3, 3, 20, 14)))
    np.testing.assert_array_equal(back(x).detach().numpy(), net(x).detach().numpy())
    # other sizes go through an adaptive pooling to the 5x4 that the layer takes
    assert layer_shapes(back, (3, 40, 40), (nn.AdaptiveAvgPool2d,)) == [("AdaptiveAvgPool2d", (7, 5, 4))]


def test_weights_are_the_same_memory():
    net = small_net(0, np.random.default_rng(1))
    net.classifier[3].weight.requires_grad_(False)
    dense = models.to_fully_convolutional(net, (5, 4))
    with minidl.no_grad():
        dense.classifier[0].weight.add_(1)
    flat = net.classifier[0].weight.detach().numpy()
    np.testing.assert_array_equal(dense.classifier[0].weight.detach().numpy(), flat.reshape(11, 7, 5, 4))
    assert dense.features is net.features
    assert [p.requires_grad for p in dense.classifier.parameters()] == [True, True, False, True, True, True]


def test_gradients_of_both_forms_agree():
    rng = np.random.default_rng(2)
    net = small_net(1, rng)
    dense = models.to_fully_convolutional(net, (5, 4))
    x, g = rng.standard_normal((3, 3, 20, 14)), rng.standard_normal((3, 4))
    got = []
    for model, shape in ((net, (3, 4)), (dense, (3, 4, 1, 1))):
        inputs = minidl.tensor(x, requires_grad=True)
        model.zero_grad()
        model(inputs).backward(minidl.tensor(g.reshape(shape)))
        got.append([inputs.grad.numpy(), *(p.grad.numpy().ravel().copy() for p in model.parameters())])
    for a, b in zip(*got):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


def test_sizes_that_do_not_fit_are_explained():
    net = small_net(0, np.random.default_rng(0))
    with pytest.raises(models.ModelOptionError, match=r"takes 140 values, but 7 maps of 4x4 are 112; .* h \* w = 20"):
        models.to_fully_convolutional(net)
    with pytest.raises(models.ModelOptionError, match="7 maps of 5x5 are 175"):
        models.to_fully_convolutional(net, (5, 5))


def test_convolutions_that_are_no_fully_connected_layers_are_refused():
    classifier = nn.Sequential(nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 3))
    with pytest.raises(models.ModelOptionError, match="only the first may be larger than 1x1"):
        models.to_fully_connected(models.FullyConvolutional(nn.Sequential(), classifier))
    for options in ({"padding": 1}, {"stride": 2}, {"dilation": 2}, {"groups": 2}):
        classifier = nn.Sequential(nn.Conv2d(4, 6, 3, **options))
        with pytest.raises(models.ModelOptionError, match="no fully connected layer"):
            models.to_fully_connected(models.FullyConvolutional(nn.Sequential(), classifier))


def test_a_network_without_a_convolution_to_turn_back() -> None:
    with pytest.raises(models.ModelOptionError, match="the classifier of LeNet5 has no convolution to turn back"):
        models.to_fully_connected(models.lenet5())
