"""What a notebook and Python's prompt show of an answer that nobody prints: text, and no arrays of numbers."""

import inspect

import numpy as np
import pytest

import minidl
from minidl import nn, see
from minidl.see import features
from minidl.see.shown import Shown


class Printer:
    """What IPython gives to ``_repr_pretty_``."""

    def __init__(self):
        self.written = ""

    def text(self, text):
        self.written += text

    def break_(self):
        self.written += "\n"


def answers():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 2))
    x = minidl.randn(1, 2, 6, 6)
    run = see.trace(net, x, target=[1], loss="cross_entropy")
    return {
        "explain": see.explain(run, "0[0,1,2,3]"),
        "terms": see.explain(run, "0[0,1,2,3]").terms,
        "scatter": see.scatter(run, "0[0,1,2,3]"),
        "chain": see.chain(run, "0.weight[1,0,0,0]", minidl.optim.SGD(net.parameters(), lr=0.1)),
        "window": see.window(8, 3, stride=2),
        "diff": see.diff(run, see.trace(net, x + 1, target=[1], loss="cross_entropy")),
        "step": see.Stepper(run).next(),
        "break": see.break_it("ones", steps=0),
        "algorithms": see.algorithms(np.ones((1, 1, 4, 4), "f"), np.ones((1, 1, 2, 2), "f"), repeats=1),
        "saliency": features.saliency(net, x, 1),
    }


@pytest.fixture(scope="module")
def made():
    return answers()


@pytest.mark.parametrize("name", ["explain", "terms", "scatter", "chain", "window", "diff", "step", "break",
                                  "algorithms", "saliency"])  # fmt: skip
def test_a_notebook_shows_the_text_and_the_prompt_its_first_line(made, name):
    answer = made[name]
    printer = Printer()
    answer._repr_pretty_(printer, False)
    assert printer.written == str(answer)
    assert repr(answer) == f"<{type(answer).__name__}: {str(answer).splitlines()[0]}>"
    assert "array(" not in repr([answer])


def test_the_terms_say_how_many_and_how_much(made):
    terms = made["terms"]
    assert str(terms).startswith(f"18 terms, in all {terms.total:.9g}\n18 terms, the 12 largest of them:\n")


def test_a_stepper_says_where_it_stands():
    stepper = see.Stepper(lambda x: (x * 2).relu(), minidl.ones(2, 3))
    stepper.next()
    assert repr(stepper) == "<stepper: 1 of 2 operations have run, next is relu>"
    stepper.next()
    assert repr(stepper) == "<stepper: 2 of 2 operations have run, next is the end>"


def test_a_value_says_name_type_and_shape():
    run = see.trace(lambda x: x * 2, minidl.ones(2, 3))
    assert repr(run.names["input"]) == "<value input: float32 (2, 3)>"


def test_every_answer_with_a_text_shows_it():
    """Whoever adds one makes it a Shown."""
    for package in (see, features):
        for name in package.__all__:
            kind = getattr(package, name)
            if inspect.isclass(kind) and {"__str__", "to_dict"} <= set(vars(kind)):
                assert issubclass(kind, Shown), name
                assert "__repr__" not in vars(kind), f"{name}: dataclass(repr=False)"
