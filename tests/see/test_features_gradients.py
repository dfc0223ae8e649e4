"""Saliency, deconvnet, guided backpropagation and Grad-CAM against computations of their own."""

import re
import threading

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.models import lenet5
from minidl.see import SeeError, features
from minidl.see.features import relu_backward

KINDS = {"gradient": features.saliency, "deconvnet": features.deconvnet, "guided": features.guided_backprop}


def small(dtype: str = "float64", seed: int = 0) -> nn.Sequential:
    minidl.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(3, 4, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 2 * 4, 5),
    ).to(dtype)


def images(n: int = 2, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(7).standard_normal((n, 2, 7, 7)).astype(dtype)


def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride=(1, 1), pad=(0, 0)) -> np.ndarray:
    """One image (C, H, W), by loops."""
    x = np.pad(x, ((0, 0), (pad[0],) * 2, (pad[1],) * 2))
    r, s = w.shape[2:]
    p, q = (x.shape[1] - r) // stride[0] + 1, (x.shape[2] - s) // stride[1] + 1
    y = np.zeros((len(w), p, q))
    for i, j in np.ndindex(p, q):
        window = x[:, i * stride[0] : i * stride[0] + r, j * stride[1] : j * stride[1] + s]
        y[:, i, j] = (w * window).sum((1, 2, 3)) + b
    return y


def conv_back(g: np.ndarray, w: np.ndarray, shape, stride=(1, 1), pad=(0, 0)) -> np.ndarray:
    """Each output's signal back through the filter that made it."""
    c, h, width = shape
    dx = np.zeros((c, h + 2 * pad[0], width + 2 * pad[1]))
    r, s = w.shape[2:]
    for k, i, j in np.ndindex(g.shape):
        dx[:, i * stride[0] : i * stride[0] + r, j * stride[1] : j * stride[1] + s] += g[k, i, j] * w[k]
    return dx[:, pad[0] : pad[0] + h, pad[1] : pad[1] + width]


def by_hand(net: nn.Sequential, x: np.ndarray, unit: int, rule: str) -> np.ndarray:
    """The whole backward pass of ``small`` in NumPy, with each of the three rules written out."""
    w1, b1, w2, b2, w3 = (p.detach().numpy() for p in list(net.parameters())[:5])
    a1 = conv(x, w1, b1, (2, 1), (1, 0))
    h1 = np.maximum(a1, 0)
    p, q = h1.shape[1] - 1, h1.shape[2] - 1
    pooled, winner = np.zeros((3, p, q)), {}
    for k, i, j in np.ndindex(3, p, q):
        window = h1[k, i : i + 2, j : j + 2]
        r, s = np.unravel_index(window.argmax(), (2, 2))
        winner[k, i, j], pooled[k, i, j] = (i + r, j + s), window.max()
    a2 = conv(pooled, w2, b2)

    def relu_back(g: np.ndarray, a: np.ndarray) -> np.ndarray:
        if rule == "gradient":
            return g * (a > 0)
        return np.maximum(g, 0) if rule == "deconvnet" else np.maximum(g, 0) * (a > 0)

    g = relu_back(w3[unit].reshape(a2.shape), a2)
    g = conv_back(g, w2, pooled.shape)
    unpooled = np.zeros_like(h1)
    for (k, i, j), (r, s) in winner.items():
        unpooled[k, r, s] += g[k, i, j]
    return conv_back(relu_back(unpooled, a1), w1, x.shape, (2, 1), (1, 0))


