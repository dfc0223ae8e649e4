"""The table of public weights, the cache, and `pretrained=`: against a server on this machine."""

import dataclasses
import hashlib
import re
import tomllib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.data import DataError, DataNotFoundError
from minidl.data import download as downloading
from minidl.io import WeightsError, save_weights
from minidl.io.loading import _other_number_of_classes
from minidl.models import pins, weights
from minidl.models._cadene import from_cadene
from minidl.models.weights import PublicWeights, UnknownWeightsError
from minidl.nn import StateDictError
from minidl.predict import PREPROCESS
from tests.data.file_server import Files, serving

ALL = [entry for entries in weights.table().values() for entry in entries]


# ---- the table -----------------------------------------------------------------------------------------------------


def test_every_row_belongs_to_a_network_and_says_what_it_is() -> None:
    assert len(ALL) >= 50 and len({entry.name for entry in ALL}) == len(ALL)
    for entry in ALL:
        known = models.info(entry.model).options()
        assert set(entry.options) <= set(known), entry.name
        assert entry.licence and entry.page.startswith("https://") and entry.preprocess.crop
        assert entry.address == () or re.fullmatch(r"[0-9a-f]{8,10}|[0-9a-f]{64}", entry.sha256), entry.name
        assert all(address.startswith(("https://", "http://")) and address.endswith("/") for address in entry.address)
        assert entry.top5 is None or 0 < entry.top1 < entry.top5 < 100
        assert len(weights.class_names(entry.classes)) == 1000 or entry.classes in ("cifar10", "mnist")


def test_a_whole_hash_begins_with_the_digits_in_the_name_of_its_file() -> None:
    """As the publisher prints them; it has 64, in lower case, and two networks with one file have one hash."""
    content = tomllib.loads((weights.HERE / "weights.toml").read_text(encoding="utf-8"))
    hashes: dict[str, str | None] = {}
    for row in [row for network in content["files"].values() for row in network]:
        name, whole = row["file"], row.get("sha256")
        printed = re.search(r"-([0-9a-f]{8,10})\.\w+$", name)
        assert printed or whole, name
        if whole is not None:
            assert re.fullmatch("[0-9a-f]{64}", whole) and whole.startswith(printed[1] if printed else ""), name
        assert hashes.setdefault(name, whole) == whole, name
    known = [whole for whole in hashes.values() if whole]
    assert known and len(known) == len(set(known))


def test_sizes_of_the_files_fit_the_networks() -> None:
    """Four bytes a parameter, two where the file is in half precision; running statistics and names come on top."""
    for entry in ALL:
        if entry.mib is None or entry.tag == "deep_compression":
            continue
        with nn.utils.skip_init():
            name = f"{entry.model}_aux" if f"{entry.model}_aux" in models.list() else entry.model
            values = sum(p.numel() for p in models.create(name).parameters())
        ratio = entry.mib * 2**20 / values
        half = entry.name in ("wide_resnet50_2.v1", "wide_resnet101_2.v1")
        torchvision_without = entry.model.startswith("googlenet")  # whose file has lost the auxiliary heads' size
        low, high = (1.9, 2.1) if half else (3.9, 4.7)
        assert torchvision_without or low < ratio < high, (entry.name, ratio)


def test_another_number_of_classes_concerns_the_last_layers_only() -> None:
    """By shapes: what is left out of each network's file for 11 classes."""
    heads = {}
    for name in weights.table():
        with nn.utils.skip_init():
            theirs, own = (models.create(name, **options).state_dict() for options in ({}, {"num_classes": 11}))
        given, wanted = ({n: tuple(v.shape) for n, v in state.items()} for state in (theirs, own))
        left = _other_number_of_classes(given, wanted)
        assert left and all(given[n] == wanted[n] for n in wanted if n not in left), name
        heads[name] = sorted({n.rpartition(".")[0] for n in left})
    assert heads["resnet50"] == ["fc"] and heads["vgg16"] == ["classifier.6"]
    assert heads["squeezenet1_0"] == ["classifier.1"] and heads["googlenet_aux"] == ["aux1.fc2", "aux2.fc2", "fc"]


