"""Recipes of the papers and the list of the zoo: complete, consistent with the networks, usable as settings."""

import json
from pathlib import Path

import pytest

from minidl import models, optim, registry, zeros
from minidl.models.facts import FACTS
from minidl.models.recipes import RECIPES, UnknownRecipeError, all_recipes, recipe
from minidl.train import TrainConfig, complete
from minidl.train.config import goes_on_each_step, make_optimizer, make_scheduler

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
# no paper of their own: toys, parts, conversions, and networks known from their weights alone
WITHOUT = {
    *("alexnet_fc_conv", "inception_naive_module", "inception_reduced_module", "lenet_300_100", "lenet_caffe"),
    *("mlp", "nin_imagenet", "simple_convnet"),
}


def test_the_facts_are_those_of_the_golden_file():
    assert list(FACTS) == models.list()
    for name, facts in FACTS.items():
        assert facts.parameters == GOLDEN[name]["params"], name
        assert facts.macs == (GOLDEN[name]["macs"] or facts.macs), name


def test_every_network_of_a_paper_has_one_recipe():
    assert {name for name, _ in all_recipes()} == set(models.list()) - WITHOUT
    used = {id(entry) for _, entry in all_recipes()}
    assert used == {id(entry) for entry in RECIPES}  # and no recipe stands behind a more general one


@pytest.mark.parametrize(
    "name", ["cifar_resnet20", "wrn_28_10", "inception_v3_aux", "nasnet_a_mobile", "squeezenet1_0"]
)
def test_a_recipe_makes_an_optimiser_and_a_schedule(name):
    entry = recipe(name)
    full = complete(name, entry.settings().over(TrainConfig(data="cifar10")))
    assert (full.epochs, full.lr, full.batch_size) == (entry.epochs, entry.lr, entry.batch)
    registry.info(name).parse_options(full.options)
    optimizer = make_optimizer(full, [zeros(1, requires_grad=True)])
    batches = 10
    schedule = make_scheduler(full, optimizer, batches)
    rates = []
    for _ in range(entry.epochs * (batches if goes_on_each_step(full) else 1)):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates[0] == entry.lr
    per_epoch = batches if goes_on_each_step(full) else 1
    if entry.schedule == "step":
        for i, epoch in enumerate(entry.milestones):
            assert rates[epoch - 1] == pytest.approx(entry.lr * entry.gamma**i)
            assert rates[epoch] == pytest.approx(entry.lr * entry.gamma ** (i + 1))
    elif entry.schedule == "exponential":
        place = round(entry.every * per_epoch)
        assert rates[place - 1] == entry.lr and rates[place] == pytest.approx(entry.lr * entry.gamma)
    else:
        assert rates[len(rates) // 2] == pytest.approx(entry.lr / 2) and rates[-1] < entry.lr / 100


def test_all_recipes_are_settings():
    for name, entry in all_recipes():
        full = complete(name, entry.settings().over(TrainConfig(data="cifar10")))
        make_scheduler(full, make_optimizer(full, [zeros(1, requires_grad=True)]), 3)
        models.info(name).parse_options(full.options)
        assert list(entry.milestones) == sorted(entry.milestones) and all(
            0 < m < entry.epochs for m in entry.milestones
        )
        assert bool(entry.milestones) == (entry.schedule == "step")
        assert bool(entry.every) == (entry.schedule == "exponential")
        assert "section" in entry.source or "appendix" in entry.source


def test_what_is_given_goes_before_the_recipe_and_stretches_it():
    given = TrainConfig(epochs=4, lr=0.5).over(recipe("cifar_resnet56").settings())
    full = complete("cifar_resnet56", given)
    assert (full.epochs, full.lr, full.batch_size, full.milestones) == (4, 0.5, 128, [0.5, 0.75])
    optimizer = optim.SGD([zeros(1)], lr=full.lr)
    schedule = make_scheduler(full, optimizer)
    rates = [schedule.step() or optimizer.param_groups[0]["lr"] for _ in range(4)]
    assert rates == pytest.approx([0.5, 0.05, 0.005, 0.005])


def test_recipes_that_do_not_exist():
    with pytest.raises(UnknownRecipeError, match="no recipe is known for mlp; `minidl recipes` lists the models that"):
        recipe("mlp")
    with pytest.raises(UnknownRecipeError, match="there is no recipe 'mine'; --recipe paper is the one of"):
        recipe("resnet50", "mine")
    with pytest.raises(models.UnknownModelError, match="there is no model 'resnet51'"):
        recipe("resnet51")
