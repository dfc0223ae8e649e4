"""Filters, maps, neighbours, patches, occlusion, kernel effects: against computations of their own."""

import re

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.models import lenet5
from minidl.see import SeeError, features
from minidl.see.features.colours import shown
from minidl.see.features.smoothing import blur, gaussian

RNG = np.random.default_rng


def two_convolutions(dtype: str = "float64") -> nn.Sequential:
    minidl.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, (3, 2)), nn.Flatten(),
        nn.Linear(64, 3),
    ).to(dtype)  # fmt: skip


# ---- filters and maps ------------------------------------------------------------------------------------------------


def test_filters_are_the_weights_and_their_tiles():
    net = two_convolutions()
    found = features.filters(net, "conv2", rows=3, columns=2)
    weights = net[3].weight.detach().numpy()
    np.testing.assert_array_equal(found.weights, weights)
    np.testing.assert_allclose(found.norms, [np.linalg.norm(w) for w in weights])
    image = found.image()
    zoom = (image.shape[0] - 2 * 2) // 9
    assert image.shape == (3 * 3 * zoom + 2 * 2, 2 * 2 * zoom + 2, 3), "three filters, two channels of each"
    tile = weights[2, 1]
    expected = np.round((tile / np.abs(tile).max() * 0.5 + 0.5) * 255)
    shown_tile = image[2 * (3 * zoom + 2) :: zoom, 2 * zoom + 2 :: zoom, 0]
    np.testing.assert_array_equal(shown_tile, expected)


def test_filters_over_colours_are_shown_in_colour_and_blue_can_come_first():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 3))
    first = features.filters(net)
    assert first.layer == "0" and first.colour and not features.filters(net, "2").colour
    swapped = features.filters(net, colours=features.Colours((0.0,), (1.0,), bgr=True))
    np.testing.assert_array_equal(swapped.image(), first.image()[..., ::-1])


def test_weak_filters_look_weak_on_one_scale():
    net = nn.Sequential(nn.Conv2d(1, 2, 3))
    with minidl.no_grad():
        net[0].weight.copy_(minidl.tensor(RNG(0).standard_normal((2, 1, 3, 3)).astype("f") * [[[[1.0]]], [[[0.001]]]]))
    found = features.filters(net, scale="whole")
    zoom = (found.image().shape[1] - 2) // 6
    strong, weak = found.image()[:, : 3 * zoom, 0], found.image()[:, 3 * zoom + 2 :, 0]
    assert np.ptp(weak.astype(int)) <= 1 < np.ptp(strong.astype(int)) and "1 below a hundredth of the largest" in str(
        found
    )


def test_filters_of_one_dimension():
    found = features.filters(nn.Sequential(nn.Conv1d(4, 5, 7)))
    assert found.weights.shape == (5, 1, 4, 7) and found.image().ndim == 3


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: features.filters(nn.Sequential(nn.Linear(3, 2))), "Sequential has no convolution whose filters could"),
        (
            lambda: features.filters(lenet5(), "fc1"),
            "classifier.0 has no filters (K, C, R, S); those that have: features.0",
        ),
        (lambda: features.filters(lenet5(), "output"), "output has no filters (K, C, R, S)"),
        (lambda: features.maps(lenet5(), np.ones((1, 1, 32, 32)), "fc1"), "no maps (N, K, P, Q)"),
    ],
)
def test_layers_without_filters_or_maps(call, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: features.filters(lenet5(), "conv2", rows=0), "rows"),
        (lambda: features.filters(lenet5(), "conv2", columns=0), "columns"),
        (lambda: features.maps(lenet5(), np.ones((1, 1, 32, 32)), "conv1", limit=0), "limit"),
        (lambda: features.patches(lenet5(), np.ones((1, 1, 32, 32)), "conv1", k=0), "k"),
        (lambda: features.patches(lenet5(), np.ones((1, 1, 32, 32)), "conv1", most=0), "most"),
        (lambda: features.effects(np.ones((1, 6, 6)), columns=0), "columns"),
        (lambda: features.effects(np.ones((1, 6, 6)), side=0), "side"),
    ],
)
def test_a_picture_shows_something(call, name):
    with pytest.raises(SeeError, match=f"^{name} is 1 at least, not 0$"):
        call()


