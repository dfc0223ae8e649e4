"""The commands predict, eval and weights for networks of the zoo, as people call them."""

import csv
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import models
from minidl.__main__ import main
from minidl.data import download as downloading
from minidl.io import save_weights
from minidl.models import weights
from minidl.models.weights import PublicWeights
from minidl.predict import PREPROCESS
from tests.data.file_server import Files, serving
from tests.models.test_weights import save

pytest.importorskip("cyclopts")
image_module = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def write_photos(*names: str) -> None:
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        image_module.fromarray(pixels).save(name)


def probabilities(out: str) -> list[list[float]]:
    """Of the JSON of minidl predict: for each image, by class."""
    return [[p for _, p in sorted(row["ranking"])] for row in json.loads(out)]


@pytest.fixture
def mine() -> None:
    """Two files of weights for seven classes, and four photographs."""
    for seed, name in ((5, "mine.pth"), (6, "other.safetensors")):
        minidl.manual_seed(seed)
        model = models.cifar_resnet20(num_classes=7)
        with minidl.no_grad():
            model.linear.weight.mul_(0.003)  # without it one class of an untrained network is certain
        save_weights(name, model)
    write_photos("a.png", "b.jpg", "more/c.png", "more/d.png")


NET = ("predict", "cifar_resnet20", "--weights", "mine.pth")


def test_one_photograph(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *NET, "a.png")
    assert (code, err) == (0, "") and "a.png" in out and "probability" in out
    assert len(re.findall(r"\d+\.\d\d%", out)) == 5
    assert len(re.findall(r"\d+\.\d\d%", call(capsys, *NET, "a.png", "--top", "2")[1])) == 2


