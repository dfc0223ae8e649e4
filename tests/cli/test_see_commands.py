"""minidl explain, step, diff, shape, break, algorithms."""

import base64
import gzip
import io
import json
import re
import shlex

import numpy as np
import pytest

import minidl
from minidl.__main__ import main


def test_explain_prints_terms_and_proof(capsys):
    assert main(["explain", "lenet5", "--input", "digits:17", "--at", "conv2[0,3,5,5]", "--terms", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("features.3[0,3,5,5] = ")
    assert "150 terms, the 3 largest of them:" in out and "features.3.bias[3]" in out and "stored" in out


def test_explain_of_gradients_as_json(capsys):
    arguments = ["explain", "lenet5", "--at", "conv1.weight.grad[0,0,1,1]", "loss", "--target", "3", "--json"]
    assert main(arguments) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["what"] == "gradient" and first["exact"] and second["at"] == "loss"
    assert main(["explain", "lenet5", "--scatter", "--at", "conv1[0,0,1,1]"]) == 0
    assert "sends it through conv (features.0/conv) to" in capsys.readouterr().out


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_whole_way_from_the_loss_to_a_change(capsys, optimizer):
    at = "conv1.weight[0,0,1,1]"
    options = ["--target", "3", "--optimizer", optimizer, "--lr", "0.25", "--momentum", "0", "--weight-decay", "0.5"]
    assert main(["explain", "lenet5", "--chain", "--at", at, *options, "--json"]) == 0
    [chain] = json.loads(capsys.readouterr().out)
    assert [k["name"] for k in chain["links"]][-1] == "features.0.weight.grad"
    assert chain["strand"][0]["value"] == chain["gradient"]
    if optimizer == "sgd":
        minidl.manual_seed(0)  # as the command draws the weights
        weight = minidl.models.create("lenet5").get_parameter("features.0.weight").numpy()[0, 0, 1, 1]
        assert chain["update"]["value"] == pytest.approx(-0.25 * (chain["gradient"] + 0.5 * weight), rel=1e-4)
    assert main(["explain", "lenet5", "--chain", "--at", at, *options]) == 0
    out = capsys.readouterr().out
    assert "gradients on the way, from the loss:" in out and "one strand, from the weight back" in out
    assert main(["explain", "lenet5", "--chain", "--at", "conv1[0,0,1,1]"]) == 2
    assert "a chain ends at a parameter, and features.0 is none" in capsys.readouterr().err
    assert main(["explain", "lenet5", "--chain", "--scatter", "--at", at]) == 2
    assert "--scatter and --chain are two questions" in capsys.readouterr().err


@pytest.mark.parametrize(
    "input, message",
    [
        ("digits:99999", "there are 360 images, numbered from 0"),
        ("random:x", "after random: comes a whole number, as in random:17"),
        ("test:3", "only the folder of a training run knows its data; give digits:3"),
        ("cut.npy", "cut.npy is not an .npy file of numbers"),
        ("empty.npy", "empty.npy holds no input: its shape is (0, 1, 32, 32)"),
        ("bad.npy", "holds float64 (1, 2); the model takes numbers of shape (N, *(1, 32, 32))"),
        ("none.png", "none.png"),
    ],
)
def test_inputs_that_are_none(capsys, tmp_path, monkeypatch, input, message):
    monkeypatch.chdir(tmp_path)
    np.save("bad.npy", np.zeros(2))
    np.save("empty.npy", np.zeros((0, 1, 32, 32)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "bad.npy").read_bytes()[:40])
    assert main(["explain", "lenet5", "--input", input, "--at", "loss"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["explain", "--at", "loss", "--target", "10"],
            "and class 10: cross_entropy: class number 10 in the target",
        ),
        (
            ["step", "--do", "n", "--target", "-1"],
            "but the input has 10 classes (0 to 9)",
        ),
        (["diff", "--target", "10"], "this network does not run on an input of shape (1, 1, 32, 32) and class 10"),
        (["report", "--target", "10"], "classes are counted from 0"),
        (["report", "--lr", "-1"], "--lr must be at least 0, not -1"),
        (["explain", "--at", "loss", "--terms", "0"], "--terms must be at least 1, not 0"),
        (["diff", "--rtol", "nan"], "--rtol must be at least 0, not nan"),
    ],
)
def test_numbers_that_there_are_not(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main([arguments[0], "lenet5", *arguments[1:]]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_report_advises_a_command_that_answers(capsys, tmp_path):
    """For a number that did not fit into the file: the same network, input, class and mode."""
    path = tmp_path / "page.html"
    options = ["--input", "digits:7", "--weights", str(tmp_path / "w.npz"), "--train", "--options.activation", "relu"]
    minidl.manual_seed(5)
    minidl.io.save_weights(tmp_path / "w.npz", minidl.models.lenet5(activation="relu").state_dict())
    assert main(["report", "lenet5", *options, "-o", str(path), "--limit", "0.01"]) == 0
    packed = re.search(r'id="data">([^<]*)<', path.read_text(encoding="utf-8"))[1]
    content = gzip.decompress(base64.b64decode(packed))
    shown = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    command = shlex.split(shown["command"])
    assert command[:3] == ["minidl", "explain", "lenet5"] and command[-1] == "--train"
    capsys.readouterr()
    assert main([*command[1:], "--at", "conv1[0,2,3,4]", "loss", "--json"]) == 0
    number, loss = json.loads(capsys.readouterr().out)
    [entry] = [v for v in shown["values"].values() if v["name"] == "features.0"]
    assert entry["own"]["min"] <= number["value"] <= entry["own"]["max"]
    total = shown["values"][str(shown["loss"])]
    assert loss["value"] == pytest.approx(total["own"]["mean"], rel=1e-6)


def test_networks_with_maps_or_several_heads_have_a_loss_too():
    from minidl.nn import functional as F
    from minidl.see.inputs import cross_entropy, open_model

    subject = open_model("inception_naive_module")
    x = minidl.randn(1, 256, 5, 4)
    run = subject.trace(x, 3)
    scores = run.outputs[0].read()[0].reshape(672, -1)
    assert scores.shape[1] == 20
    expected = F.cross_entropy(minidl.tensor(scores.T.copy()), minidl.tensor([3] * 20)).item()
    assert run.loss.item(()) == pytest.approx(expected, rel=1e-5) and run.loss_name == "cross_entropy"

    heads = minidl.models.GoogLeNetOutputs(*(minidl.randn(2, 4, requires_grad=True) for _ in range(3)))
    one, two, three = (F.cross_entropy(head, minidl.tensor([1, 2])).item() for head in heads)
    total = cross_entropy(heads, minidl.tensor([1, 2])).item()
    assert total == pytest.approx(one + 0.3 * (two + three), rel=1e-5)


def test_inputs_from_files(capsys, tmp_path):
    from PIL import Image

    np.save(tmp_path / "x.npy", np.ones((1, 32, 32)))
    Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "x.png")
    for name in ("x.npy", "x.png"):
        assert main(["explain", "lenet5", "--input", str(tmp_path / name), "--at", "conv1[0,0,0,0]"]) == 0
    from minidl.see.inputs import Subject

    with pytest.raises(ValueError, match="an image cannot become an input of shape"):
        Subject(None, (3,)).input(str(tmp_path / "x.png"))


def test_a_run_gets_its_input_as_in_training(tmp_path):
    from PIL import Image

    from minidl.see.inputs import open_model
    from minidl.train import TrainConfig, load_task, start_run

    start_run("lenet5", TrainConfig(epochs=1, augment="none"), tmp_path / "run").fit(1)
    subject = open_model(tmp_path / "run")
    task = load_task("digits", (1, 32, 32), statistics=subject.run.statistics)
    for text, part in (("test:7", task.test), ("digits:7", task.test), ("train:7", task.train)):
        x, label = subject.input(text)
        np.testing.assert_array_equal(x.numpy()[0], part[7][0])
        assert label == part[7][1]
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(tmp_path / "paper.png")
    x, label = subject.input(str(tmp_path / "paper.png"))
    black = (0 - subject.run.statistics[0][0]) / subject.run.statistics[1][0]
    assert label is None and np.allclose(x.numpy(), black), "ink on paper is turned round, as minidl predict does"


def test_shape_draws_and_lists_sizes(capsys):
    assert main(["shape", "conv", "--size", "7", "--kernel", "3", "--stride", "2", "--padding", "1"]) == 0
    assert "input sizes with 4 windows: 7 (output_padding=0), 8 (output_padding=1)" in capsys.readouterr().out
    assert main(["shape", "pool", "--size", "8,9", "--kernel", "3", "--ceil", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == [3, 3]
    assert main(["shape", "conv", "--size", "7", "--kernel", "3", "--stride", "0"]) == 2
    capsys.readouterr()
    for option in ("--size", "--kernel", "--stride", "--padding", "--dilation"):
        given = {"--size": "7", "--kernel": "3", option: "-1"}
        assert main(["shape", "conv", *(word for pair in given.items() for word in pair)]) == 2
        message = f"{option} -1: whole numbers from 0 with commas between them, as 28 or 28,32"
        assert message in capsys.readouterr().err
    assert main(["algorithms", "1,3,a,8", "4,3,3,3"]) == 2
    assert "the images' shape 1,3,a,8: whole numbers from 0" in capsys.readouterr().err


def test_algorithms(capsys):
    assert main(["algorithms", "1,2,6,6", "3,2,3,3", "--repeats", "1"]) == 0
    assert "weight_grad:" in capsys.readouterr().out
    assert main(["algorithms", "1,2,6,6", "3,2,3,3", "--repeats", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 18


def test_step_takes_commands(capsys):
    do = ["l", "n 2", "p conv1[0,0,1,1]", "s conv1[0,0,1,1] 3", "n", "e pool1[0,0,0,0]", "b", "g conv2", "r", "h", "q"]
    assert main(["step", "lenet5", "--target", "3", "--do", *do]) == 0
    out = capsys.readouterr().out
    for part in (
        "#3 forward  features.3/conv", "conv1[0,0,1,1] is 3; 1 operations have run", "differs from the recorded run",
        "next is features.1/tanh", "4 operations have run", "at the beginning", "g NAME           go to just after",
    ):  # fmt: skip
        assert part in out


@pytest.mark.parametrize(
    "line, answer",
    [
        ("n x", "how many operations? 'x' is not a whole number"),
        ("s input[0,0,0,0] x", "sets a number, as s conv1[0,0,3,3] 5, not 'input[0,0,0,0] x'"),
        ("s input[0,0,0,0]", "s NAME VALUE sets a number"),
        ("p", "p NAME: which? As p conv1[0,0,3,3]"),
        ("forward", "no command is called 'forward'\nn [COUNT] "),
    ],
)
def test_a_slip_of_the_finger_is_answered(capsys, line, answer):
    assert main(["step", "lenet5", "--do", line]) == 2
    assert answer in capsys.readouterr().out


def test_step_runs_to_the_end_and_no_further(capsys):
    assert main(["step", "lenet5", "--do", "n 999"]) == 0
    assert "#17 forward" in capsys.readouterr().out
    assert main(["step", "lenet5", "--do", "n 999", "n"]) == 2
    assert "the run ends here, after 18 operations: back() or goto()" in capsys.readouterr().out


def test_step_reads_a_pipe(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\np zz\n\n"))
    assert main(["step", "lenet5"]) == 0
    out = capsys.readouterr().out
    assert "#0 forward  features.0/conv(input" in out and "nothing is called 'zz'" in out


def test_diff_of_two_runs(capsys):
    assert main(["diff", "lenet5"]) == 0
    assert "the same, bit for bit" in capsys.readouterr().out
    assert main(["diff", "lenet5", "--input-b", "random:1", "--target", "2", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first"]["label"] == "features.0/conv"
    assert main(["diff", "lenet5", "--set", "conv1[0,0,3,3]=5", "--target", "2"]) == 1
    assert "the runs part at features.0[0,0,3,3]" in capsys.readouterr().out
    assert main(["diff", "lenet5", "--set", "conv1[0,0,3,3]"]) == 2
    assert ": write NAME[i,j]=NUMBER" in capsys.readouterr().err


def test_break_lists_and_runs(capsys):
    assert main(["break", "--list"]) == 0
    assert "zero-pad" in capsys.readouterr().out
    assert main(["break", "assign", "--steps", "0"]) == 0
    assert "gradcheck               finds it" in capsys.readouterr().out
    assert main(["break", "no-flip", "--steps", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["findings"][0]["found"]
    assert main(["break", "typo"]) == 2


def test_weights_from_a_file_are_the_ones_explained(capsys, tmp_path):
    from minidl import io, manual_seed, models

    manual_seed(5)
    net = models.lenet5()
    io.save_weights(tmp_path / "w.safetensors", net)
    at = ["--at", "conv1.weight[2,0,1,1]", "--json"]
    assert main(["explain", "lenet5", "--weights", str(tmp_path / "w.safetensors"), *at]) == 0
    stored = float(net.state_dict()["features.0.weight"].numpy()[2, 0, 1, 1])
    assert json.loads(capsys.readouterr().out)[0]["value"] == stored
    assert main(["explain", "lenet5", *at]) == 0
    assert json.loads(capsys.readouterr().out)[0]["value"] != stored