def test_what_is_known_of_single_files() -> None:
    v1, v2 = (weights.find(f"resnet50.{tag}") for tag in ("v1", "v2"))
    assert v1.url == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    assert v1.sha256 == "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"
    assert weights.find("vgg13").sha256 == "19584684"  # what its name says: the table has no more
    assert (v1.top1, v1.top5, v2.top1, v2.preprocess.resize) == (76.13, 92.862, 80.858, 232)
    assert weights.find("resnet50") == v1 and v1.preprocess == PREPROCESS["imagenet"]
    assert weights.find("googlenet").options == {"transform_input": True}
    assert weights.find("inception_v3").preprocess.crop == 299
    assert weights.find("cifar_resnet20").classes == "cifar10"


def test_names_of_imagenet(shared_data: Path) -> None:
    import json

    classes = weights.imagenet_classes()
    assert len(classes) == 1000 and list(classes) == sorted(classes, key=lambda c: c[0])
    assert json.loads((shared_data / "imagenet_samples" / "class_names.json").read_text()) == [n for _, n in classes]
    for path in (shared_data / "imagenet_samples").glob("*.png"):
        number, wordnet = path.name.split("_")[:2]
        assert classes[int(number)][0] == wordnet


@pytest.mark.parametrize(
    "name, message",
    [
        ("resnet50.v3", "there are no weights 'resnet50.v3'; of resnet50 there are resnet50.v1, resnet50.v2"),
        ("resnet5", "no public weights of 'resnet5' are known; did you mean resnet50 or"),
        ("zzz", "no public weights of 'zzz' are known. `minidl weights list` shows all"),
    ],
)
def test_names_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(UnknownWeightsError, match=re.escape(message)):
        weights.find(name)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path("/home/me")
    assert weights.user_cache("linux", {}, home) == home / ".cache"
    assert weights.user_cache("linux", {"XDG_CACHE_HOME": "/c"}, home) == Path("/c")
    assert weights.user_cache("linux", {"XDG_CACHE_HOME": "c"}, home) == home / ".cache"
    assert weights.user_cache("darwin", {"XDG_CACHE_HOME": "/c"}, home) == home / "Library" / "Caches"
    assert weights.user_cache("win32", {}, home) == home / "AppData" / "Local"
    assert weights.user_cache("win32", {"LOCALAPPDATA": "/l"}, home) == Path("/l")
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "a"))
    assert weights.cache_folder() == tmp_path / "a" and weights.cache_folder(tmp_path) == tmp_path
    monkeypatch.delenv("MINIDL_CACHE")
    assert weights.cache_folder().parts[-2:] == ("minidl", "weights")


# ---- from a server into a network ----------------------------------------------------------------------------------


def save(path: Path, model: nn.Module, **more: np.ndarray) -> tuple[str, bytes]:
    """A file of weights whose name carries the first digits of its hash, and its content."""
    save_weights(path, {name: value.numpy() for name, value in model.state_dict().items()} | more)
    body = path.read_bytes()
    name = f"net-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    return name, body


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloading, "WAIT", 0.0)
    with serving() as files:
        yield files