def test_maps_are_the_results_of_the_layer():
    net, x = two_convolutions(), RNG(1).standard_normal((2, 2, 12, 10))
    found = features.maps(net, x, "conv1")
    with minidl.no_grad():
        np.testing.assert_allclose(found.maps, net[0](minidl.tensor(x)).numpy()[0], rtol=1e-12)
    k, (p, q) = int(found.maps.max((1, 2)).argmax()), found.maps.shape[1:]
    assert f"3 maps of {p}x{q}, 0 of them 0 everywhere; the largest value, " in str(found)
    assert str(found).endswith(f"is in map {k}") and found.to_dict()["silent"] == 0


# ---- neighbours ------------------------------------------------------------------------------------------------------


def feature_rows(net, x):
    with minidl.no_grad():
        return net[:5](minidl.tensor(x)).numpy()


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_neighbours_are_those_of_brute_force(metric):
    net, images = two_convolutions(), RNG(2).standard_normal((9, 2, 12, 10))
    queries = images[[4, 0]] + 0.3 * RNG(3).standard_normal((2, 2, 12, 10))
    found = features.neighbours(net, queries, images, "4", k=3, metric=metric)

    def distance(a, b):
        if metric == "l2":
            return np.linalg.norm(a - b)
        return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    for near, a, b in (
        (found.pixels, queries.reshape(2, -1), images.reshape(9, -1)),
        (found.features, feature_rows(net, queries), feature_rows(net, images)),
    ):
        for q in range(2):
            expected = sorted((distance(a[q], b[i]), i) for i in range(9))[:3]
            np.testing.assert_allclose(near.distance[q], [d for d, _ in expected], rtol=1e-9)
            assert near.index[q].tolist() == [i for _, i in expected]


def test_without_a_layer_it_is_what_enters_the_scores():
    net, images = two_convolutions(), RNG(5).standard_normal((7, 2, 12, 10))
    found = features.neighbours(net, images[2:3], images, k=2)
    named = features.neighbours(net, images[2:3], images, "4", k=2)
    assert found.layer == "the input of 5"
    np.testing.assert_array_equal(found.features.distance, named.features.distance)


def test_agreement_counts_labels():
    net, images = two_convolutions(), RNG(6).standard_normal((6, 2, 12, 10))
    labels = [0, 1, 0, 1, 0, 1]
    queries = images[:2] + 1e-9
    found = features.neighbours(net, queries, images, "4", k=1, labels=labels, query_labels=[0, 0], names=["a", "b"])
    assert found.agreement() == (0.5, 0.5) and found.pixels.distance.max() < 1e-6
    assert "of 2 neighbours 50.0% by pixels and 50.0% by 4 have the label of their query" in str(found)
    assert "query 1 (a) by pixels: 1 (b) at " in str(found)
    assert found.image().shape[2] == 3 and found.to_dict()["agreement"] == [0.5, 0.5]
    without = features.neighbours(net, images[:2], images, "4", k=1)
    assert without.agreement() is None and "label" not in str(without)


def test_an_image_is_no_neighbour_of_itself():
    net, images = two_convolutions(), RNG(6).standard_normal((4, 2, 12, 10))
    found = features.neighbours(net, images, images, "conv1", k=3)
    for near in (found.pixels, found.features):
        assert [sorted(row) for row in near.index.tolist()] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_maps_count_by_their_means_or_by_position():
    net, images = two_convolutions(), RNG(16).standard_normal((5, 2, 12, 10))
    with minidl.no_grad():
        y = net[0](minidl.tensor(images)).numpy()
    for average, rows in ((True, y.mean((2, 3))), (False, y.reshape(5, -1))):
        found = features.neighbours(net, images[:1], images, "conv1", k=1, average=average).features
        expected = np.linalg.norm(rows[1:] - rows[0], axis=1)
        assert found.distance[0, 0] == pytest.approx(expected.min()) and found.index[0, 0] == 1 + expected.argmin()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"k": 10}, "10 neighbours of 9 other images: k is 1 to their number"),
        ({"metric": "l1"}, "distances are measured by 'l2' or 'cosine', not 'l1'"),
        ({"queries": np.zeros((1, 2, 12, 11))}, "queries of shape (2, 12, 11) cannot be compared with images of shape"),
    ],
)
def test_neighbours_that_cannot_be_found(options, message):
    arguments = {"queries": np.zeros((1, 2, 12, 10)), "images": np.ones((9, 2, 12, 10)), "layer": "4"} | options
    with pytest.raises(SeeError, match=re.escape(message)):
        features.neighbours(two_convolutions(), **arguments)


