"""The loss of networks with auxiliary heads, and what the trainer does for them in a step."""

import functools
from typing import NamedTuple

import numpy as np
import pytest

import minidl
from minidl import models, nn, optim
from minidl.data import ArrayDataset, DataLoader
from minidl.nn.functional import cross_entropy
from minidl.optim.diagonal_lm import output_curvature
from minidl.train import Trainer, TrainingError
from minidl.train.losses import map_loss, total_loss


@pytest.mark.parametrize("j", [0.1, 7.0])
def test_the_criterion_of_lenet5_is_equation_9(j: float) -> None:
    """E = y_D + log(exp(-j) + sum_i exp(-y_i)), its mean, and its slope: 1 - p for D, -p for the others."""
    y = np.random.default_rng(0).uniform(0.0, 9.0, (5, 4))  # penalties
    target = np.array([3, 0, 1, 1, 2])
    weights = np.exp(-y)
    inner = np.exp(-j) + weights.sum(1)
    scores = minidl.tensor(-y, requires_grad=True)
    loss = map_loss(scores, minidl.tensor(target), j)
    np.testing.assert_allclose(loss.item(), (y[np.arange(5), target] + np.log(inner)).mean(), rtol=1e-12)
    loss.backward()
    slope = np.eye(4)[target] - weights / inner[:, None]  # by the penalties; the scores are their opposites
    np.testing.assert_allclose(scores.grad.numpy(), -slope / 5, rtol=1e-11, atol=1e-15)
    assert loss.item() > 0


def test_classes_that_are_far_away_are_not_pushed_on() -> None:
    scores = minidl.tensor([[-1.0, -50.0, -3.0]], requires_grad=True)
    map_loss(scores, minidl.tensor([0]), 5.0).backward()
    _, far, near = scores.grad.numpy()[0]
    assert abs(far) < 1e-15 < 0.01 < near


def test_the_network_of_1998_has_the_curvature_of_its_criterion() -> None:
    """By hand, of the drawing x of F6: 2 p_0 + 4 (sum p_i d_i^2 - (sum p_i d_i)^2), d_i = x - drawing i."""
    net = models.lenet5_1998().to("float64")
    x = net.codes.numpy()[[3, 8]] * 0.9 + np.random.default_rng(1).standard_normal((2, 84)) * 0.3
    found = output_curvature(
        net.score, functools.partial(map_loss, rubbish_penalty=30.0), minidl.tensor(x), minidl.tensor([3, 9])
    )
    d = x[:, None] - net.codes.numpy()  # (N, 10, 84)
    weights = np.exp(-(d**2).sum(2))
    nothing = np.exp(-30.0)
    p = (weights / (weights.sum(1, keepdims=True) + nothing))[..., None]
    p_0 = 1 - p.sum(1)
    wanted = 2 * p_0 + 4 * ((p * d**2).sum(1) - (p * d).sum(1) ** 2)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9, atol=1e-12)
    image = minidl.tensor(np.random.default_rng(2).standard_normal((2, 1, 32, 32)))
    np.testing.assert_array_equal(net.score(net.embed(image)).detach().numpy(), net(image).detach().numpy())


class Two(NamedTuple):
    main: minidl.Tensor
    other: minidl.Tensor


def test_weights_of_the_published_networks():
    rng = np.random.default_rng(0)
    target = minidl.tensor([2, 0])
    for kind, count, weight in [
        (models.GoogLeNetOutputs, 3, 0.3),
        (models.InceptionOutputs, 2, 0.4),
        (models.NASNetOutputs, 2, 0.4),
    ]:
        heads = kind(*(minidl.tensor(rng.standard_normal((2, 4)), requires_grad=True) for _ in range(count)))
        loss, scores = total_loss(cross_entropy, heads, target)
        assert scores is heads[0]
        parts = [cross_entropy(head, target).item() for head in heads]
        assert loss.item() == pytest.approx(parts[0] + weight * sum(parts[1:]), rel=1e-12)
        loss.backward()
        alone = minidl.tensor(heads[1].detach().numpy(), requires_grad=True)
        cross_entropy(alone, target).backward()
        np.testing.assert_allclose(heads[1].grad.numpy(), weight * alone.grad.numpy(), rtol=1e-12)