@pytest.fixture
def trained(tmp_path: Path, server: Files, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A small network whose public weights are on the server, as the only ones of the table."""
    minidl.manual_seed(7)
    model = models.cifar_resnet20()
    name, body = save(tmp_path / "saved.pth", model)
    server.content[name] = body
    entry = PublicWeights(
        "cifar_resnet20", "v1", name, name[4:12], (server.address,), "MIT", "https://x", "cifar10", PREPROCESS["cifar"]
    )
    monkeypatch.setattr(weights, "table", lambda: {"cifar_resnet20": [entry]})
    return model


def same(a: nn.Module, b: nn.Module, *but: str) -> None:
    theirs = b.state_dict()
    for name, value in a.state_dict().items():
        assert (value.shape == theirs[name].shape and bool((value == theirs[name]).all().item())) != (name in but), name


def test_pretrained_fetches_once(tmp_path: Path, server: Files, trained: nn.Module) -> None:
    minidl.manual_seed(1)
    model = models.create("cifar_resnet20", pretrained=True, cache=tmp_path / "cache")
    same(model, trained)
    assert model.training
    server.content.clear()
    same(models.create("cifar_resnet20", pretrained="v1", cache=tmp_path / "cache"), trained)
    with pytest.raises(
        DataNotFoundError, match=r"v2: there is no such file of weights, and no such name in .* has cifar_res"
    ):
        models.create("cifar_resnet20", pretrained="v2")
    with pytest.raises(UnknownWeightsError, match="no public weights of 'lenet5' are known"):
        models.create("lenet5", pretrained=True)


def test_another_number_of_classes_keeps_a_fresh_head(tmp_path: Path, trained: nn.Module) -> None:
    model = models.create("cifar_resnet20", pretrained=True, cache=tmp_path, num_classes=7)
    same(model, trained, "linear.weight", "linear.bias")
    assert 0 < model.linear.weight.abs().mean().item() < 1  # drawn, not left as memory had it
    with pytest.raises(StateDictError):
        models.create("cifar_resnet20", pretrained=True, cache=tmp_path, shortcut="B")


def test_an_offline_machine_is_told_which_file_to_put_where(tmp_path: Path, server: Files, trained: nn.Module) -> None:
    ((name, body),) = server.content.items()
    server.content.clear()
    with pytest.raises(DataNotFoundError) as caught:
        models.create("cifar_resnet20", pretrained=True, cache=tmp_path / "cache")
    text = str(caught.value)
    assert f"{name} could not be downloaded" in text and f"published at {server.address}" in text
    assert f"cifar_resnet20.v1 needs these files in {tmp_path / 'cache'}:\n  {name}  (sha256:{name[4:12]})" in text
    (tmp_path / "cache" / name).write_bytes(body)  # as it says
    same(models.create("cifar_resnet20", pretrained=True, cache=tmp_path / "cache"), trained)


def test_wrong_bytes_do_not_stay_in_the_cache(tmp_path: Path, server: Files, trained: nn.Module) -> None:
    (name,) = server.content
    server.content[name] = b"<html>a proxy's page</html>"
    with pytest.raises(DataError, match="the wrong hash and was thrown away"):
        models.create("cifar_resnet20", pretrained=True, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_whole_hash_is_kept_beside_a_file_of_which_the_table_has_eight_digits(
    tmp_path: Path, server: Files, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((name, body),) = server.content.items()
    models.create("cifar_resnet20", pretrained=True, cache=tmp_path)
    digits, note = hashlib.sha256(body).hexdigest(), tmp_path / f"{name}.sha256"
    assert note.read_text() == f"{digits}  {name}\n"
    other = f"{digits[:8]}{'0' * 56}"  # another file of the same eight digits
    note.write_text(f"{other}  {name}\n")
    told = "is not the one that was noted when a file of this name was first downloaded, though both begin with the "
    told += f"digits that the publisher gives; expected {other}, found {digits}. Do not use it before you know why: "
    told += f"delete {tmp_path / name} to take the file anew, or {note} if the publisher has another file now"
    for _ in range(2):  # from the cache, and fetched anew
        with pytest.raises(DataError, match=re.escape(told)):
            models.create("cifar_resnet20", pretrained=True, cache=tmp_path)
        (tmp_path / name).unlink()
    assert len(server.asked) == 2
    for text in ("", "no hash", "0" * 64, "\N{SNOWMAN}"):
        note.write_text(text, encoding="utf-8")
        models.create("cifar_resnet20", pretrained=True, cache=tmp_path)
        assert note.read_text() == f"{digits}  {name}\n"
    whole = dataclasses.replace(weights.table()["cifar_resnet20"][0], sha256=digits)
    note.unlink()
    assert whole.fetch(tmp_path).is_file() and not note.exists()  # the table has it all


def test_the_hash_is_shown_once(
    tmp_path: Path, server: Files, trained: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    ((name, body),) = server.content.items()
    entry, digits = weights.find("cifar_resnet20"), hashlib.sha256(body).hexdigest()
    assert (entry.trust(tmp_path), entry.pinned(tmp_path)) == ("8 digits", None)
    entry.fetch(tmp_path)
    assert (entry.trust(tmp_path), entry.pinned(tmp_path)) == ("noted here", digits)
    told = f"its publisher gives {name[4:12]} only, which agrees. All of it is\n  {digits}\nIt is noted in {tmp_path}"
    assert told in capsys.readouterr().err
    entry.fetch(tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / f"{name}.sha256").unlink()
    entry.fetch(tmp_path, progress=False)
    assert capsys.readouterr().err == "" and entry.trust(tmp_path) == "noted here"


def test_a_file_elsewhere_is_compared_with_the_hash_that_was_noted(
    tmp_path: Path, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    entry, mine = weights.find("cifar_resnet20"), tmp_path / "saved.pth"
    path = entry.fetch(progress=False)
    assert weights.choose("cifar_resnet20", mine) == (mine, entry)
    Path(f"{path}.sha256").write_text(f"{entry.sha256}{'0' * 56}  {path.name}\n")
    with pytest.raises(DataError, match=rf"saved\.pth: its SHA-256 is not .* delete {re.escape(str(mine))} to take"):
        weights.choose("cifar_resnet20", mine)


def test_a_cache_that_cannot_be_written_is_read(
    tmp_path: Path, server: Files, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((name, body),) = server.content.items()
    (tmp_path / name).write_bytes(body)

    def refused(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(arguments[0]))

    monkeypatch.setattr(pins, "atomic_write", refused)
    same(models.create("cifar_resnet20", pretrained=True, cache=tmp_path), trained)
    assert not pins.note_of(tmp_path / name).exists()


def test_a_damaged_file_in_the_cache_is_fetched_anew(tmp_path: Path, server: Files, trained: nn.Module) -> None:
    ((name, body),) = server.content.items()
    (tmp_path / name).write_bytes(body[:-1] + b"x")
    same(models.create("cifar_resnet20", pretrained=True, cache=tmp_path), trained)
    assert (tmp_path / name).read_bytes() == body


def test_a_file_without_address(tmp_path: Path) -> None:
    entry = weights.find("lenet_caffe")
    with pytest.raises(DataNotFoundError, match=r"lenet_caffe\.caffe has no public address: put lenet_iter"):
        entry.fetch(tmp_path)
    (tmp_path / entry.file).write_bytes(b"")
    assert entry.fetch(tmp_path) == tmp_path / entry.file


def entry_for(model: str, **more) -> PublicWeights:
    preprocess = PREPROCESS["imagenet"]
    return PublicWeights(model, "v1", "f.pth", "", (), "MIT", "https://x", "imagenet", preprocess, **more)


def test_what_the_network_lacks_is_dropped_and_the_background_class_too(tmp_path: Path) -> None:
    minidl.manual_seed(2)
    saved = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 8))
    save(tmp_path / "f.pth", saved, **{"aux1.weight": np.ones(3), "aux2.bias": np.ones(2)})  # not the last layer's
    with pytest.raises(StateDictError):
        entry_for("mlp").load(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 8)), tmp_path / "f.pth")
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 7))
    entry_for("mlp", drop=("aux1.", "aux2."), background="1").load(model, tmp_path / "f.pth")
    for name, value in saved.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value.numpy()[name.startswith("1.") :])


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_files_with_auxiliary_heads_fit_the_networks_without(tmp_path: Path, name: str) -> None:
    """The published files hold the heads, which only the networks called _aux have."""
    with nn.utils.skip_init():
        source, target = models.create(f"{name}_aux"), models.create(name, **weights.find(name).options)
    save(tmp_path / "f.pth", source)
    report = weights.find(name).load(target, tmp_path / "f.pth")
    assert report.loaded == len(target.state_dict()) and target.transform_input
    assert weights.find(f"{name}_aux").load(source, tmp_path / "f.pth").loaded == len(source.state_dict())


@pytest.mark.parametrize("name, each", [("nasnet_a_mobile", 4), ("nasnet_a_large", 6)])
def test_names_of_nasnet_in_cadenes_files(name: str, each: int) -> None:
    """Cells are numbered with gaps there: 0 to 3, 6 to 9, 12 to 15 in the mobile form."""
    numbers = [start + i for start in (0, 6, 12) for i in range(each)]
    theirs = ["conv0.conv", "conv0.bn", "cell_stem_0.conv_1x1.conv", "cell_stem_1.comb_iter_1_right.bn_sep_2"]
    theirs += [f"cell_{i}.comb_iter_1_right.separable_2.depthwise_conv2d" for i in numbers]
    theirs += ["cell_0.path_2.conv", f"cell_{numbers[-1]}.conv_prev_1x1.bn", "cell_6.final_path_bn"]
    theirs += [f"reduction_cell_{i}.comb_iter_4_left.separable_1.pointwise_conv2d" for i in (0, 1)]
    ours = ["conv0", "bn0", "cells.0.project.conv", "cells.1.p7b.bn2"]
    places = [i for i in range(2, 3 * each + 4) if i not in (2 + each, 3 + 2 * each)]
    ours += [f"cells.{i}.p3b.depthwise2" for i in places]
    ours += ["cells.2.adjust.odd", f"cells.{3 * each + 3}.adjust.bn", f"cells.{3 + each}.adjust.bn"]
    ours += [f"cells.{i}.a3.pointwise1" for i in (2 + each, 3 + 2 * each)]
    found = from_cadene({f"{module}.weight": i for i, module in enumerate(theirs)} | {"last_linear.bias": -1})
    assert found == {f"{module}.weight": i for i, module in enumerate(ours)} | {"fc.bias": -1}
    with nn.utils.skip_init():
        own = models.create(name).state_dict()
    assert set(found) <= set(own)


def test_files_are_recognised_by_their_hash(tmp_path: Path, trained: nn.Module) -> None:
    entry = weights.table()["cifar_resnet20"][0]
    assert weights.locate("cifar_resnet20", tmp_path / "saved.pth") == (tmp_path / "saved.pth", entry)
    (tmp_path / "other.pth").write_bytes(b"other")
    for name in ("cifar_resnet20", "mlp"):
        assert weights.locate(name, tmp_path / "other.pth") == (tmp_path / "other.pth", None)
    with pytest.raises(
        UnknownWeightsError, match=r"pth is cifar_resnet20\.v1 of `minidl weights list`, no file for mlp"
    ):
        weights.locate("mlp", tmp_path / "saved.pth")


# ---- converted files -----------------------------------------------------------------------------------------------


def converted(source: Path, target: Path) -> Path:
    """As `minidl convert` does it."""
    known, digits = weights.source_of(source)
    arrays = known[0].arrays(source)
    save_weights(target, arrays, dict(zip(weights.CONVERTED, (known[0].name, digits), strict=True)))
    return target


def images(*shape: int) -> minidl.Tensor:
    return minidl.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_a_converted_file_brings_the_options_along(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shortcuts of akamaster's ResNets pad on both sides, which no array says."""
    minidl.manual_seed(3)
    theirs, x = models.create("cifar_resnet20", pad="both").eval(), images(2, 3, 32, 32)
    _, body = save(tmp_path / "saved.pth", theirs)
    entry = dataclasses.replace(weights.find("cifar_resnet20"), sha256=hashlib.sha256(body).hexdigest())
    monkeypatch.setattr(weights, "table", lambda: {"cifar_resnet20": [entry]})
    path = converted(tmp_path / "saved.pth", tmp_path / f"converted{suffix}")
    again = converted(path, tmp_path / f"again{suffix}")
    for file in ("saved.pth", path.name, again.name):
        assert weights.locate("cifar_resnet20", tmp_path / file)[1] == entry
        model = models.create("cifar_resnet20", pretrained=tmp_path / file).eval()
        np.testing.assert_array_equal(model(x).detach().numpy(), theirs(x).detach().numpy())
    with pytest.raises(UnknownWeightsError, match=r"is cifar_resnet20\.akamaster of .* no file for cifar_resnet56"):
        models.create("cifar_resnet56", pretrained=path)
    seven = models.create("cifar_resnet20", pretrained=str(path), num_classes=7)
    same(seven, theirs, "linear.weight", "linear.bias")


def test_a_file_of_yours_with_another_number_of_classes_is_not_half_loaded(tmp_path: Path) -> None:
    save(tmp_path / "mine.pth", models.cifar_resnet20(num_classes=7))
    with pytest.raises(
        StateDictError, match=r"mine\.pth: the state dict does not fit CifarResNet(.|\n)*number of classes"
    ):
        models.create("cifar_resnet20", pretrained=tmp_path / "mine.pth")
    assert models.create("cifar_resnet20", pretrained=tmp_path / "mine.pth", num_classes=7).linear.weight.shape[0] == 7


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_the_background_class_is_that_of_the_last_layer_in_any_order(tmp_path: Path, suffix: str) -> None:
    """safetensors sorts its arrays, so the last ones of a file need not be those of the last layer."""

    def net(classes: int) -> nn.Module:
        return nn.Sequential(OrderedDict(stem=nn.Linear(4, 6), fc=nn.Linear(6, classes)))

    saved, model = net(8), net(7)
    save_weights(tmp_path / f"f{suffix}", saved)
    entry_for("mlp", background="fc").load(model, tmp_path / f"f{suffix}")
    for name, value in saved.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value.numpy()[name.startswith("fc") :])


