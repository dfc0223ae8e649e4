"""Stepping replays the recorded bits; an edit gives what a fresh run gives; diff finds where runs part."""

import json

import numpy as np
import pytest

import minidl
from minidl import models, nn, see
from minidl.autograd import examples

F = nn.functional


def classified(name, seed=0, size=32, channels=3):
    minidl.manual_seed(seed)
    net = models.create(name)
    return net, minidl.randn(2, channels, size, size)


def test_replay_gives_the_recorded_bits():
    net, x = classified("cifar_resnet20")
    run = see.trace(net, x, target=minidl.tensor([1, 7]), loss="cross_entropy")
    steps = see.Stepper(run).run()
    assert len(steps) == len(run.records) and max(s.moved for s in steps) == 0.0


@pytest.mark.parametrize("name", sorted(examples.checks()))
def test_every_operation_can_be_replayed(name):
    from tests.see.test_exact import traced

    assert all(s.moved == 0 or np.isnan(s.moved) for s in see.Stepper(traced(name, "float64")).run())


@pytest.mark.parametrize("at, index", [("input", (0, 0, 3, 3)), ("conv1.weight", (2, 0, 1, 1))])
def test_an_edit_gives_what_a_fresh_run_gives(at, index):
    minidl.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(64, 3))
    x = minidl.randn(2, 1, 8, 8)
    target = minidl.tensor([2, 0])
    stepper = see.Stepper(see.trace(net, x, target=target, loss="cross_entropy"))
    stepper.run()
    place = f"{at}[{','.join(map(str, index))}]"
    stepper.set(place, 4.0)
    edited = stepper.trace()
    with minidl.no_grad():
        x = x.clone()
        if at == "input":
            x[index] = 4.0
        else:
            net[0].weight[index] = 4.0
    fresh = see.trace(net, x, target=target, loss="cross_entropy")
    assert see.diff(edited, fresh).same
    assert see.explain(edited, "conv1[0,2,4,4]").exact
    stepper.reset()
    assert stepper.position == 0 and stepper.edits == {}


def test_moving_and_looking():
    net, x = classified("lenet5", channels=1)
    s = see.Stepper(net, x, target=minidl.tensor([1, 2]), loss="cross_entropy")
    message = r"features.3 is computed later, by operation 3 \(features.3/conv\).* operations have run; goto\("
    with pytest.raises(see.SeeError, match=message):
        s.value("conv2")
    s.goto("conv2")
    assert s.value("conv2").shape == (2, 16, 10, 10) and s.upcoming.label == "features.4/tanh"
    assert isinstance(float(s.value("conv2[0,1,2,3]")), float)
    s.goto("conv1")
    assert s.position == 1
    s.goto("conv1.weight.grad")
    assert s.recorded.records[s.position - 1].op == "conv_weight_grad"
    assert "features.0.bias.grad float32 (6,)" in str(s.next())
    s.run()
    with pytest.raises(see.SeeError, match="the run ends here, after"):
        s.next()
    s.set("conv2[0,0,0,0]", 9.0)
    assert s.position == 4 and s.value("conv2[0,0,0,0]") == 9.0
    assert s.next().moved > 0 and "differs from the recorded run by up to" in str(s.back() and s.next())
    with pytest.raises(see.SeeError, match="what was given does not fit"):
        s.set("conv2", np.zeros(3))
    with pytest.raises(see.SeeError, match="cannot go back by 99"):
        s.back(99)
    with pytest.raises(see.SeeError, match="takes a number of operations of at least 1"):
        s.next(0)
    with pytest.raises(see.SeeError, match="a Stepper needs a run: give a trace"):
        see.Stepper(net)
    json.dumps(s.next().to_dict())


def test_diff_finds_the_first_place():
    net, x = classified("lenet5", channels=1)
    a = see.trace(net, x)
    assert see.diff(a, see.trace(net, x)).same
    y = x.clone()
    y[1, 0, 20, 21] += 0.5
    d = see.diff(a, see.trace(net, y))
    assert d.given[0].at == "input[1,0,20,21]" and d.given[0].differing == 1
    assert d.first.label == "features.0/conv" and d.first.index[0] == 1
    assert "given: input[1,0,20,21]" in str(d) and "the runs part at features.0[1," in str(d)
    json.dumps(d.to_dict())
    assert "the runs are the same, bit for bit" in str(see.diff(a, a))


def test_diff_of_algorithms_and_dtypes():
    w = minidl.randn(4, 3, 3, 3)
    x = minidl.randn(2, 3, 9, 9)
    runs = [see.trace(lambda x, a=a: F.conv2d(x, w, algorithm=a).relu(), x) for a in ("im2col", "spec")]
    d = see.diff(*runs)
    assert d.first.label == "conv" and d.first.relative < 1e-5
    assert see.diff(*runs, rtol=1e-5).same


def test_diff_of_other_programs():
    f = see.trace(lambda x: x.relu().exp(), minidl.ones(2))
    g = see.trace(lambda x: x.relu().tanh(), minidl.ones(2))
    h = see.trace(lambda x: x.relu(), minidl.ones(2))
    assert see.diff(f, g).structure == "operation 1 is exp -> [(2,)] in one run and tanh -> [(2,)] in the other"
    assert see.diff(f, h).structure == "one run goes on with exp where the other ends"
    nan = minidl.tensor([float("nan")])
    assert see.diff(see.trace(lambda x: x.exp(), nan), see.trace(lambda x: x.exp(), nan)).same
    assert not see.diff(f, see.trace(lambda x: x.relu().exp(), minidl.ones(3))).same
