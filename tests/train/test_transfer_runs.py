"""Runs that begin with weights: a real transfer between digits, what is frozen, resuming, and what is refused."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minidl
from minidl import models, nn, optim, registry
from minidl.__main__ import main
from minidl.data import ArrayDataset, DataLoader, DataNotFoundError, Digits
from minidl.data import transforms as T
from minidl.data.download import hash_of
from minidl.io import save_weights
from minidl.predict import Preprocess
from minidl.train import Trainer, load_checkpoint, load_run
from minidl.train.start import find_start
from minidl.transfer import (
    LayerNameError,
    feature_extractor,
    freeze,
    freeze_until,
    head_layers,
    param_groups,
    reverse_channels,
)


def digits(classes: range, train: bool, each: int | None = None) -> ArrayDataset:
    """8x8 digits of these classes on 28x28, at most ``each`` of one class."""
    data = Digits(train=train, size=28)
    images, labels = (np.stack([np.asarray(data[i][part]) for i in range(len(data))]) for part in (0, 1))
    places = np.concatenate([np.flatnonzero(labels == c)[:each] for c in classes])
    return ArrayDataset(images[places], labels[places] - classes[0], transform=T.Compose([T.ToFloat()]))


def fit(model: nn.Module, groups: list, train: ArrayDataset, test: ArrayDataset, folder: Path, epochs: int) -> float:
    loader = DataLoader(train, 16, shuffle=True, seed=1)
    trainer = Trainer(model, optim.SGD(groups, lr=0.02, momentum=0.9), loader, DataLoader(test, 256), folder)
    return trainer.fit(epochs)[-1]["test_accuracy"]


def lenet(seed: int, state: dict | None = None) -> nn.Module:
    minidl.manual_seed(seed)
    model = models.lenet5(num_classes=5, activation="relu", pool="max", input_size=28)
    if state is not None:
        from minidl.io import load_into

        load_into(model, state, head=head_layers(model, (1, 28, 28)))
    return model


@pytest.fixture(scope="module")
def of_0_to_4(tmp_path_factory: pytest.TempPathFactory) -> dict:
    model = lenet(0)
    train, test = digits(range(5), True), digits(range(5), False)
    accuracy = fit(model, list(model.parameters()), train, test, tmp_path_factory.mktemp("first"), 4)
    assert accuracy > 0.95
    return {name: t.numpy().copy() for name, t in model.state_dict().items()}


@pytest.mark.slow
def test_features_of_0_to_4_help_to_tell_5_to_9_apart(of_0_to_4: dict, tmp_path: Path) -> None:
    """The lectures' table with ten examples of a class: each kind of transfer beats learning from nothing."""
    train, test = digits(range(5, 10), True, each=10), digits(range(5, 10), False)
    results: dict[str, list[float]] = {"scratch": [], "linear classifier": [], "last layers": [], "all": []}
    for seed in range(3):
        for kind, found in results.items():
            model = lenet(seed, None if kind == "scratch" else of_0_to_4)
            head = head_layers(model, (1, 28, 28))
            if kind == "linear classifier":
                freeze_until(model, head[0])
            elif kind == "last layers":
                freeze_until(model, "classifier.0")
            groups = param_groups(model, head, lr=0.01 if kind == "all" else 0.02, head_lr=0.02)
            found.append(fit(model, groups, train, test, tmp_path / f"{kind}{seed}", 12))
    mean = {kind: float(np.mean(found)) for kind, found in results.items()}
    for kind in ("linear classifier", "last layers", "all"):
        assert mean[kind] > mean["scratch"] + 0.02, mean


# ---- from the command line ------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of small pictures: three classes to begin with, two others to go on with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("minidl.train.console.PATIENCE", 3600.0)
    rng = np.random.default_rng(0)
    for task, classes in (("first", "abc"), ("second", "xy")):
        for i, name in enumerate(classes):
            folder = tmp_path / task / name
            folder.mkdir(parents=True)
            for k in range(10):
                pixels = rng.integers(0, 100, (32, 32, 3)) + 50 * i
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k}.png")
    return tmp_path


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return load_checkpoint(folder / "checkpoint.safetensors")["model"]