def test_a_folder_a_pattern_and_a_list(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.txt").write_text("more/c.png\na.png\n")
    code, out, _ = call(capsys, *NET, "more", "*.jpg", "@list.txt", "--json", "--top", "7")
    rows = json.loads(out)
    assert code == 0
    assert [Path(row["image"]).as_posix() for row in rows] == [
        "more/c.png", "more/d.png", "b.jpg", "more/c.png", "a.png"
    ]  # fmt: skip
    assert rows[0]["ranking"] == rows[3]["ranking"] and len(rows[0]["ranking"]) == 7
    assert sum(p for _, p in rows[0]["ranking"]) == pytest.approx(1)


def test_a_table_with_commas(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("names.txt").write_text("\n".join(["big, red", *"bcdefg"]))
    code, out, _ = call(capsys, *NET, "a.png", "b.jpg", "--csv", "--top", "7", "--classes", "names.txt")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and len(rows) == 14 and rows[7]["image"] == "b.jpg" and rows[7]["rank"] == "1"
    assert {row["class"] for row in rows} == {"big, red", *"bcdefg"}
    assert sum(float(row["probability"]) for row in rows[:7]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("how", ["", "--json", "--csv"])
def test_a_broken_image_is_reported_and_the_others_go_on(
    mine: None, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    Path("bad.png").write_bytes(Path("a.png").read_bytes()[:500])
    Path("text.png").write_text("no image")
    code, out, err = call(capsys, *NET, "bad.png", "a.png", "missing.png", "text.png", "b.jpg", *filter(None, [how]))
    assert code == 1
    if how == "--json":
        rows = json.loads(out)
        assert [list(row) for row in rows] == [["image", k] for k in ("error", "ranking", "error", "error", "ranking")]
        assert "cannot be read" in rows[0]["error"] and rows[2]["error"] == "No such file or directory"
        return
    assert "a.png" in out and "b.jpg" in out and "bad.png" not in out
    lines = err.splitlines()
    assert len(lines) == 3 and lines[0].startswith("minidl: bad.png: the image cannot be read")
    assert lines[1] == "minidl: missing.png: No such file or directory"


def test_views_change_the_answer_as_they_should(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    base = (*NET, "a.png", "--json", "--top", "7", "--preprocess", "cifar,resize=36")

    def ask(*more: str) -> np.ndarray:
        code, out, err = call(capsys, *base, *more)
        assert (code, err) == (0, "")
        return np.array(probabilities(out))

    single, ten, both = ask(), ask("--crops", "10"), ask("--crops", "5", "--mirror")
    assert not np.allclose(single, ten) and np.allclose(ten, both, rtol=1e-5)
    a, b = ask("--scales", "34"), ask("--scales", "48")
    np.testing.assert_allclose(ask("--scales", "34,48"), (a + b) / 2, rtol=1e-5)
    assert not np.allclose(ask("--dense"), single)


def test_an_ensemble(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*words: str) -> np.ndarray:
        code, out, err = call(capsys, "predict", "cifar_resnet20", "a.png", "--json", "--top", "7", *words)
        assert code == 0, err
        return np.array(probabilities(out))

    a, b = ask("--weights", "mine.pth"), ask("--weights", "other.safetensors")
    together = ask("--weights", "mine.pth", "--ensemble", "cifar_resnet20=other.safetensors")
    np.testing.assert_allclose(together, (a + b) / 2, rtol=1e-5)
    weighted = ask("--weights", "mine.pth", *("--ensemble", "cifar_resnet20=other.safetensors") * 2)
    np.testing.assert_allclose(weighted, (a + 2 * b) / 3, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("predict", "resnet50"), "no image was named: minidl predict RUN IMAGE..., or minidl predict resnet50"),
        (("predict", "resnet50", "a.png", "--json", "--csv"), "--json or --csv, not both"),
        (("predict", "resnet50", "a.png", "--top", "0"), "--top 0: at least one answer"),
        (("predict", "resnet50", "a.png", "--invert"), "--invert is for runs: networks of the zoo see images as"),
        (("predict", "resnet5O", "a.png"), "there is no model 'resnet5O'; did you mean resnet50"),
        (
            ("predict", "runs/a", "a.png", "--dense"),
            "runs/a is no network of the zoo but a run, which takes no --dense",
        ),
        (("eval", "runs/a", "--crops", "5"), "runs/a is no network of the zoo but a run, which takes no --crops"),
        (("eval", "resnet50"), "on which images? minidl eval resnet50 --data FOLDER"),
        (("predict", "resnet50", "a.png", "--scales", "a"), "--scales a: whole numbers with commas between them"),
        (("predict", "resnet50", "none/*.png"), "none/*.png: a pattern that no file fits"),
        (("predict", "resnet50", "a.png", "--weights", "x.pth"), "x.pth: there is no such file of weights"),
        (("weights", "get"), "which weights? minidl weights get NAME, such as resnet50"),
        (("weights", "get", "resnet5"), "no public weights of 'resnet5' are known; did you mean"),
        (("weights", "list", "lenet"), "no public weights of 'lenet' are known"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2 and err.startswith(f"minidl: {message}") and err.count("\n") == 1, err


def test_a_folder_with_the_name_of_a_network_is_no_run(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cifar_resnet20").mkdir()
    assert call(capsys, *NET, "a.png")[0] == 0
    Path("cifar_resnet20", "config.json").touch()
    code, _, err = call(capsys, *NET, "a.png")
    assert code == 2 and "cifar_resnet20 is no network of the zoo but a run, which takes no --weights" in err


def test_weights_of_another_network(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "predict", "cifar_resnet32", "a.png", "--weights", "mine.pth")
    assert code == 2 and err.startswith("minidl: ") and "Traceback" not in err and "layer1.3" in err


def test_eval_of_a_folder(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    for label in (0, 3):
        write_photos(*(f"test/{label}/{i}.png" for i in range(4)))
    arguments = ("eval", "cifar_resnet20", "--data", "test", "--weights", "mine.pth", "--crops", "5")
    code, out, err = call(capsys, *arguments)
    lines = out.splitlines()
    assert code == 0 and err == "" and len(lines) == 2
    assert lines[0].startswith("cifar_resnet20: shorter side to 32 (bilinear), centre 32x32, RGB, (x / 255 - (0.485")
    assert lines[0].endswith("; 5 crops")
    assert re.fullmatch(r"top-1 \d+\.\d\d % \(\d of 8\), top-5 \d+\.\d\d % \(\d of 8\)", lines[1])
    Path("test/3/0.png").write_text("no image")
    code, out, err = call(capsys, *arguments)
    assert code == 1 and "of 7)" in out
    assert err.startswith("minidl: ") and err.count("\n") == 1 and "0.png: the image cannot be read" in err


# ---- public weights ------------------------------------------------------------------------------------------------


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A table with one file, on a server of this machine."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloading, "WAIT", 0.0)
    minidl.manual_seed(7)
    name, body = save(tmp_path / "saved.pth", models.cifar_resnet20())
    with serving() as files:
        files.content[name] = body
        entry = PublicWeights(
            "cifar_resnet20", "v1", name, name[4:12], (files.address,), "MIT", "https://x", "cifar10",
            PREPROCESS["cifar"], 1.05, 91.73,
        )  # fmt: skip
        monkeypatch.setattr(weights, "table", lambda: {"cifar_resnet20": [entry]})
        yield files


def test_list_get_path_remove(tmp_path: Path, public: Files, capsys: pytest.CaptureFixture[str]) -> None:
    (name,) = public.content
    path = tmp_path / "cache" / name
    assert call(capsys, "weights", "path") == (0, f"{tmp_path / 'cache'}\n", "")
    assert call(capsys, "weights", "path", "cifar_resnet20") == (1, f"{path}\n", "")
    code, out, _ = call(capsys, "weights")
    assert code == 0 and "cifar_resnet20.v1" in out and "91.7" in out and "yes" not in out and "MIT" in out
    public.breaks_after = [1000, 1000, 1000]
    code, out, err = call(capsys, "weights", "get", "cifar_resnet20")
    assert code == 2 and "could not be downloaded" in err and "What came is kept" in err and not out
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"{name}.part"]
    code, out, err = call(capsys, "weights", "get", "cifar_resnet20")
    assert (code, out) == (0, f"{path}\n") and name in err  # the progress
    assert path.read_bytes() == public.content[name] and public.asked[-1][1] == "bytes=3000-"
    assert call(capsys, "weights", "path", "cifar_resnet20.v1") == (0, f"{path}\n", "")
    assert "yes" in call(capsys, "weights", "list", "cifar_resnet20")[1]
    (tmp_path / "cache" / f"{name}.part").touch()
    assert (tmp_path / "cache" / f"{name}.sha256").read_text().endswith(f"  {name}\n")
    code, out, _ = call(capsys, "weights", "remove", "all")
    assert code == 0 and out.count("removed") == 2
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"{name}.sha256"]  # for the next download
    assert call(capsys, "weights", "remove", "all") == (0, "", "")


def test_verify(tmp_path: Path, public: Files, capsys: pytest.CaptureFixture[str]) -> None:
    ((name, body),) = public.content.items()
    path, digits = tmp_path / "cache" / name, hashlib.sha256(body).hexdigest()
    nothing = f"no file of `minidl weights list` is in {tmp_path / 'cache'}\n"
    assert call(capsys, "weights", "verify") == (0, nothing, "")
    assert call(capsys, "weights", "verify", "cifar_resnet20") == (1, f"missing  {name}\n", "")
    path.parent.mkdir()
    path.write_bytes(body)  # carried here by hand
    code, out, _ = call(capsys, "weights", "verify")
    assert code == 0 and "8 digits" in call(capsys, "weights", "list")[1]
    assert out == (
        f"digits   {name}: its publisher's {digits[:8]} of {digits}; `minidl weights get cifar_resnet20.v1` notes "
        "the whole\n"
    )
    assert call(capsys, "weights", "get", "cifar_resnet20")[0] == 0 and not public.asked
    assert "noted here" in call(capsys, "weights", "list")[1]
    assert call(capsys, "weights", "verify") == (0, f"whole    {name}: the SHA-256 noted here, {digits}\n", "")
    path.write_bytes(b"x")
    wrong, note = f"WRONG    {name}: SHA-256 is {hashlib.sha256(b'x').hexdigest()}, not", Path(f"{path}.sha256")
    line = f"{wrong} {digits}; delete {path}, or {note} if you trust it\n"
    assert call(capsys, "weights", "verify") == (1, line, "")
    note.unlink()
    assert call(capsys, "weights", "verify") == (1, f"{wrong} {digits[:8]}; delete {path}\n", "")


def test_verify_what_the_table_knows_whole_and_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = hashlib.sha256(b"x").hexdigest()
    entries = [
        PublicWeights("mlp", file, f"{file}.pth", known, (), "MIT", "https://x", "mnist", PREPROCESS["cifar"])
        for file, known in (("a", digits), ("b", ""), ("a", digits))
    ]
    monkeypatch.setattr(weights, "table", lambda: {"mlp": entries[:2], "lenet5": entries[2:]})
    (tmp_path / "cache").mkdir()
    for file in ("a.pth", "b.pth", "c.pth"):
        (tmp_path / "cache" / file).write_bytes(b"x")
    assert call(capsys, "weights", "verify") == (
        0,
        f"whole    a.pth: the SHA-256 of the table, {digits}\nunknown  b.pth: no hash of it is known; it is {digits}\n",
        "",
    )


# ---- mistakes are found before anything is fetched -----------------------------------------------------------------

RESNET = ("cifar_resnet20", "--weights", "v1")
FEATURES = "cifar_resnet20.v1"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("predict", "cifar_resnet20", "missing.png", "text.png"), "missing.png: No such file or directory"),
        (("predict", *RESNET, "a.png", "--classes", "none.txt"), "classes is imagenet, cifar10, mnist or"),
        (("predict", *RESNET, "a.png", "--classes", "imagenet"), "the weights are for 10 classes, but there"),
        (("predict", *RESNET, "a.png", "--preprocess", "x"), "'x' is no preprocessing"),
        (("predict", *RESNET, "a.png", "--crops", "3"), "crops is one of 1, 5, 10, 144, not 3"),
        (("predict", *RESNET, "a.png", "--ensemble", "resnet5O"), "there is no model 'resnet5O'"),
        (("predict", *RESNET, "a.png", "--ensemble", "mlp"), "no public weights of 'mlp' are known"),
        (("predict", *RESNET, "a.png", "--device", "cuda:x"), "cuda:x"),
        (("eval", "cifar_resnet20", "--data", "nowhere"), "nowhere is no folder, no .npz file and none of"),
        (("eval", "cifar_resnet20", "--data", "cifar10"), "CIFAR10"),
        (("eval", "cifar_resnet20", "--data", "labelled"), "'none of them' is none of the network's 10 classes"),
        (("features", "maps", FEATURES, "--layer", "layer1", "--input", "missing.png"), "missing.png: No such"),
        (("features", "maps", FEATURES, "--layer", "layer1", "--input", "random:x"), "--input random:x: after"),
        (("features", "saliency", FEATURES, "--input", "missing.npy"), "missing.npy: No such file"),
        (("features", "patches", FEATURES, "--unit", "layer1", "--among", "nowhere"), "--among nowhere: that"),
        (("features", "shift", FEATURES, "--shifts", "x"), "--shifts x: whole numbers with commas"),
        (("features", "filters", FEATURES, "--out", "x.gif"), "x.gif"),
        (("finetune", *RESNET, "--data", "nowhere"), "there is no data set 'nowhere'"),
        (("finetune", *RESNET, "--data", "cifar10"), "CIFAR10"),
        (("finetune", *RESNET, "--freeze-until", "x"), "CifarResNet has no layer 'x'"),
        (("finetune", *RESNET, "--features", "x"), "CifarResNet has no layer 'x'"),
        (("finetune", *RESNET, "--options.shortcut", "D"), "shortcut"),
        (("finetune", *RESNET, "--graph"), "a graph of a training step (--graph) is"),
        (("finetune", *RESNET, "--optimizer-options.x", "1"), "--optimizer sgd does not"),
        (("train", *RESNET, "--data", "nowhere"), "there is no data set 'nowhere'"),
        (("weights", "get", "cifar_resnet20", "resnet5"), "no public weights of 'resnet5' are known"),
    ],
)
def test_mistakes_are_found_before_weights_are_fetched(
    public: Files, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    write_photos("a.png", "labelled/none of them/a.png")
    Path("text.png").write_text("no image")
    code, _, err = call(capsys, *arguments)
    assert code in (1, 2) and message in err, err
    assert public.asked == [] and not Path("cache").exists()


def test_another_cache(tmp_path: Path, public: Files, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "weights", "get", "cifar_resnet20", "--cache", "elsewhere")
    assert code == 0 and out.startswith("elsewhere") and not (tmp_path / "cache").exists()
    write_photos("a.png")
    public.content.clear()
    code, out, _ = call(capsys, "predict", "cifar_resnet20", "a.png", "--cache", "elsewhere", "--csv")
    assert code == 0 and out.count("\n") == 6
    code, _, err = call(capsys, "predict", "cifar_resnet20", "a.png")
    assert code == 2 and "cifar_resnet20.v1 needs these files in" in err


def test_the_cached_file_is_used_and_its_progress_is_not_among_the_answers(
    public: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos("a.png")
    code, out, _ = call(capsys, "predict", "cifar_resnet20", "a.png", "--json")
    assert code == 0 and len(json.loads(out)[0]["ranking"]) == 5
    assert json.loads(out)[0]["ranking"][0][0] in weights.class_names("cifar10")
    assert call(capsys, "predict", "cifar_resnet20", "a.png", "--json")[1] == out and len(public.asked) == 1


def test_the_real_table_is_listed_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    code, out, _ = call(capsys, "weights", "list")
    assert code == 0 and all(name in out for name in weights.names())
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in out
    assert "resnet50.v2" in call(capsys, "weights", "list", "resnet50")[1]
    assert "resnet50.v2" not in call(capsys, "weights", "list", "resnet50.v1")[1]


def test_the_names_are_whole_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # they are what the other commands take
    for forced in ("", "1"):  # a pipe, and what rich takes for a terminal
        monkeypatch.setenv("FORCE_COLOR", forced)
        code, out, _ = call(capsys, "weights", "list")
        assert code == 0 and [name for name in weights.names() if name not in out] == []


def test_a_file_that_may_hold_public_arrays_and_does_not_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The arrays fit with the zeros of the shortcuts behind and on both sides; one of the two answers is nonsense."""
    write_photos("a.png")
    for name, classes in (("ten.npz", 10), ("seven.npz", 7)):
        save_weights(name, models.cifar_resnet20(num_classes=classes))
    code, out, err = call(capsys, "predict", "cifar_resnet20", "a.png", "--weights", "ten.npz", "--csv")
    assert code == 0 and out.count("\n") == 6
    assert err == (
        "minidl: ten.npz is no file of `minidl weights list`; if its arrays are those of cifar_resnet20.akamaster, "
        "which wants pad = both, write cifar_resnet20.akamaster instead of cifar_resnet20\n"
    )
    for silent in (("cifar_resnet20.akamaster", "ten.npz"), ("cifar_resnet20", "seven.npz")):
        assert call(capsys, "predict", silent[0], "a.png", "--weights", silent[1], "--csv")[2] == ""