@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2", "nasnet_a_large"])
def test_the_background_class_is_that_of_the_last_layer(name: str) -> None:
    entry = weights.find(name)
    with nn.utils.skip_init():
        last = list(models.create(name).state_dict())[-1].rpartition(".")[0]
    layer = entry.background
    for pattern, replacement in entry.aliases.items():
        layer = re.sub(pattern, replacement, layer)
    assert layer == last


def test_a_damaged_file_is_not_taken_for_one_of_yours(tmp_path: Path, trained: nn.Module) -> None:
    """The older format of PyTorch has no checksums, and options and preprocessing would be those of any file."""
    entry = weights.table()["cifar_resnet20"][0]
    (tmp_path / entry.file).write_bytes((tmp_path / "saved.pth").read_bytes()[:-1] + b"x")
    message = "it is called like cifar_resnet20.v1 of `minidl weights list`, whose SHA-256 begins with " + entry.sha256
    with pytest.raises(WeightsError, match=f"{re.escape(message)}, but has another: it is damaged, or needs another n"):
        weights.locate("cifar_resnet20", tmp_path / entry.file)
    assert weights.locate("cifar_resnet20.v1", tmp_path / entry.file)[1] == entry  # who says so, gets it


def test_caffes_own_name_for_a_file_may_be_of_yours(tmp_path: Path) -> None:
    """Everybody who trains its example gets a lenet_iter_10000.caffemodel."""
    path = tmp_path / weights.find("lenet_caffe").file
    path.write_bytes(b"mine")
    assert weights.locate("lenet_caffe", path) == (path, None)