def test_a_tuple_that_does_not_say_how_much_its_parts_count():
    heads = Two(minidl.zeros(1, 2), minidl.zeros(1, 2))
    with pytest.raises(
        TrainingError, match="the model gives 2 results in training mode, and their type Two does not say"
    ):
        total_loss(cross_entropy, heads, minidl.tensor([0]))


def run(model, folder, epochs=2, side=32, **options):
    rng = np.random.default_rng(1)
    images = rng.standard_normal((6, 3, side, side)).astype(np.float32)
    loader = DataLoader(ArrayDataset(images, rng.integers(0, 3, 6)), 3, shuffle=True, seed=2)
    step = optim.SGD(model.parameters(), lr=0.01)
    trainer = Trainer(model, step, loader, DataLoader(loader.dataset, 6), folder, **options)
    trainer.fit(epochs)
    return trainer


def test_a_network_with_auxiliary_heads_is_trained_with_all_of_them(tmp_path):
    minidl.manual_seed(3)
    net = models.googlenet_aux(num_classes=3)
    before = {name: p.detach().numpy().copy() for name, p in net.named_parameters()}
    history = run(net, tmp_path, epochs=1).history
    assert np.isfinite(history[0]["train_loss"]) and 0 <= history[0]["test_accuracy"] <= 1
    unchanged = [name for name, p in net.named_parameters() if np.array_equal(p.detach().numpy(), before[name])]
    assert not [name for name in unchanged if name.endswith("weight")]


class Scheduled(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 4 * 4, 3)
        self.told = []

    def set_progress(self, share):
        self.told.append(share)

    def forward(self, x):
        return self.fc(x.flatten(1))


def test_a_model_is_told_how_much_of_the_training_is_over(tmp_path):
    net = Scheduled()
    run(net, tmp_path, epochs=2, side=4)
    assert net.told == [0.0, 0.25, 0.5, 0.75]  # two batches an epoch


def test_a_schedule_that_goes_on_with_each_step(tmp_path):
    net, rates = Scheduled(), []
    step = optim.SGD(net.parameters(), lr=1.0)
    schedule = optim.lr_scheduler.PolynomialLR(step, total_iters=4)
    loader = DataLoader(ArrayDataset(np.zeros((6, 3, 4, 4), np.float32), np.zeros(6, int)), 3)
    trainer = Trainer(net, step, loader, loader, tmp_path, scheduler=schedule, each_step=True)
    net.set_progress = lambda share: rates.append(step.param_groups[0]["lr"])
    trainer.fit(2)
    assert rates == [1.0, 0.75, 0.5, 0.25]
    again = Trainer(Scheduled(), step, loader, loader, tmp_path, scheduler=schedule, each_step=True)
    again.resume()
    assert (schedule.last_epoch, step.param_groups[0]["lr"]) == (4, 0.0)


def test_gradients_are_clipped_together(tmp_path):
    minidl.manual_seed(0)
    net = Scheduled()
    before = [p.detach().numpy().copy() for p in net.parameters()]
    rng = np.random.default_rng(2)
    images = 100 * rng.standard_normal((3, 3, 4, 4)).astype(np.float32)
    loader = DataLoader(ArrayDataset(images, np.arange(3)), 3)
    trainer = Trainer(net, optim.SGD(net.parameters(), lr=1.0), loader, loader, tmp_path, clip=0.5)
    trainer.fit(1)
    moved = [p.detach().numpy() - old for p, old in zip(net.parameters(), before)]
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(0.5, rel=1e-5)
