"""Recipes of the papers and the list of the zoo: complete, consistent with the networks, usable as settings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from minidl import models, nn, optim, registry, zeros
from minidl._macs import dry_run
from minidl.cli._app import run
from minidl.data import DataLoader
from minidl.models.facts import FACTS
from minidl.models.recipes import RECIPES, UnknownRecipeError, all_recipes, recipe
from minidl.train import TrainConfig, complete, evaluate, load_run, load_task, resume_run, start_run
from minidl.train.config import goes_on_each_step, make_optimizer, make_scheduler

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
# no paper of their own: toys, parts, conversions, and networks known from their weights alone
WITHOUT = {
    *("alexnet_fc_conv", "inception_naive_module", "inception_reduced_module", "lenet_300_100", "lenet_caffe"),
    *("mlp", "nin_imagenet", "simple_convnet", "vgg16_fc_conv_384"),
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
    "name", ["cifar_resnet20", "wrn_28_10", "inception_v3_aux", "nasnet_a_mobile", "squeezenet1_0", "lenet5"]
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
    if entry.factors:  # LeCun et al. 1998, section III.B
        wanted = 2 * [5e-4] + 3 * [2e-4] + 3 * [1e-4] + 4 * [5e-5] + 8 * [1e-5]
        assert rates == pytest.approx(wanted)
    elif entry.schedule == "step":
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


@pytest.mark.parametrize("name", ["cifar_resnet110", "cifar_resnet1202", "cifar_preact_resnet1001"])
def test_the_deep_networks_for_cifar_begin_with_a_tenth_of_the_rate(name):
    """He et al. 2016, section 4.2: 0.01 in the first 400 updates or so, which is an epoch of 391; then 0.1."""
    full = complete(name, recipe(name).settings())
    optimizer = make_optimizer(full, [zeros(1, requires_grad=True)])
    schedule = make_scheduler(full, optimizer)
    rates = []
    for _ in range(164):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates == pytest.approx([0.01] + 81 * [0.1] + 41 * [0.01] + 41 * [0.001])


def test_all_cnn_has_the_batch_of_the_public_files():
    """256 images, rate 0.05, Caffe's xavier, which is what the network begins with."""
    entry = recipe("all_cnn_c")
    assert (entry.batch, entry.lr, entry.weight_decay, entry.milestones) == (256, 0.05, 1e-3, (200, 250, 300))


@pytest.mark.parametrize(
    "name", ["googlenet", "googlenet_original", "googlenet_aux", "inception_v3", "inception_v3_aux"]
)
def test_networks_with_auxiliary_heads_are_trained_with_them(name):
    entry = recipe(name)
    with nn.utils.skip_init():
        net = models.create(name, **entry.options)
    outputs, _ = dry_run(net, models.info(name).input_shape, training=True)
    assert outputs.aux_weight == (0.3 if name.startswith("google") else 0.4)
    assert f"auxiliary head counts {outputs.aux_weight}" in entry.notes