def test_finetune_a_run_and_go_on_with_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("--augment", "none", "--epochs", "1", "--batch-size", "8")
    assert main(["train", "cifar_resnet20", "--data", "folder:first", *quick, "--out", "one"]) == 0
    frozen = ("--freeze-until", "layer3", "--lr", "0.001", "--head-lr", "0.01")
    start = (
        "finetune",
        "cifar_resnet20",
        "--weights",
        "one",
        "--data",
        "folder:second",
        *quick[:2],
        "--batch-size",
        "8",
    )
    assert main([*start, *frozen, "--epochs", "2", "--out", "two"]) == 0
    assert "weights one, freeze_until layer3, head_lr 0.01" in capsys.readouterr().out
    best, after = load_checkpoint(photos / "one" / "best.safetensors")["model"], arrays(photos / "two")
    assert after["linear.weight"].shape == (2, 64) and best["linear.weight"].shape == (3, 64)
    for name, value in after.items():
        if not name.startswith("linear"):
            assert np.array_equal(value, best[name]) == (not name.startswith("layer3")), name
    config = [json.loads((photos / name / "config.json").read_text()) for name in ("one", "two")]
    assert config[0]["mean"] == config[1]["mean"]  # images are normalised as the weights expect them
    groups = load_checkpoint(photos / "two" / "checkpoint.safetensors")["optimizer"]["param_groups"]
    assert [g["initial_lr"] for g in groups] == [0.001, 0.01]

    # stopped after one epoch and resumed, without the file of weights: the same bits
    assert main([*start, *frozen, "--epochs", "2", "--out", "three"]) == 0
    state = load_checkpoint(photos / "three" / "checkpoint.safetensors")
    assert all(np.array_equal(state["model"][name], value) for name, value in after.items())
    (photos / "one" / "best.safetensors").unlink()
    assert main(["finetune", "--resume", "two", "--epochs", "3"]) == 0
    resumed = arrays(photos / "two")
    assert all(np.array_equal(resumed[n], best[n]) for n in best if not n.startswith(("layer3", "linear")))
    model = load_run(photos / "two").model
    assert model.linear.weight.shape == (2, 64)