def test_a_format_of_its_own_has_no_sets_to_choose(tmp_path: Path) -> None:
    (tmp_path / "x.net").write_bytes(b"x")
    with pytest.raises(
        WeightsError, match=r"key='ema' chooses inside PyTorch files; .*\.deep_compression has one set of weights"
    ):
        weights.find("squeezenet1_0.deep_compression").arrays(tmp_path / "x.net", key="ema")


def test_what_is_meant_by_a_name(tmp_path: Path, server: Files, trained: nn.Module) -> None:
    entry = weights.table()["cifar_resnet20"][0]
    cache = tmp_path / "cache"
    for given in (None, "v1", "cifar_resnet20", "cifar_resnet20.v1"):
        assert weights.locate("cifar_resnet20", given, cache) == (cache / entry.file, entry)
    (tmp_path / "other.pth").write_bytes(b"other")
    assert weights.locate("cifar_resnet20", tmp_path / "other.pth") == (tmp_path / "other.pth", None)
    assert weights.locate("cifar_resnet20.v1", tmp_path / "other.pth") == (tmp_path / "other.pth", entry)
    with pytest.raises(
        UnknownWeightsError, match=r"cifar_resnet20\.v1 are weights of another network: see .* has nothing for mlp"
    ):
        weights.locate("mlp", "cifar_resnet20")
    with pytest.raises(DataNotFoundError, match="this is a folder, and no such name in"):
        weights.locate("cifar_resnet20", tmp_path)
    with pytest.raises(UnknownWeightsError, match=r"an empty text names no weights: see .* has cifar_resnet20"):
        models.create("cifar_resnet20", pretrained="")
    with pytest.raises(AssertionError):
        same(models.create("cifar_resnet20", pretrained=None), trained)


