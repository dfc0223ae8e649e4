"""The commands train, eval and predict as people call them."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl.__main__ import main
from tests.train.test_tasks import write_folder, write_mnist

pytest.importorskip("cyclopts")
ROOT = Path(__file__).parents[2]
QUICK = ("--augment", "none", "--epochs", "2")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("minidl.train.console.PATIENCE", 3600.0)  # on a busy machine the wait would be explained


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def unboxed(text: str) -> str:
    """A message out of its frame, in one line."""
    return re.sub(r"[│\s]+", " ", text)


def test_train_then_eval_then_resume_then_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "train", "mlp", "--data", "digits", *QUICK)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "mlp, sizes (64, 100, 10), hidden relu, output None"
    assert lines[1].startswith("data digits, epochs 2, batch_size 64, optimizer adam")
    assert lines[2].startswith("epoch 1/2  train loss") and lines[3].startswith("epoch 2/2  train loss")
    assert "confusion matrix: rows are the truth, columns the answer" in out
    last = re.fullmatch(
        r"test accuracy (\d+\.\d\d) % \((\d+) of 360\), loss \d\.\d{4}, after 2 epochs of \d+ s in all\. "
        r"The run is in runs.mlp-digits",
        lines[-1],
    )
    assert last is not None, lines[-1]
    folder = tmp_path / "runs" / "mlp-digits"
    expected = ["best.safetensors", "checkpoint.safetensors", "config.json", "confusion.png", "curves.png"]
    assert sorted(os.listdir(folder)) == [*expected, "metrics.jsonl"]
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[1])["test_accuracy"] == int(last[2]) / 360

    code, out, _ = call(capsys, "eval", str(folder))
    assert code == 0 and out.startswith("mlp after 2 epochs, on the test part of digits\n")
    assert out.splitlines()[-1].startswith(f"test accuracy {last[1]} % ({last[2]} of 360), loss ")
    code, out, _ = call(capsys, "eval", str(folder / "best.safetensors"))
    assert code == 0 and "(" in out.splitlines()[-1]

    code, out, _ = call(capsys, "train", "--resume", str(folder), "--epochs", "3")
    assert code == 0 and "epoch 3/3" in out and "epoch 2/3" not in out and "after 3 epochs" in out
    assert "the cosine schedule is over after 2 epochs; the learning rate then stays as it is" in out.splitlines()
    assert "momentum" not in out
    code, out, _ = call(capsys, "train", "--resume", str(folder))
    assert code == 0 and "epoch 3/3" not in out and "after 3 epochs" in out  # nothing left to do

    from PIL import Image

    Image.fromarray(np.full((12, 12), 250, np.uint8)).save("paper.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save("night.png")
    code, out, _ = call(capsys, "predict", str(folder), "paper.png", "night.png", "--top", "2")
    assert code == 0
    rows = [line for line in out.splitlines() if "%" in line]
    assert len(rows) == 4 and "paper.png (inverted: its border is bright)" in rows[0]
    assert "night.png" in rows[2] and "inverted" not in rows[2]
    code, out, _ = call(capsys, "predict", str(folder), "paper.png", "--json", "--no-invert")
    content = json.loads(out)
    assert content[0]["image"] == "paper.png" and content[0]["inverted"] is False
    assert len(content[0]["ranking"]) == 3 and content[0]["ranking"][0][0] in "0123456789"


def test_a_second_run_gets_a_folder_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mlp-digits", "mlp-digits-2"):
        code, out, _ = call(capsys, "train", "mlp", "--augment", "none", "--epochs", "1")
        assert code == 0 and re.search(rf"The run is in runs.{name}\n", out)


def test_a_run_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "train", "mlp", "--out", "own", *QUICK)[0] == 0
    before = Path("own/checkpoint.safetensors").read_bytes()
    code, _, err = call(capsys, "train", "mlp", "--out", "own", *QUICK)
    assert code == 2
    assert err == (
        "minidl: own holds a run already. Go on with it: minidl train --resume own; or choose another --out\n"
    )
    assert Path("own/checkpoint.safetensors").read_bytes() == before


def test_options_of_the_optimizer_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--optimizer-options.eps", "1e-3", "--optimizer-options.amsgrad", "true")
    assert call(capsys, "train", "mlp", "--out", "own", *options, *QUICK)[0] == 0
    settings = json.loads(Path("own/config.json").read_text())["settings"]
    assert settings["optimizer_options"] == {"eps": 1e-3, "amsgrad": True}


def test_a_folder_without_a_checkpoint_does_not_stand_in_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("minidl.train.trainer.Trainer.save", lambda self: (_ for _ in ()).throw(OSError(28, "", "f")))
        assert call(capsys, "train", "mlp", "--out", "own", *QUICK)[0] == 2
    assert os.listdir("own") == ["config.json"]
    assert call(capsys, "train", "mlp", "--out", "own", *QUICK)[0] == 0
    for text in ('{"hidden_size": 768}', "[]", "no JSON"):
        Path("other").mkdir(exist_ok=True)
        Path("other/config.json").write_text(text)
        code, _, err = call(capsys, "train", "mlp", "--out", "other", *QUICK)
        assert (code, err) == (
            2,
            "minidl: other holds a config.json that minidl train did not write: choose another --out\n",
        )
        assert Path("other/config.json").read_text() == text


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_all_files_of_a_run_have_the_mode_of_new_files(capsys: pytest.CaptureFixture[str]) -> None:
    before = os.umask(0o027)
    try:
        assert call(capsys, "train", "mlp", "--out", "own", *QUICK)[0] == 0
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in Path("own").iterdir()} == {"0o640"}


def test_settings_from_a_file_and_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text(
        'model = "mlp"\nepochs = 1\nlr = 0.02\naugment = "none"\nout = "own"\n[options]\nhidden = "tanh"\n'
    )
    code, _, err = call(capsys, "train", "--config", "run.toml", "--lr", "0.005")
    assert (code, err) == (0, "")
    content = json.loads(Path("own/config.json").read_text())
    assert (content["model"], content["settings"]["epochs"], content["settings"]["lr"]) == ("mlp", 1, 0.005)
    assert content["options"]["hidden"] == "tanh"
    Path("run.toml").write_text("epoch = 1\n")
    code, _, err = call(capsys, "train", "mlp", "--config", "run.toml")
    assert code == 2 and 'Unknown option: "[epoch]"' in unboxed(err) and "Did you mean --epochs?" in unboxed(err)
    code, _, err = call(capsys, "train", "mlp", "--config", "none.toml")
    assert code == 2 and err == "minidl: none.toml: No such file or directory\n"
    Path("run.toml").write_text("epochs = [\n")
    code, _, err = call(capsys, "train", "mlp", "--config", "run.toml")
    assert code == 2 and err.startswith("minidl: run.toml is not a TOML file: Invalid value")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "lenet6"), "minidl: there is no model 'lenet6'; did you mean lenet5"),
        (("train", "lenet5", "--data", "digit"), "minidl: there is no data set 'digit'; did you mean digits?"),
        (("train", "lenet5", "--data", "folder:nowhere"), "minidl: nowhere: there is no such folder of images"),
        (("train",), "minidl: which model? For example: minidl train lenet5. minidl models lists them"),
        (("train", "lenet5", "--epochs", "0"), "minidl: --epochs must be at least 1, not 0"),
        (("train", "mlp", "--workers", "-1", "--out", "r"), "minidl: --workers must be at least 0, not -1"),
        (("train", "mlp", "--save-every", "nan", "--out", "r"), "minidl: --save-every must be at least 0, not nan"),
        (("train", "mlp", "--save-every", "-1", "--out", "r"), "minidl: --save-every must be at least 0, not -1"),
        (("train", "mlp", "--head-lr", "-1", "--out", "r"), "minidl: --optimizer adam: Adam: lr must not be negative"),
        (("eval", "r", "--workers", "-1"), "minidl: --workers must be at least 0, not -1"),
        (("break", "no-flip", "--seed", "-1"), "minidl: --seed must be at least 0, not -1"),
        (("algorithms", "1,3,8,8", "4,3,3,3", "--repeats", "0"), "minidl: --repeats must be at least 1, not 0"),
        (("train", "lenet5", "--data", "mnist", "--data-dir", "x"), "MNIST needs these files in x:"),
        (("train", "lenet5", "--options.pool", "min"), "minidl: lenet5: pool is one of avg, max, not 'min'"),
        (("train", "lenet5", "--threads", "0"), "minidl: --threads 0: set_num_threads(0): this process can use 1 to"),
        (("train", "lenet5", "--threads", "0"), " threads\n"),  # and no word about more threads than CPUs
        (
            ("train", "--resume", "nowhere"),
            "does not exist: no run was saved there. Start one with: minidl train MODEL",
        ),
        (
            ("train", "lenet5", "--resume", "r", "--lr", "1"),
            "a run goes on with the settings it has, so --lr, --model cannot be given with --resume",
        ),
        (("eval", "nowhere"), "minidl: nowhere does not exist: no run was saved there"),
        (("predict", "nowhere", "x.png"), "minidl: nowhere does not exist: no run was saved there"),
        (("predict", "nowhere"), "minidl: no image was named: minidl predict RUN IMAGE..."),
        (("summary", "lenet6"), "minidl: there is no model 'lenet6'; did you mean lenet5"),
        (("summary", "lenet5", "--input", "big"), "minidl: an input shape is written as 1,32,32"),
        (
            ("summary", "lenet5", "--input", "3,32,32"),
            "minidl: lenet5 is made for C = 1 input channels, --input 3,32,32 has 3: add --options.in_channels 3\n",
        ),
        (
            ("summary", "lenet5", "--input", "3x32x32", "--options.in_channels", "4"),
            "minidl: lenet5 is made for C = 4 input channels, --input 3x32x32 has 3: add --options.in_channels 3\n",
        ),
        (
            ("summary", "lenet5", "--input", "1,4,4"),
            "the kernel is larger than the padded input: R = 5, padded H = 4.\n    x (N, C, H, W) = (1, 1, 4, 4)",
        ),
        (("summary", "lenet5", "--batch", "0"), "minidl: a summary needs a batch and input sides of at least 1"),
    ],
)
def test_mistakes_are_explained_in_a_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2 and message in err and "Traceback" not in err
    assert not Path("runs").exists() and not Path("r").exists()


def test_wrong_words_get_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "train", "lenet5", "--epoch", "3")
    assert code == 2 and "Did you mean --epochs?" in unboxed(err)
    code, _, err = call(capsys, "train", "lenet5", "--optimizer", "adma")
    assert code == 2 and 'Did you mean "adam"?' in unboxed(err)
    code, _, err = call(capsys, "trian", "lenet5")
    assert code == 2 and 'Did you mean "train"?' in unboxed(err)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", ("--data", "--resume", "--config", "--save-every", "--weight-decay", "best.safetensors")),
        ("eval", ("RUN", "--data-dir", "confusion matrix")),
        ("predict", ("IMAGES", "--top", "--invert", "--json")),
        ("summary", ("MODEL", "--input", "--batch", "--options", "multiply-adds")),
        ("models", ("List the models",)),
    ],
)
def test_help_of_each_command(capsys: pytest.CaptureFixture[str], command: str, words: tuple[str, ...]) -> None:
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    for word in words:
        assert word in out, word


def test_models_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "models")
    assert code == 0 and "lenet5_1998" in out and "1×32×32" in out and "415,680" in out
    code, out, _ = call(capsys, "models", "lenet5", "--options")
    assert code == 0 and "activation=tanh" in out
    code, out, _ = call(capsys, "summary", "lenet5", "--batch", "2", "--options.input_size", "28", "--input", "1,28,28")
    assert code == 0 and "lenet5, input 2×1×28×28" in out and "833,040" in out and "61,706" in out


def test_other_data_for_eval_needs_the_same_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "birds", {"owl": 4, "tit": 4})
    write_mnist(tmp_path)
    assert call(capsys, "train", "mlp", "--out", "own", *QUICK)[0] == 0
    code, out, _ = call(capsys, "eval", "own", "--data", "mnist", "--data-dir", ".")
    assert code == 0 and "on the test part of mnist" in out and "of 12)" in out
    code, _, err = call(capsys, "eval", "own", "--data", "mnist", "--data-dir", "nowhere")
    assert code == 2 and "download=True), or --download on the command line" in err
    with monkeypatch.context() as patched:  # as that says
        patched.setattr("minidl.data.mnist.fetch", lambda name, folder, *rest: fetched.append(folder))
        fetched: list[Path] = []
        code, _, _ = call(capsys, "eval", "own", "--data", "mnist", "--data-dir", "nowhere", "--download")
        assert code == 2 and fetched == [Path("nowhere/MNIST/raw")]
    code, _, err = call(capsys, "eval", "own", "--data", "birds")
    assert code == 2 and "the classes of birds (owl, tit) are not those of the model (0, 1, 2, 3" in err


def test_without_matplotlib_everything_else_happens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("minidl.packages.version", lambda name: None)
    code, out, _ = call(capsys, "train", "mlp", "--out", "own", *QUICK)
    assert code == 0 and "no plots were drawn: plots need matplotlib: python -m pip install matplotlib\n" in out
    assert "test accuracy" in out
    assert not Path("own/curves.png").exists() and Path("own/checkpoint.safetensors").exists()


def test_names_with_brackets_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "[birds]", {"[owl]": 4, "[_tit]": 4})
    code, out, err = call(capsys, "train", "mlp", "--data", "[birds]", "--options.sizes", "48,2", "--epochs", "1")
    assert (code, err) == (2, "minidl: mlp takes images as they are, but those of a folder have no size in common\n")
    code, out, err = call(capsys, "train", "lenet5", "--data", "[birds]", "--out", "[own]", *QUICK)
    assert (code, err) == (0, "") and "[owl]" in out and "[_tit]" in out and "The run is in [own]" in out


def test_a_terminal_without_our_letters_gets_question_marks(tmp_path: Path) -> None:
    env = dict(os.environ, PYTHONIOENCODING="ascii", PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-m", "minidl", "models"], capture_output=True, env=env, timeout=120)
    assert done.returncode == 0 and b"1?32?32" in done.stdout, done.stderr


def test_damaged_checkpoints_and_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "train", "mlp", "--out", "own", *QUICK)[0] == 0
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    code, _, err = call(capsys, "predict", "own", "bad.png")
    assert code == 1 and err.startswith("minidl: bad.png: the image cannot be read") and err.count("\n") == 1
    code, _, err = call(capsys, "predict", "own", "missing.png")
    assert code == 1 and "missing.png" in err and err.count("\n") == 1
    path = Path("own/checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    for arguments in (("train", "--resume", "own"), ("eval", "own"), ("predict", "own", "bad.png")):
        code, _, err = call(capsys, *arguments)
        assert code == 2 and "truncated" in err and "The checkpoint cannot be used" in err and err.count("\n") == 1


def process(*arguments: str) -> subprocess.Popen[str]:
    env = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    command = [sys.executable, "-m", "minidl", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real process and a real signal; the run is then finished as the message says, and equals one in one go."""
    arguments = ["train", "mlp", "--epochs", "20", "--augment", "shift", "--out"]
    run = process(*arguments, "stopped")
    assert run.stdout is not None
    while "epoch  2/20" not in run.stdout.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    said = re.fullmatch(
        r"stopped by Ctrl-C: saved after epoch \d+( and \d+ images of the next)?\. "
        r"Go on with: minidl (train --resume stopped)\n",
        errors,
    )
    assert said is not None, errors
    done = json.loads((tmp_path / "stopped/metrics.jsonl").read_text().splitlines()[-1])["epoch"]
    assert 2 <= done < 20
    assert call(capsys, *said[2].split(" "))[0] == 0
    assert call(capsys, *arguments, "whole")[0] == 0
    from minidl.train import load_checkpoint

    weights = [load_checkpoint(f"{name}/checkpoint.safetensors")["model"] for name in ("stopped", "whole")]
    assert {k: v.tobytes() for k, v in weights[0].items()} == {k: v.tobytes() for k, v in weights[1].items()}


def test_the_default_command_learns_digits(capsys: pytest.CaptureFixture[str]) -> None:
    """Two epochs of what the README says; how far all of them come is in docs/results."""
    code, out, _ = call(capsys, "train", "lenet5", "--data", "digits", "--epochs", "2")
    assert code == 0
    accuracy = re.search(r"test accuracy (\d+\.\d\d) %", out)
    assert accuracy is not None and float(accuracy[1]) > 60


@pytest.mark.parametrize("command", ["train", "explain"])
def test_help_offers_no_empty_lists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "--empty-" not in (out := capsys.readouterr().out) and f"minidl {command}" in out
