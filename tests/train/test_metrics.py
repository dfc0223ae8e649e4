"""Counting right and wrong, and drawing it."""

import sys
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.data import ArrayDataset, DataLoader
from minidl.train import Evaluation, confusion_matrix, evaluate
from minidl.train.metrics import accuracy_line, confusion_table
from minidl.train.plots import plot_confusion, plot_history

MATRIX = np.array([[5, 1, 0], [0, 0, 0], [2, 0, 12]])


def test_confusion_matrix_against_a_loop() -> None:
    rng = np.random.default_rng(61)
    truth, answer = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    expected = np.zeros((4, 4), int)
    for t, a in zip(truth, answer):
        expected[t, a] += 1
    np.testing.assert_array_equal(confusion_matrix(truth, answer, 4), expected)


def test_figures_of_an_evaluation() -> None:
    result = Evaluation(0.5, MATRIX)
    assert (result.count, result.correct, result.accuracy) == (20, 17, 0.85)
    np.testing.assert_allclose(result.recall(), [5 / 6, 0, 12 / 14])
    assert np.isnan(Evaluation(0.0, np.zeros((2, 2), int)).accuracy)
    assert accuracy_line(result) == "test accuracy 85.00 % (17 of 20), loss 0.5000"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("part", [True, False])
def test_evaluate_uses_evaluation_mode_and_puts_the_modes_back(training: bool, part: bool) -> None:
    rng = np.random.default_rng(62)
    x, y = rng.standard_normal((11, 5)).astype("float32"), rng.integers(0, 3, 11)
    linear = nn.Linear(5, 3)
    net = nn.Sequential(nn.Dropout(0.9), linear).train(training)
    linear.train(part)
    result = evaluate(net, DataLoader(ArrayDataset(x, y), 4))
    scores = linear(minidl.tensor(x)).detach().numpy().astype(np.float64)
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    assert result.loss == pytest.approx(-log_p[np.arange(11), y].mean(), rel=1e-5)
    np.testing.assert_array_equal(result.confusion, confusion_matrix(y, scores.argmax(1), 3))
    assert [module.training for module in net.modules()] == [training, training, part]


def test_of_nothing() -> None:
    net = nn.Linear(5, 3)
    result = evaluate(net, DataLoader(ArrayDataset(np.zeros((0, 5), "float32"), np.zeros(0, int)), 4), classes=3)
    assert result.count == 0 and np.isnan(result.loss) and result.confusion.shape == (3, 3)


def rendered(table: object) -> str:
    from rich.console import Console

    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_table_shows_mistakes_and_recall() -> None:
    text = rendered(confusion_table(Evaluation(0.5, MATRIX), ["ant", "bee", "cow"]))
    rows = [line.strip("│ ").split() for line in text.splitlines() if "│" in line and "%" in line]
    assert [[cell for cell in row if cell != "│"] for row in rows] == [
        ["ant", "5", "1", "·", "83.3%"],
        ["bee", "·", "·", "·", "0.0%"],
        ["cow", "2", "·", "12", "85.7%"],
    ]


def test_of_many_classes_only_the_frequent_mistakes_are_listed() -> None:
    matrix = np.eye(30, dtype=int) * 9
    matrix[3, 7], matrix[20, 1] = 4, 6
    text = rendered(confusion_table(Evaluation(0.5, matrix), [f"c{i}" for i in range(30)]))
    lines = [line for line in text.splitlines() if "c" in line and "│" in line]
    assert len(lines) == 2 and "c20" in lines[0] and "c1 " in lines[0] and "6" in lines[0] and "c3" in lines[1]


HISTORY = [
    {"epoch": i, "train_loss": 1 / i, "test_loss": 1.1 / i, "train_accuracy": 1 - 0.1 / i, "test_accuracy": 1 - 0.2 / i}
    for i in range(1, 5)
]


@pytest.mark.parametrize("epochs", [0, 1, 4])
def test_plots_are_pngs_of_a_sensible_size(tmp_path: Path, epochs: int) -> None:
    pytest.importorskip("matplotlib")
    from minidl.data import read_image

    plot_history(HISTORY[:epochs], tmp_path / "curves.png", "title")
    plot_confusion(MATRIX, ["ant", "bee", "cow"], tmp_path / "confusion.png")
    for name in ("curves.png", "confusion.png"):
        image = read_image(tmp_path / name)
        assert min(image.shape[1:]) > 200 and len(np.unique(image)) > 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["confusion.png", "curves.png"]


def test_without_matplotlib_the_message_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="this needs the package matplotlib, which is installed but fails to import"):
        plot_history(HISTORY, tmp_path / "curves.png")
    monkeypatch.setattr("minidl.packages.version", lambda name: None)
    with pytest.raises(ImportError, match=r"plots need matplotlib: python -m pip install matplotlib"):
        plot_history(HISTORY, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
