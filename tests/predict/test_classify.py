"""Probabilities of views, averaged; ensembles; dense evaluation against the crops it stands for."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models._convnet import ConvNet
from minidl.predict import Classifier, Ensemble, PredictError, Preprocess, Views, rank

pytest.importorskip("PIL")
PREPARE = Preprocess(resize=16, crop=12)


def photo(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(h * 7 + w).integers(0, 256, (3, h, w), np.uint8)


def network(classes: int = 5) -> ConvNet:
    """Without padding, stride 2, maps of 5x5 in front of the fully connected layers."""
    features = nn.Sequential(nn.Conv2d(3, 4, 4, stride=2), nn.ReLU())
    return ConvNet(features, nn.Sequential(nn.Linear(4 * 5 * 5, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, classes)))


@pytest.fixture
def model() -> ConvNet:
    minidl.manual_seed(3)
    return network()


def by_definition(model: nn.Module, views: list[np.ndarray]) -> np.ndarray:
    """Softmax of each view alone, then the mean."""
    with minidl.no_grad():
        rows = [model.eval()(minidl.tensor(view[None])).softmax(1).numpy()[0] for view in views]
    return np.mean(rows, axis=0, dtype=np.float64)


@pytest.mark.parametrize("views", [Views(), Views(crops=10), Views(crops=5, scales=(14, 20)), Views(crops=144)])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_mean_of_the_probabilities_of_the_views(model: ConvNet, views: Views, batch_size: int) -> None:
    images = [photo(30, 40), photo(33, 20), photo(16, 16)]
    rows = Classifier(model, PREPARE, "abcde", views, batch_size=batch_size).probabilities(iter(images))
    assert rows.shape == (3, 5) and rows.dtype == np.float64
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-12)
    expected = [by_definition(model, list(views(image, PREPARE))) for image in images]
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_no_image(model: ConvNet) -> None:
    assert Classifier(model, PREPARE, "abcde").probabilities([]).shape == (0, 5)
    assert Ensemble([Classifier(model, PREPARE, "abcde")]).probabilities([]).shape == (0, 5)


def test_the_model_is_put_into_evaluation_mode(model: ConvNet) -> None:
    classifier = Classifier(model.train(), PREPARE, "abcde")
    image = [photo(20, 20)] * 2
    np.testing.assert_array_equal(classifier.probabilities(image)[0], classifier.probabilities(image)[1])


def test_dense_evaluation_is_the_softmax_of_the_mean_over_all_crops_at_the_stride(model: ConvNet) -> None:
    """Exactly so in a net without padding; crops of 12 at a distance of 2 on 16x20 pixels: 3x5 of them."""
    image = photo(16, 20)
    x = PREPARE.normalized(image)
    crops = [x[:, i : i + 12, j : j + 12] for i in (0, 2, 4) for j in (0, 2, 4, 6, 8)]
    with minidl.no_grad():
        scores = model.eval()(minidl.tensor(np.stack(crops))).mean(0)
        expected = scores.softmax(0).numpy()
    row = Classifier(model, PREPARE, "abcde", Views(dense=True)).probabilities([image])[0]
    np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_dense_evaluation_of_images_of_several_sizes(model: ConvNet) -> None:
    images = [photo(16, 20), photo(40, 16), photo(16, 20)]
    views = Views(dense=True, scales=(16, 21), mirror=True)
    rows = Classifier(model, PREPARE, "abcde", views).probabilities(images)
    np.testing.assert_array_equal(rows[0], rows[2])
    alone = Classifier(model, PREPARE, "abcde", views, batch_size=1).probabilities(images[1:2])
    np.testing.assert_allclose(rows[1], alone[0], rtol=1e-5)


def test_dense_evaluation_of_a_network_that_averages_by_itself() -> None:
    """Of ResNet the mean over the maps commutes with the last layer, so the network is taken as it is."""
    minidl.manual_seed(0)
    net = models.cifar_resnet20()
    prepare = Preprocess(resize=32, crop=32)
    image = photo(40, 52)
    row = Classifier(net, prepare, "0123456789", Views(dense=True)).probabilities([image])[0]
    np.testing.assert_allclose(row, by_definition(net, [prepare.normalized(prepare.resized(image))]), rtol=1e-5)


def test_an_ensemble_is_the_mean_of_the_probabilities(model: ConvNet) -> None:
    minidl.manual_seed(9)
    other = Classifier(network(), Preprocess(resize=13, crop=12), "abcde", Views(mirror=True), batch_size=2)
    first = Classifier(model, PREPARE, "abcde", batch_size=3)
    images = [photo(20 + i, 30) for i in range(7)]
    expected = (first.probabilities(images) + other.probabilities(images)) / 2
    np.testing.assert_allclose(Ensemble([first, other]).probabilities(iter(images)), expected, rtol=1e-5)
    assert str(Ensemble([first, other])).splitlines()[1].startswith("ConvNet: shorter side to 13")


def test_networks_that_make_no_ensemble(model: ConvNet) -> None:
    first = Classifier(model, PREPARE, "abcde", name="first")
    with pytest.raises(PredictError, match="an ensemble needs one network at least"):
        Ensemble([])
    message = "first and second have different classes, so no mean: class 2 is 'c' and 'x'"
    with pytest.raises(PredictError, match=message):
        Ensemble([first, Classifier(model, PREPARE, "abxde", name="second")])
    with pytest.raises(PredictError, match="different classes, so no mean: 5 and 4 classes"):
        Ensemble([first, Classifier(model, PREPARE, "abcd", name="second")])
    grey = Preprocess(resize=16, crop=12, channels="L", mean=(0.0,), std=(1.0,))
    with pytest.raises(PredictError, match="first reads RGB images and second L"):
        Ensemble([first, Classifier(model, grey, "abcde", name="second")])


def test_names_for_another_number_of_classes(model: ConvNet) -> None:
    message = "n gives 5 scores, but there are names of 3 classes"
    with pytest.raises(PredictError, match=message):
        Classifier(model, PREPARE, "abc", name="n").probabilities([photo(20, 20)])


def test_ranking() -> None:
    p = np.array([0.1, 0.4, 0.1, 0.4])
    assert rank(p, "abcd", 3) == [("b", 0.4), ("d", 0.4), ("a", 0.1)]
    assert len(rank(p, "abcd")) == 4