def test_a_linear_classifier_on_any_layer(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("--augment", "none", "--epochs", "1", "--batch-size", "8")
    assert main(["train", "cifar_resnet20", "--data", "first", *quick, "--out", "one"]) == 0
    start = ("finetune", "cifar_resnet20", "--weights", "one", "--data", "second", *quick)
    assert main([*start, "--features", "layer2", "--out", "two"]) == 0
    run = load_run(photos / "two")
    assert run.model.fc.weight.shape == (2, 32)
    assert run.model(minidl.zeros(1, 3, 32, 32)).shape == (1, 2)
    assert main(["eval", "two"]) == 0
    capsys.readouterr()
    assert main([*start, "--features", "layer2", "--freeze-until", "layer3", "--out", "three"]) == 2
    assert "--features fixes the whole network below its classifier, so --freeze" in capsys.readouterr().err
    assert main([*start, "--freeze-until", "layer9", "--out", "three"]) == 2
    assert "CifarResNet has no layer 'layer9'; did you mean layer" in capsys.readouterr().err


@pytest.mark.slow
def test_features_of_photographs_tell_digits_apart(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The defaults of the command: logistic regression of scikit-learn on the same features, scaled, gets 93 %."""
    monkeypatch.chdir(tmp_path)
    weights = shared_data / "weights" / "cifar_resnet" / "resnet20-12fca82f.th"
    run = ("--weights", str(weights), "--data", "digits", "--features", "layer2", "--epochs", "5", "--out", "run")
    assert main(["finetune", "cifar_resnet20", *run]) == 0
    found = re.search(r"test accuracy ([\d.]+) %", capsys.readouterr().out)
    assert found and float(found.group(1)) > 85


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes weights of a cifar_resnet20 and makes them a file of the table, with these fields."""

    def put(model: nn.Module, **fields: Any) -> str:
        path = tmp_path / "public.safetensors"
        save_weights(path, model.state_dict())
        entry = dataclasses.replace(models.weights.find("cifar_resnet20"), sha256=hash_of(path, "sha256"), **fields)
        monkeypatch.setattr(models.weights, "table", lambda: {"cifar_resnet20": [entry]})
        return str(path)

    return put


def test_a_public_file_computes_what_it_did_for_its_publisher(photos: Path, public: Callable[..., str]) -> None:
    """The shortcuts pad on both sides, which no array of the file says: only the table knows."""
    theirs = models.create("cifar_resnet20", pad="both").eval()
    weights = public(theirs)
    with pytest.raises(models.weights.UnknownWeightsError, match="no file for cifar_resnet32"):
        find_start(weights, "cifar_resnet32")
    start = ["finetune", "cifar_resnet20", "--weights", weights, "--data", "first", "--epochs", "1", "--lr", "0"]
    assert main([*start, "--head-lr", "0", "--batch-size", "8", "--out", "run"]) == 0
    run = load_run(photos / "run")
    assert run.description["options"] == {"num_classes": 3, "pad": "both"}
    assert run.description["mean"] == [0.485, 0.456, 0.406]
    x = minidl.randn(2, 3, 32, 32)
    ours = {name: p.numpy() for name, p in run.model.named_parameters()}
    for name, p in theirs.named_parameters():  # a rate of 0: what was loaded is still there, but for the last layer
        assert name.startswith("linear") or np.array_equal(ours[name], p.numpy()), name
    run.model.load_state_dict({k: v for k, v in theirs.state_dict().items() if "running" in k}, strict=False)
    layer = "avgpool"
    expected = feature_extractor(theirs, layer)(x)
    np.testing.assert_array_equal(feature_extractor(run.model, layer)(x).numpy(), expected.numpy())


def test_a_file_that_may_hold_public_arrays_and_does_not_say_so(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights("saved.npz", models.cifar_resnet20(pad="both").state_dict())
    start = ["finetune", "cifar_resnet20", "--weights", "saved.npz", "--data", "first", "--epochs", "1", "--features"]
    start += ["layer1", "--batch-size", "8"]
    assert main([*start, "--out", "one"]) == 0
    assert capsys.readouterr().err == (
        "minidl: saved.npz is no file of `minidl weights list`; if its arrays are those of cifar_resnet20.akamaster, "
        "which wants pad = both, add --options.pad both\n"
    )
    assert main([*start, "--out", "two", "--options.pad", "both"]) == 0
    start[3] = "one/best.safetensors"  # a run knows its options
    assert main([*start, "--out", "three"]) in (0, 2)
    assert "weights list" not in capsys.readouterr().err


def test_how_the_images_of_a_public_file_were_normalised(public: Callable[..., str]) -> None:
    caffe = Preprocess(divide=1.0, channels="RGB", mean=(10.0, 20.0, 30.0), std=(51.0, 102.0, 255.0))
    weights = public(models.create("cifar_resnet20"), preprocess=caffe)
    mean, std = find_start(weights, "cifar_resnet20").statistics((3, 32, 32))
    image = np.arange(3.0) * 50  # one pixel, of 0 to 255
    np.testing.assert_allclose((image / 255 - mean) / std, (image - caffe.mean) / caffe.std, rtol=1e-12)
    weights = public(models.create("cifar_resnet20"), preprocess=dataclasses.replace(caffe, channels="BGR"))
    mean, std = find_start(weights, "cifar_resnet20").statistics((3, 32, 32))
    np.testing.assert_allclose((image / 255 - mean) / std, (image - caffe.mean[::-1]) / caffe.std[::-1], rtol=1e-12)


@pytest.mark.parametrize("name", ["squeezenet1_0.deep_compression", "bninception.cadene"])
def test_weights_for_blue_green_red_compute_the_same_of_red_green_blue(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a photograph, prepared as the publisher does it and as a run does it."""
    entry = models.weights.find(name)
    minidl.manual_seed(1)
    theirs = registry.create(entry.model, **entry.options).eval()
    save_weights(tmp_path / "x.safetensors", theirs.state_dict())
    entry = dataclasses.replace(entry, sha256=hash_of(tmp_path / "x.safetensors", "sha256"), read="")
    monkeypatch.setattr(models.weights, "table", lambda: {entry.model: [entry]})
    start = find_start(str(tmp_path / "x.safetensors"), entry.model)
    ours = registry.create(entry.model, num_classes=5, **start.options).eval()
    start.into(ours, (3, 64, 64))
    assert entry.preprocess.channels == "BGR"
    photo = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    mean, std = (np.array(values)[:, None, None] for values in start.statistics((3, 64, 64)))  # (C, 1, 1)
    mine = ((photo / 255 - mean) / std).astype(np.float32)
    assert not np.allclose(mine, entry.preprocess.normalized(photo))
    layer = "features" if entry.model == "squeezenet1_0" else "dropout"
    got, expected = (
        feature_extractor(net, layer)(minidl.from_numpy(x[None])).numpy()
        for net, x in ((ours, mine), (theirs, entry.preprocess.normalized(photo)))
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_all_networks_for_blue_green_red_are_tested_above() -> None:
    entries = [entry for row in models.weights.table().values() for entry in row]
    assert [e.name for e in entries if e.preprocess.channels == "BGR"] == [
        "bninception.cadene", "squeezenet1_0.deep_compression",
    ]  # fmt: skip


def test_networks_whose_channels_cannot_be_reversed() -> None:
    message = "has no convolution of one group that takes the image as it comes, whose filters could be turned"
    for net in (nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), nn.Sequential(nn.Conv2d(3, 6, 1, groups=3))):
        with pytest.raises(LayerNameError, match=message):
            reverse_channels(net, (3, 2, 2))


def test_a_name_of_the_table_for_weights(photos: Path, public: Callable[..., str], monkeypatch, capsys) -> None:
    theirs = models.create("cifar_resnet20", pad="both")
    (photos / "cache").mkdir()
    file = Path(public(theirs)).rename(photos / "cache" / "public.safetensors")
    (entry,) = models.weights.table()["cifar_resnet20"]
    entry = dataclasses.replace(entry, file=file.name, address=())
    monkeypatch.setattr(models.weights, "table", lambda: {"cifar_resnet20": [entry]})
    monkeypatch.setenv("MINIDL_CACHE", str(photos / "cache"))
    (photos / "cifar_resnet20").mkdir()  # no run: a folder may have that name for other reasons
    quick = ["--data", "first", "--epochs", "1", "--batch-size", "8"]
    for name in ("cifar_resnet20", "cifar_resnet20.akamaster"):
        assert find_start(name, "cifar_resnet20").public == entry
    assert main(["finetune", "cifar_resnet20", "--weights", "cifar_resnet20.akamaster", *quick, "--out", "run"]) == 0
    assert load_run(photos / "run").description["options"] == {"num_classes": 3, "pad": "both"}
    capsys.readouterr()
    for model, name, message in (
        (
            "cifar_resnet32",
            "cifar_resnet20",
            "cifar_resnet20.akamaster are weights of another network: see `minidl weights list`, which has nothing for",
        ),
        (
            "cifar_resnet20",
            "resnet5O",
            "resnet5O: there is no such file of weights, and no such name in `minidl weights",
        ),
        (
            "cifar_resnet20",
            "first",
            "first: this is a folder, and no such name in `minidl weights list`, which has cifar_resnet20.ak",
        ),
    ):
        assert main(["finetune", model, "--weights", name, *quick, "--out", "other"]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    file.unlink()
    assert main(["finetune", "cifar_resnet20", "--weights", "akamaster", *quick, "--out", "other"]) == 2
    assert "put public.safetensors there" in capsys.readouterr().err and not (photos / "other").exists()


def test_weights_of_another_network_are_told_with_their_file(photos: Path, capsys) -> None:
    save_weights(photos / "mine.npz", models.cifar_resnet32())
    arguments = ["finetune", "cifar_resnet20", "--weights", "mine.npz", "--data", "first", "--out", "run"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("minidl: mine.npz: the state dict does not fit CifarResNet; nothing was loaded.")
    assert "unexpected" in error and "layer1.3.conv1.weight (16, 16, 3, 3); nearest: 'layer1." in error
    assert "strict=False" not in error and not (photos / "run").exists()


@pytest.mark.parametrize(
    "name, layer, heads",
    [
        ("inception_v3_aux", "Mixed_7a", ["AuxLogits.fc"]),
        ("googlenet_aux", "fc", ["aux1.fc2", "aux2.fc2"]),
    ],
)
def test_new_layers_of_auxiliary_heads_learn_also_among_frozen_stages(name: str, layer: str, heads: list[str]) -> None:
    with nn.utils.skip_init():
        net = models.create(name, num_classes=5)
    shape = models.info(name).input_shape
    learns = {n for n in head_layers(net, shape) if n not in freeze_until(net, layer, keep=head_layers(net, shape))}
    assert learns == {"fc", *heads}
    for head in heads:
        stem, _, last = head.rpartition(".")
        parts = {n: p.requires_grad for n, p in net.named_parameters() if n.startswith(f"{stem}.")}
        assert len(parts) > 2 and all(grad == n.startswith(f"{stem}.{last}.") for n, grad in parts.items()), parts
    assert not freeze(net).fc.weight.requires_grad
    models.unfreeze(net)
    assert heads[0] in freeze_until(net, layer)  # without `keep` all that stands before


def test_two_layers_under_one_key() -> None:
    with pytest.raises(LayerNameError, match="feature_extractor would call the outputs of layer1 and layer2 both 'a'"):
        feature_extractor(models.cifar_resnet20(), {"layer1": "a", "layer2": "a", "layer3": "b"})


def test_weights_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataNotFoundError, match="nothing: there is no such file of weights, and no such name in"):
        find_start(str(tmp_path / "nothing"), "lenet5")
    assert main(["finetune", "lenet5", "--data", "digits"]) == 2
    assert "finetune begins with weights: --weights FILE, the folder of a run, or a name of" in capsys.readouterr().err
    assert main(["finetune", "--resume", str(tmp_path)]) == 2
    assert "no run was saved there" in capsys.readouterr().err


def test_recipes_and_models_from_the_command_line(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "resnet18", "--recipe", "paper"]) == 2
    said = capsys.readouterr()
    assert "the recipe of resnet18 is for ImageNet: name a folder of images with --data" in said.err
    assert "not as in the paper: the rate is lowered when the error stands still" in said.out
    arguments = ["cifar_resnet20", "--recipe", "paper", "--data", "first", "--epochs", "1", "--batch-size", "8"]
    assert main(["train", *arguments, "--out", "run"]) == 0
    printed = capsys.readouterr().out
    assert "augment flip, normalize mean_image" in printed and "not as in the paper" not in printed
    settings = json.loads((photos / "run" / "config.json").read_text())["settings"]
    assert (settings["epochs"], settings["batch_size"], settings["lr"]) == (1, 8, 0.1)
    assert (settings["optimizer"], settings["weight_decay"], settings["augment"]) == ("sgd", 1e-4, "flip")
    assert main(["train", "--resume", "run", "--recipe", "paper"]) == 2
    assert "--recipe cannot be given with --resume" in capsys.readouterr().err
    assert main(["recipes", "wrn"]) == 0
    out = capsys.readouterr().out
    assert "wrn_28_10" in out and "step x 0.2 after 60, 120, 160, augment reflect" in out
    assert main(["recipes", "resnet50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resnet50"]["weight_decay"] == 1e-4
    assert main(["recipes", "nobody"]) == 2
    assert "no model with 'nobody' in its name has a recipe; `minidl recipes`" in capsys.readouterr().err
    assert main(["models", "vgg16"]) == 0
    out = capsys.readouterr().out
    assert "138,357,544" in out and "15,470,264,320" in out and "25.6 / 8.1" in out and "alexnet" not in out
    assert main(["models", "lenet5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lenet5"]["macs"] == 416_520
    assert main(["models", "--options", "lenet5"]) == 0
    assert "activation=tanh" in capsys.readouterr().out
    assert main(["models", "nobody"]) == 2
    assert "no model has 'nobody' in its name; `minidl models` lists all" in capsys.readouterr().err