@pytest.mark.parametrize("rule", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_rule_is_the_backward_pass_written_out(rule, dtype):
    net, x = small(dtype), images(dtype=dtype)
    found = KINDS[rule](net, x, 3)
    expected = np.stack([by_hand(net, one.astype(np.float64), 3, rule) for one in x])
    assert np.abs(expected).max() > 0.01 and found.gradient.dtype == dtype
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(found.gradient, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    np.testing.assert_array_equal(found.map, np.abs(found.gradient).max(1))


def test_saliency_is_what_finite_differences_say():
    net, x = small(), images(1)
    found = features.saliency(net, x, 2)
    h = 1e-6
    for place in [(0, 0, 0), (1, 3, 4), (0, 6, 6), (1, 2, 0), (0, 4, 1)]:
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[(0, *place)] += sign * h
            with minidl.no_grad():
                values.append(net(minidl.tensor(moved))[0, 2].item())
        assert found.gradient[0][place] == pytest.approx((values[0] - values[1]) / (2 * h), abs=1e-7)


def test_the_three_rules_differ_as_they_should():
    """In a network of one ReLU: the deconvnet drops negative signals, the gradient dead units, guided drops both."""
    net = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(4, 1, bias=False))
    with minidl.no_grad():
        net[2].weight.copy_(minidl.tensor([[2.0, -3.0, 5.0, -7.0]]))
    x = np.array([[[[1.0, 1.0, -1.0, -1.0]]]])
    found = {rule: kind(net, x, 0).gradient.ravel().tolist() for rule, kind in KINDS.items()}
    assert found == {"gradient": [2, -3, 0, 0], "deconvnet": [2, 0, 5, 0], "guided": [2, 0, 0, 0]}


def test_guided_is_zero_where_the_deconvnet_or_the_units_are():
    """With a single ReLU on the way guided backpropagation is the deconvnet's signal where the units were awake."""
    net, x = small(), images(1)
    with minidl.no_grad():
        awake = (net[0](minidl.tensor(x)) > 0).numpy()
    signals = {}
    for rule in KINDS:
        kept = []
        with relu_backward(rule):
            y = net[1](net[0](minidl.tensor(x)).detach().requires_grad_())
        top = minidl.tensor(np.random.default_rng(1).standard_normal(y.shape))
        leaf = y._node.edges[0].leaf
        kept = minidl.autograd.grad(y, leaf, top)[0].numpy()
        signals[rule] = kept
    np.testing.assert_array_equal(signals["guided"], signals["deconvnet"] * awake)
    np.testing.assert_array_equal(signals["guided"], np.maximum(signals["gradient"], 0))
    assert (signals["deconvnet"][~awake] > 0).any() and (signals["gradient"] < 0).any()


def test_the_rule_belongs_to_what_runs_inside_the_context():
    x = minidl.tensor([-1.0, 2.0], requires_grad=True)
    outside = x.relu()
    with relu_backward("deconvnet") as counted:
        inside = x.relu()
        with minidl.no_grad():
            x.relu()
    top = minidl.tensor([3.0, -4.0])
    assert counted.count == 2
    assert minidl.autograd.grad(outside, x, top)[0].tolist() == [0, -4]
    assert minidl.autograd.grad(inside, x, top)[0].tolist() == [3, 0], "also after the context has ended"
    assert minidl.autograd.grad(x.relu(), x, top)[0].tolist() == [0, -4]
    assert inside._node.primitive is not outside._node.primitive is x.relu()._node.primitive
    with pytest.raises(SeeError, match="ReLU is differentiated by 'gradient', 'deconvnet' or 'guided', not 'other'"):
        relu_backward("other")


def test_other_threads_keep_the_gradient():
    found = []

    def other():
        x = minidl.tensor([-1.0], requires_grad=True)
        found.append(minidl.autograd.grad(x.relu(), x)[0].item())

    with relu_backward("deconvnet") as counted:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [0] and counted.count == 0


def test_without_a_class_the_best_of_each_image_is_taken():
    net, x = small(), images(3)
    with minidl.no_grad():
        best = net(minidl.tensor(x)).numpy()
    found = features.saliency(net, x)
    assert [unit.index for unit in found.units] == [(k,) for k in best.argmax(1)]
    np.testing.assert_allclose(found.scores, best.max(1))
    for i, k in enumerate(best.argmax(1)):
        np.testing.assert_allclose(
            found.gradient[i], features.saliency(net, x[i : i + 1], int(k)).gradient[0], rtol=1e-9
        )


def test_a_channel_is_asked_at_its_strongest_place():
    net, x = small(), images(2)
    found = features.guided_backprop(net, x, "conv2[1]")
    with minidl.no_grad():
        maps = net[:4](minidl.tensor(x)).numpy()[:, 1]
    assert found.places == [np.unravel_index(m.argmax(), m.shape) for m in maps]
    at = ",".join(map(str, found.places[0]))
    np.testing.assert_allclose(found.gradient[0], features.guided_backprop(net, x[:1], f"conv2[1,{at}]").gradient[0])
    assert f"guided of 3[1] at {tuple(map(int, found.places[0]))} = " in str(found)


def test_grad_cam_is_its_formula():
    net, x = small(), images(2)
    found = features.grad_cam(net, x, 4, layer="conv2")
    with minidl.no_grad():
        a2 = net[:4](minidl.tensor(x)).numpy()
    w3 = net[6].weight.detach().numpy()[4].reshape(1, *a2.shape[1:])
    weights = (w3 * (a2 > 0)).mean((2, 3), keepdims=True)
    small_map = np.maximum((weights * a2).sum(1), 0)
    expected = minidl.nn.functional.interpolate(minidl.tensor(small_map[:, None]), size=(7, 7), mode="bilinear")
    np.testing.assert_allclose(found.map, expected.numpy()[:, 0], atol=1e-12)
    assert found.map.max() > 0 and found.gradient is None
    default = features.grad_cam(net, x, 4)
    np.testing.assert_array_equal(default.map, found.map)


@pytest.mark.parametrize("kind", [features.deconvnet, features.guided_backprop])
def test_networks_without_relu_are_told_apart(kind):
    with pytest.raises(SeeError, match=r"no ReLU runs before output, and \w+ differs from the gradient in nothing but"):
        kind(lenet5(), np.zeros((1, 1, 32, 32)), 3)
    kind(lenet5(activation="relu"), np.zeros((1, 1, 32, 32)), 3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: features.saliency(nn.Linear(3, 2), np.ones((1, 3)), 1), "a map of pixels needs images (N, C, H, W)"),
        (lambda: features.saliency(nn.Conv2d(1, 1, 3), np.ones((1, 1, 5, 5))), "no scores (N, K): name a unit, as"),
        (lambda: features.grad_cam(small(), images(), 9), "output has 5 channels, so 9 is outside 0 to 4"),
        (lambda: features.grad_cam(small(), images(), 1, layer="output"), "Grad-CAM needs a layer before the scores"),
        (lambda: features.grad_cam(small(), images(), 1, layer="5"), "Grad-CAM needs a layer with maps (N, K, P, Q)"),
        (lambda: features.grad_cam(nn.Flatten(), images(), 1), "has no convolution, and Grad-CAM needs a layer"),
        (lambda: features.grad_cam(small(), images(), "0[1]", layer="3"), "the score does not depend on 3: take a"),
    ],
)  # fmt: skip
def test_questions_without_an_answer(call, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        call()


def test_the_text_and_the_numbers_agree():
    found = features.saliency(small(), images(2), 1)
    numbers = found.to_dict()["images"]
    assert [len(n["map"]) for n in numbers] == [7, 7] and numbers[0]["unit"] == "output[1]"
    ordered = np.sort(found.map[0].ravel())[::-1]
    half = numbers[0]["half"]
    assert ordered[:half].sum() >= found.map[0].sum() / 2 > ordered[: half - 1].sum()
    assert len(str(found).splitlines()) == 2 and f"half of the sum in {half} of 49 pixels" in str(found)
    nothing = features.saliency(nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(98, 1)), -np.ones((1, 2, 7, 7)), 0)
    assert "the map is 0 everywhere" in str(nothing) and nothing.image().dtype == np.uint8


def test_torch_agrees_on_the_gradient():
    torch = pytest.importorskip("torch")
    net, x = small(), images(2)
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), torch.nn.ReLU(), torch.nn.MaxPool2d(2, stride=1),
        torch.nn.Conv2d(3, 4, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32, 5),
    ).double()  # fmt: skip
    twin.load_state_dict({name: torch.tensor(v.numpy()) for name, v in net.state_dict().items()})
    t = torch.tensor(x, requires_grad=True)
    twin(t)[:, 3].sum().backward()
    np.testing.assert_allclose(features.saliency(net, x, 3).gradient, t.grad.numpy(), rtol=1e-10, atol=1e-14)