# ---- patches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("unit", ["conv1[1]", "pool1[2]", "conv2[3]", "conv2[0]"])
def test_a_patch_alone_makes_the_unit_answer_as_the_image_did(unit, dtype):
    """Everything outside of the patch is replaced by other numbers; the unit must not notice."""
    net, images = two_convolutions(dtype), RNG(7).standard_normal((8, 2, 12, 10)).astype(dtype)
    found = features.patches(net, images, unit, k=8)
    layer = net[: int(found.layer) + 1]
    at_the_border = 0
    for patch in found.rows[0]:
        other = RNG(8).standard_normal(images.shape[1:]).astype(dtype)
        inside = found.sight.inside(patch.position)
        there = ~np.isnan(patch.pixels[0])
        at_the_border += not there.all()
        rows, columns = inside
        shape = (2, rows.stop - rows.start, columns.stop - columns.start)
        other[(slice(None), *inside)] = patch.pixels[:, there].reshape(shape)
        np.testing.assert_array_equal(other[(slice(None), *inside)], images[patch.image][(slice(None), *inside)])
        with minidl.no_grad():
            y = layer(minidl.tensor(other[None])).numpy()
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(
            y[(0, *patch.unit.index, *patch.position)], patch.value, rtol=tolerance, atol=tolerance
        )
    assert at_the_border < 8


def test_patches_are_the_strongest_of_each_image():
    net, images = two_convolutions(), RNG(9).standard_normal((6, 2, 12, 10))
    with minidl.no_grad():
        y = net[:4](minidl.tensor(images)).numpy()
    row = features.patches(net, images, "conv2[2]", k=4).rows[0]
    order = np.argsort(-y[:, 2].max((1, 2)))[:4]
    assert [p.image for p in row] == order.tolist()
    assert [p.value for p in row] == pytest.approx([y[i, 2].max() for i in order], rel=1e-12)
    assert all(y[(p.image, 2, *p.position)] == pytest.approx(p.value) for p in row)
    fixed = features.patches(net, images, "conv2[2,1,3]", k=2).rows[0]
    assert [p.image for p in fixed] == np.argsort(-y[:, 2, 1, 3])[:2].tolist() and fixed[0].position == (1, 3)
    all_channels = features.patches(net, images, "conv2", k=1, most=3)
    assert [str(u) for u in all_channels.units] == ["3[0]", "3[1]", "3[2]"] and len(all_channels.rows) == 3
    flat = features.patches(net, images, "fc1[1]", k=1).rows[0][0]
    inside = ~np.isnan(flat.pixels)
    assert flat.position == () and np.array_equal(flat.pixels[inside], images[flat.image].ravel()), "it sees all"


def test_patches_at_the_border_are_grey_outside():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    with minidl.no_grad():
        net[0].weight.copy_(minidl.ones(1, 1, 3, 3))
    image = np.zeros((1, 1, 5, 5), np.float32)
    image[0, 0, 0, 0] = 1
    found = features.patches(net, image, "conv1[0,0,0]", k=1)
    assert found.rows[0][0].box == (range(-1, 2), range(-1, 2))
    np.testing.assert_array_equal(np.isnan(found.rows[0][0].pixels[0]), [[1, 1, 1], [1, 0, 0], [1, 0, 0]])
    picture = found.image()
    assert {0, 128, 255} <= set(picture[..., 0].ravel().tolist())
    assert found.to_dict()["patches"][0][0]["box"] == [[-1, 2], [-1, 2]]
    assert str(found).startswith("a unit of 0 sees 3x3 pixels, every 1\n0[0,0,0]: ")


def test_patches_that_cannot_be_cut_out():
    with pytest.raises(SeeError, match=re.escape("patches are cut out of images (N, C, H, W), not of inputs of shape")):
        features.patches(nn.Linear(3, 2), np.ones((1, 3)), "output[0]")


