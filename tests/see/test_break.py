"""Every bug is found by a check, and gone afterwards: the self-test of our checks."""

import json

import numpy as np
import pytest

import minidl
from minidl import see
from minidl.autograd import engine, examples
from minidl.autograd.tape import Primitive

SEEN_BY_NO_GRADIENT_CHECK = {"zero-pad": "definition", "no-zero-grad": "the same gradient twice"}


def rules():
    return {n: (p.rules, p.joint, p.forward) for n, p in Primitive.registry.items()}


@pytest.mark.parametrize("name", list(see.bugs()))
def test_a_check_finds_it_and_it_is_gone_afterwards(name):
    before = rules(), engine._accumulate, engine._reachable, minidl.optim.SGD.zero_grad
    report = see.break_it(name, steps=0)
    assert (rules(), engine._accumulate, engine._reachable, minidl.optim.SGD.zero_grad) == before
    found = {f.check for f in report.findings if f.found}
    if name in SEEN_BY_NO_GRADIENT_CHECK:
        assert found == {SEEN_BY_NO_GRADIENT_CHECK[name]}
    else:
        assert "gradcheck" in found
    json.dumps(report.to_dict())
    assert report.story.split()[0] in str(report)


DIAGNOSES = {
    "no-flip": "equals the gradient for input 1 rotated by 180 degrees over the last two axes",
    "assign": "right only where windows do not overlap",
    "ones": "ignores its upstream gradient",
    "mean-weights": "off by the factor 1/N = 1/3",
    "avg-pool-sum": "off by the factor n = 4 (the elements of one window): summed or counted 4 times",
    "relu-by-gradient": "masked by the sign of the gradient, not of the input",
    "tanh-of-input": "1 - y*y with the output y, but was computed as 1 - x*x with the input x",
    "softmax-diagonal": "right where something arrives, but 12 of 15 elements get nothing, the first at [0, 0]",
    "frozen-statistics": "the upstream gradient times one number along axis 2",
    "fan-out": "no known mistake",  # what a graph loses is not in the Jacobian of the function
    "recursion": "no known mistake",
}


@pytest.mark.parametrize("name", DIAGNOSES)
def test_the_gradient_check_names_the_bug(name):
    assert DIAGNOSES[name] in see.break_it(name, steps=0).findings[0].detail
    assert set(DIAGNOSES) == set(see.bugs()) - set(SEEN_BY_NO_GRADIENT_CHECK)


def test_ones_do_not_see_that_they_are_used():
    report = see.break_it("ones", steps=0)
    findings = {f.check: f for f in report.findings}
    assert not findings["check with ones"].found
    assert "ignores its upstream gradient" in findings["gradcheck"].detail


def test_without_a_bug_nothing_is_found():
    for name in ("conv2d", "max_pool2d", "group_norm", "tanh"):
        first, second = examples.check_named(name)
        assert first.ok and (second is None or second.ok)


def test_training_shows_the_bug():
    pytest.importorskip("sklearn")
    report = see.break_it("no-zero-grad", steps=20)
    assert len(report.losses) == len(report.losses_with_bug) == 10
    assert report.losses[0] < 3 < report.losses_with_bug[-1]
    assert np.isfinite(report.accuracy)
    again = see.break_it("no-zero-grad", steps=20)
    assert again.losses == report.losses and again.losses_with_bug == report.losses_with_bug
    assert "loss with the bug" in str(report)


def test_an_unknown_bug():
    with pytest.raises(see.SeeError, match="there is no bug called 'typo'; these can be switched on: no-flip"):
        see.break_it("typo")
