"""``minidl gradcheck``."""

import pytest

from minidl.autograd import examples
from minidl.autograd.checking import Report, Worst

pytest.importorskip("cyclopts")
from minidl.cli._app import run


def test_operations_by_name(capsys):
    assert run(["gradcheck", "tanh", "matmul"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["first", "derivative", "second", "derivative"]
    assert lines[1].startswith("tanh    right") and lines[1].endswith("complex step")
    assert lines[-1] == "2 of 2 right"


def test_all_and_list(capsys, monkeypatch):
    few = dict(list(examples.checks().items())[:3])
    monkeypatch.setattr(examples, "checks", lambda device="cpu": few)
    assert run(["gradcheck", "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 of 3 right"
    assert run(["gradcheck", "--list"]) == 0
    assert capsys.readouterr().out.split() == sorted(few)


def test_a_wrong_gradient_is_shown_and_fails(capsys, monkeypatch):
    wrong = Report(False, "complex step", 6, 0.5, Worst(1, (0, 2), 2.0, 1.0), 3, "off by the factor N = 8", (2, 3))
    monkeypatch.setattr(examples, "check_named", lambda name, seed, device: (wrong, None))
    assert run(["gradcheck", "conv2d"]) == 1
    out = capsys.readouterr().out
    assert "conv2d  WRONG  5e-01  complex step" in out and "not checked" in out
    assert "  first derivative wrong: the gradient of input 1, shape (2, 3), in 3 of 6 elements" in out
    assert "  diagnosis: off by the factor N = 8" in out
    assert out.splitlines()[-1] == "0 of 1 right; wrong: conv2d"


def test_a_seed_below_zero(capsys):
    assert run(["gradcheck", "conv2d", "--seed", "-1"]) == 2
    assert capsys.readouterr().err == "minidl: --seed must be at least 0, not -1\n"


def test_unknown_name_and_no_name(capsys):
    assert run(["gradcheck", "conv2"]) == 2
    assert "no operation called 'conv2' to check; did you mean conv2d" in capsys.readouterr().err
    assert run(["gradcheck"]) == 2
    assert "name an operation (minidl gradcheck conv2d), or --all" in capsys.readouterr().out