@pytest.mark.parametrize(
    ("name", "init"),
    [("vgg11", "paper"), ("vgg16", "xavier"), ("densenet121", "authors"), ("lenet5", "paper"), ("alexnet", "paper")],
)
def test_initial_values_that_a_network_has_by_an_option_are_those_of_its_paper(name, init):
    assert recipe(name).settings().options == {"init": init}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("googlenet", {"ema": 0.9999}),
        ("inception_v3", {"ema": 0.9999, "optimizer": "rmsprop_tf"}),
        ("inception_v4", {"ema": 0.9999, "optimizer": "rmsprop_tf"}),
        ("xception", {"ema": 0.9999}),
        ("mobilenet_v1", {"ema": 0.0, "optimizer": "rmsprop_tf", "groups": "depthwise"}),
        ("mobilenet_v3_small", {"ema": 0.9999, "optimizer": "rmsprop_tf"}),
        ("efficientnet_b0", {"ema": 0.9999, "optimizer": "rmsprop_tf", "augment": "autoaugment"}),
        ("mnasnet1_0", {"ema": 0.9999, "optimizer": "rmsprop_tf", "augment": "inception"}),
        ("lenet5", {"optimizer": "diagonal_lm", "normalize": "paper_ink"}),
        ("lenet5_1998", {"optimizer": "diagonal_lm", "normalize": "paper_ink", "loss": "map", "rubbish_penalty": 0.1}),
        ("nasnet_a_mobile", {"ema": 0.9999, "options": {"aux_logits": True}}),
        ("nasnet_a_large", {"ema": 0.9999, "options": {"aux_logits": True, "drop_path": 0.3}}),
        ("nin_cifar10", {"normalize": "whiten", "max_shift": None}),
        ("all_cnn_c", {"normalize": "whiten", "max_shift": 5}),
        ("cifar_resnet110", {"normalize": "mean_image"}),
        ("cifar_plain20", {"normalize": "mean_image"}),
        ("zfnet", {"filter_rms": 0.1, "normalize": "mean_photo", "augment": "corners"}),
        ("alexnet", {"test_crops": 10, "normalize": "mean_photo", "augment": "alexnet"}),
        ("resnet50", {"test_crops": 10, "augment": "resnet"}),
        ("fractalnet20", {"groups": "biases"}),
    ],
)
def test_what_the_papers_do_beside_the_updates(name, settings):
    full = complete(name, recipe(name).settings().over(TrainConfig(data="cifar10")))
    assert {key: getattr(full, key) for key in settings} == settings
    for key, value in settings.items():
        assert (f"{key} {value}" in ", ".join(f"{k} {v}" for k, v in full.in_use().items())) == (
            value not in (0.0, None) and key != "options"
        )


@pytest.mark.parametrize(
    "name",
    ["nin_cifar10", "all_cnn_c", "inception_v3", "mobilenet_v1", "zfnet", "fractalnet20", "cifar_resnet20", "lenet5"],
)
def test_a_recipe_trains_and_goes_on(tmp_path, name):
    """All that it sets but the network and photographs' augmentation, on the digits; loaded, it gives its test loss."""
    given = TrainConfig(data="digits", epochs=2, batch_size=512, augment="flip", lr=0.01, warmup=0)
    config = replace(given.over(recipe(name).settings()), options={})
    history = start_run("mlp", config, tmp_path).fit(1)
    history = resume_run(tmp_path).fit(2)
    loaded = load_run(tmp_path)
    task = load_task("digits", (1, 8, 8), normalize=loaded.normalization)
    result = evaluate(loaded.model, DataLoader(task.test, 512))
    assert result.loss == history[-1]["test_loss"] and len(history) == 2


def test_what_is_not_as_in_the_paper_is_printed(capsys):
    assert run(["recipes"]) == 0
    printed = capsys.readouterr().out.splitlines()
    differ = [
        line.removeprefix("  not as in the paper: ") for line in printed if line.startswith("  not as in the paper")
    ]
    assert differ == [entry.differs for entry in RECIPES if entry.differs]
    for words in (
        "the paper's outputs are distances to drawings of the digits, which lenet5_1998 has",
        "the rate is 0.01 until the training error is below 80 %, about 400 updates, here for the first epoch",
    ):
        assert any(words in line for line in differ), words
    assert run(["recipes", "resnet110"]) == 0
    assert "step x 0.1 after 82, 123, warm-up 1 at 0.01, augment flip, normalize mean_image" in capsys.readouterr().out
    assert run(["recipes", "all_cnn_c"]) == 0
    assert "augment flip by 5, normalize whiten" in capsys.readouterr().out
    assert run(["recipes", "lenet5"]) == 0
    printed = capsys.readouterr().out
    assert "diagonal_lm, batch 1, rate 0.0005, decay 0, step x 0.4, 0.2, 0.1, 0.02 after 2, 5, 8, 12, augm" in printed
    assert "augment none, normalize paper_ink, init paper" in printed
    assert run(["recipes", "lenet5_1998"]) == 0
    assert "augment none, normalize paper_ink, loss map" in capsys.readouterr().out


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