# ---- occlusion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, -0.7])
def test_occlusion_of_a_linear_model_has_a_closed_form(value, dtype):
    """The score falls by the sum of w (x - value) under the square."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9 * 7, 3)).to(dtype)
    x = RNG(10).standard_normal((1, 2, 9, 7)).astype(dtype)
    found = features.occlusion(net, x, 1, size=4, stride=2, value=value, batch=5)
    assert found.rows == [0, 2, 4, 5] and found.columns == [0, 2, 3]
    w = net[1].weight.detach().numpy()[1].reshape(2, 9, 7).astype(np.float64)
    worth = (w * (x[0] - value)).sum(0)
    expected = [[worth[r : r + 4, c : c + 4].sum() for c in found.columns] for r in found.rows]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found.drops, expected, atol=tolerance)
    covers = [[(r, c) for r in found.rows for c in found.columns if r <= i < r + 4 and c <= j < c + 4] for i, j in
              np.ndindex(9, 7)]  # fmt: skip
    mean = [np.mean([worth[r : r + 4, c : c + 4].sum() for r, c in some]) for some in covers]
    np.testing.assert_allclose(found.map.ravel(), mean, atol=tolerance)
    most = found.to_dict()["most"]
    assert most["score"] == pytest.approx(
        found.scores.min()
    ) and f"the one at ({most['row']}, {most['column']})" in str(found)


def test_occlusion_of_the_best_class_and_of_its_probability():
    net, x = two_convolutions(), RNG(11).standard_normal((1, 2, 12, 10))
    with minidl.no_grad():
        scores = net(minidl.tensor(x)).numpy()[0]
    best = int(scores.argmax())
    found = features.occlusion(net, x, size=5, probability=True)
    assert found.unit.index == (best,)
    assert found.whole == pytest.approx((np.exp(scores) / np.exp(scores).sum())[best])
    assert (found.scores > 0).all() and (found.scores < 1).all()
    covered = x.copy()
    covered[..., 4:9, 4:9] = 0
    with minidl.no_grad():
        again = net(minidl.tensor(covered)).softmax(1).numpy()[0, best]
    assert found.scores[1, 1] == pytest.approx(again)
    grey = features.occlusion(net, x, best, size=5, colours=features.Colours((0.5, 0.25), (0.5, 1.0)))
    covered = x.copy()
    covered[0, :, :5, :5] = [[[0.0]], [[0.25]]]  # the middle of black and white: (0.5 - mean) / std
    with minidl.no_grad():
        assert grey.scores[0, 0] == pytest.approx(net(minidl.tensor(covered)).numpy()[0, best])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 11}, "a square of size 11 every 4 pixels on an image of 12x10: size is 1 to 10, stride at least 1"),
        ({"size": 3, "stride": 0}, "a square of size 3 every 0 pixels"),
        ({"unit": "conv1[0]", "probability": True}, "probabilities are those of classes, and 0[0] is none: leave"),
        ({"x": np.ones((1, 3))}, "squares cover parts of images (N, C, H, W)"),
    ],
)
def test_squares_that_cannot_be_laid(options, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        features.occlusion(two_convolutions(), **({"x": np.ones((1, 2, 12, 10)), "size": 5} | options))


# ---- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_effects_are_correlations_with_the_border_repeated(dtype):
    x = RNG(12).random((3, 6, 9)).astype(dtype)
    found = features.effects(x, {"odd": RNG(13).standard_normal((3, 5)), **features.KERNELS})
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)), mode="edge")
    for name, kernel in found.kernels.items():
        r, s = kernel.shape
        top, left = 2 - r // 2, 2 - s // 2
        expected = sum(
            kernel[i, j] * padded[:, top + i : top + i + 6, left + j : left + j + 9] for i, j in np.ndindex(r, s)
        )
        assert found.results[name].dtype == dtype
        np.testing.assert_allclose(
            found.results[name], expected, atol=1e-5 if dtype == "float32" else 1e-13, err_msg=name
        )


def test_what_the_kernels_promise():
    x = RNG(14).random((3, 8, 7))
    found = features.effects(x)
    np.testing.assert_array_equal(found.results["identity"], x)
    sums = {name: round(float(kernel.sum()), 12) for name, kernel in features.KERNELS.items()}
    assert sums == {"identity": 1, "edges": 0, "edges4": 0, "sharpen": 1, "box_blur": 1, "gaussian_blur": 1,
                    "sobel_x": 0, "sobel_y": 0, "emboss": 1}  # fmt: skip
    flat = features.effects(np.full((1, 6, 6), 0.375))
    for name, y in flat.results.items():
        np.testing.assert_allclose(y, 0.375 * sums[name], atol=1e-12, err_msg=name)
    assert found.results["box_blur"].std() < found.results["gaussian_blur"].std() + 0.2 * x.std() < x.std() * 1.2
    ramp = features.effects(np.tile(np.arange(6.0) / 10, (1, 5, 1)), ["sobel_x", "sobel_y"])
    np.testing.assert_allclose(ramp.results["sobel_x"][0, :, 1:-1], 0.8, atol=1e-12)
    np.testing.assert_allclose(ramp.results["sobel_y"], 0, atol=1e-12)
    np.testing.assert_allclose(features.KERNELS["sobel_y"], features.KERNELS["sobel_x"].T)


def test_photographs_of_bytes_are_brought_to_0_to_1():
    photo = RNG(15).integers(0, 256, (3, 5, 6)).astype(np.uint8)
    found = features.effects(minidl.tensor(photo), ["identity"])
    np.testing.assert_allclose(found.results["identity"], photo / 255, atol=1e-7)
    assert found.image().dtype == np.uint8 and found.to_dict()["identity"]["sum"] == 1
    assert str(found).splitlines()[1].startswith("identity         mean 0.")


@pytest.mark.parametrize(
    "image, kernels, message",
    [
        (np.ones((5, 5)), None, "a photograph has the shape (C, H, W), not (5, 5)"),
        (np.ones((1, 5, 5)), ["blurr"], "there is no kernel 'blurr'; there are identity, edges"),
        (
            np.ones((1, 5, 5)),
            {"even": np.ones((2, 3))},
            "kernel 'even' has the shape (2, 3), and kernels are (R, S) with odd",
        ),
    ],
)
def test_effects_that_there_are_not(image, kernels, message):
    with pytest.raises(SeeError, match=re.escape(message)):
        features.effects(image, kernels)


# ---- blur and colours ------------------------------------------------------------------------------------------------


def test_blur_keeps_sums_and_means():
    weights = gaussian(0.8)
    assert weights.sum() == pytest.approx(1) and len(weights) == 7 and weights.argmax() == 3
    positions = np.arange(-3, 4)
    assert (weights * positions**2).sum() == pytest.approx(0.8**2, rel=0.02)
    x = np.zeros((2, 15, 15))
    x[:, 7, 7] = 1
    np.testing.assert_allclose(blur(x, 0.8)[1, 4:11, 4:11], np.outer(weights, weights), atol=1e-15)
    assert blur(x, 0) is x and blur(x.astype("f"), 1.0).dtype == np.float32
    with pytest.raises(SeeError, match="a Gaussian has a deviation above 0, not -1"):
        gaussian(-1)


def test_colours_there_and_back():
    caffe = features.Colours((104.0, 117.0, 123.0), (1.0, 1.0, 1.0), 255.0, bgr=True)
    red = np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1)
    assert caffe.values(red).ravel().tolist() == [-104.0, -117.0, 132.0]
    np.testing.assert_allclose(caffe.pixels(caffe.values(red)), red)
    black, white = caffe.limits(3)
    assert black.ravel().tolist() == [-104, -117, -123] and white.ravel().tolist() == [151, 138, 132]
    assert caffe.pixels(caffe.values(red) * 9).max() == 1
    with pytest.raises(SeeError, match=r"colours need as many means as deviations, and deviations and a scale above 0"):
        features.Colours((0.0,), (1.0, 1.0))


def test_inputs_without_colours_are_stretched_unless_they_are_pixels():
    pixels = np.array([[[0.25, 0.5]]])
    np.testing.assert_array_equal(shown(pixels), pixels)
    np.testing.assert_array_equal(shown(np.array([[[-2.0, 0.0, 2.0]]])), [[[0, 0.5, 1]]])
    assert shown(np.full((1, 2, 2), 7.0)).max() == 0
    two = RNG(0).random((2, 3, 3))
    np.testing.assert_allclose(shown(two), two.mean(0, keepdims=True))