def test_a_file_of_two_networks_by_either_name(tmp_path: Path) -> None:
    aux = weights.find("googlenet_aux")
    assert weights._called("googlenet_aux", "googlenet") == weights._called("googlenet_aux", "v1") == aux


@pytest.mark.parametrize("depth", [20, 56])
def test_a_published_file(shared_data: Path, tmp_path: Path, depth: int) -> None:
    entry = weights.find(f"cifar_resnet{depth}")
    file = shared_data / "weights" / "cifar_resnet" / entry.file
    assert hashlib.sha256(file.read_bytes()).hexdigest() == entry.sha256
    assert round(file.stat().st_size / 2**20, 3) == entry.mib
    (tmp_path / entry.file).write_bytes(file.read_bytes())
    model = models.create(entry.model, pretrained=True, cache=tmp_path)  # nothing is fetched
    assert model.state_dict()["conv1.weight"].shape == (16, 3, 3, 3)


def test_pretrained_where_it_cannot_be() -> None:
    with pytest.raises(models.ModelOptionError, match=r"pretrained is True, a name such as .* or a file, not 1"):
        models.create("resnet18", pretrained=1)
    hint = r"resnet18 has no option 'pretrained': models\.create\('resnet18', pretrained=True\) loads weights\. Its"
    with pytest.raises(models.ModelOptionError, match=hint):
        models.info("resnet18").constructor(pretrained=True)
