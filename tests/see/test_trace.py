"""Recorded runs: what is kept, what is left as it was, and the names of numbers."""

import json
import re

import numpy as np
import pytest

import minidl
from minidl import models, nn, see

F = nn.functional


@pytest.fixture(scope="module")
def run():
    minidl.manual_seed(0)
    x = minidl.randn(2, 1, 32, 32)
    return see.trace(models.lenet5(), x, target=minidl.tensor([3, 4]), loss="cross_entropy")


def test_records_know_module_phase_and_whose_rule_ran(run):
    first = run.records[0]
    assert (first.label, first.path, first.kind, first.phase) == ("features.0/conv", "features.0", "Conv2d", "forward")
    assert [a.name for a in first.args] == ["input", "features.0.weight", "features.0.bias"]
    backward = [r for r in run if r.of is first]
    assert {r.op for r in backward} == {"conv_input_grad", "conv_weight_grad", "sum"}
    assert first.backward_seconds == pytest.approx(sum(r.seconds for r in backward))
    assert {r.phase for r in run} == {"forward", "loss", "backward"}
    assert "18 forward, 7 loss" in repr(run) and "features.0/conv" in repr(first)


def test_gradients_are_those_of_backward(run):
    model, x = run.model, minidl.from_numpy(run.names["input"].array)
    x = x.detach().requires_grad_()
    F.cross_entropy(model(x), minidl.tensor([3, 4])).backward()
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(run.gradients[name].read(), p.grad.numpy())
        p.grad = None
    np.testing.assert_array_equal(run.gradients["input"].read(), x.grad.numpy())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ["cifar_resnet20", "lenet5_1998"])
def test_who_looks_on_changes_no_bit(name, training):
    """Some rules take a shorter way where nobody listens: it must lead to the same numbers."""
    minidl.manual_seed(1)
    model, target = models.create(name), minidl.tensor([3, 4])
    x = minidl.randn(2, 3 if "resnet" in name else 1, 32, 32)
    model.train(training)
    traced = see.trace(model, x, target=target, loss="cross_entropy")  # puts running statistics back
    y = model(x)
    F.cross_entropy(y, target).backward()
    if not training:
        with minidl.no_grad():
            np.testing.assert_array_equal(model(x).numpy(), y.detach().numpy())
    for parameter, tensor in model.named_parameters():
        np.testing.assert_array_equal(traced.gradients[parameter].read(), tensor.grad.numpy(), err_msg=parameter)


def test_nothing_of_the_model_changes():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    before = {name: v.numpy().copy() for name, v in model.state_dict().items()}
    x = minidl.randn(3, 1, 5, 5)
    see.trace(model, x, loss=lambda y: y.sum())
    assert not x.requires_grad and model.training
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)
    assert not any(m._forward_hooks for m in model.modules())


def test_to_dict_is_json(run):
    described = json.loads(json.dumps(run.to_dict()))
    assert described["records"][0]["inputs"][0] == {
        "name": "input", "shape": [2, 1, 32, 32], "dtype": "float32", "record": None,
    }  # fmt: skip
    for at in ("conv2[0,3,5,5]", "loss", "conv1.weight.grad[0,0,1,1]", "fc1[0,3]"):
        e = see.explain(run, at)
        again = json.loads(json.dumps(e.to_dict(limit=5)))
        assert again["value"] == e.value and again["exact"]
        assert len(again["terms"]["product"]) <= 5
        assert again["terms"]["count"] == len(e.terms)
    assert json.loads(json.dumps(see.scatter(run, "conv2[0,3,5,5]").to_dict(4)))["goals"][0]["count"] == 150


def test_names(run):
    by_path, by_number = see.explain(run, "features.3[1,3,5,5]"), see.explain(run, "conv2[1,3,5,5]")
    assert by_path.value == by_number.value == see.explain(run, "#3[1,3,-5,-5]").value
    assert see.explain(run, "conv2.weight.grad[0,0,1,1]").at == "features.3.weight.grad[0,0,1,1]"
    assert see.explain(run, "input[0,0,1,1]").op == "given"
    assert see.explain(run, "loss.grad").value == 1.0
    assert see.explain(run, "output[0,1]").label == "classifier.4/add"
    e = see.explain(run, "fc3[1,2]")
    assert [c.source for c in e.terms.columns] == ["classifier.3", "classifier.4.weight"]
    assert e.addends[0].name == "classifier.4.bias[2]"


def test_a_module_called_twice():
    layer = nn.Linear(3, 3)
    run = see.trace(nn.Sequential(layer, nn.ReLU(), layer), minidl.ones(1, 3), loss=lambda y: (y * y).sum())
    assert see.explain(run, "0#2[0,1]").value == see.explain(run, "output[0,1]").value
    e = see.explain(run, "0.weight.grad[1,2]")
    assert len(e.parts) == 2 and e.exact and e.formula == "the sum of what 2 operations send back"


@pytest.mark.parametrize(
    "at, message",
    [
        ("conv9[0]", "nothing is called 'conv9' in this run"),
        ("features.33[0]", "did you mean features.3"),
        ("conv2[0,3]", "has shape (2, 16, 10, 10), so an element has 4 numbers, not 2"),
        ("conv2[0,3,5,99]", "axis 3 of features.3 has length 10, so 99 is outside 0 to 9"),
        ("conv2[a,b]", "an element is named by whole numbers"),
        ("conv2", "say which element, for example features.3[1,8,5,5]"),
        ("[1,2", "names no number: write NAME[i,j,...]"),
        ("#999[0]", "there is no record #999: this run has #0 to #"),
        ("target.grad[0]", "target has no gradient in this run; no gradient reaches it"),
    ],
)
def test_questions_that_cannot_be_answered(run, at, message):
    with pytest.raises(see.SeeError, match=re.escape(message)):
        see.explain(run, at)


def test_more_mistakes(run):
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(see.SeeError, match="this run has no backward pass: trace it with a loss"):
        see.explain(see.trace(model, minidl.ones(1, 2)), "0.weight.grad[0,0]")
    with pytest.raises(see.SeeError, match="the loss must be one number to have a gradient"):
        see.trace(model, minidl.ones(1, 2), loss=lambda y: y)
    with pytest.raises(see.SeeError, match="there is no loss called 'hinge'"):
        see.trace(model, minidl.ones(1, 2), loss="hinge")
    with pytest.raises(see.SeeError, match="explain needs a run: give a trace"):
        see.explain(model, "0[0,0]")
    with pytest.raises(see.SeeError, match="is given, not computed: its gradient goes nowhere further"):
        see.scatter(run, "input[0,0,0,0]")
    with pytest.raises(see.SeeError, match="were not kept: this run was traced with keep_values=False"):
        see.explain(see.trace(model, minidl.ones(1, 2), keep_values=False), "0[0,0]")
    lost = see.trace(model, minidl.ones(1, 2), loss=lambda y: y.sum())
    with minidl.no_grad():
        model[0].weight.mul_(2.0)
    with pytest.raises(see.SeeError, match="was written to in place after the run was traced"):
        see.explain(lost, "0[0,0]")


def test_padding_ties_dead_units_and_dropout_are_pointed_out():
    x = minidl.tensor([[[1.0, 1.0, -3.0, -4.0]]])
    run = see.trace(lambda x: F.relu(F.max_pool1d(x, 2)), x)
    assert see.explain(run, "max_pool:0[0,0,0]").notes == [
        "2 of 2 elements tie at the maximum; the first takes all of the gradient"
    ]
    assert see.explain(run, "relu[0,0,1]").notes == ["the unit is off: the result is 0 and no gradient passes"]
    layer = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1))
    e = see.explain(see.trace(layer, x), "0[0,0,0]")
    assert e.notes == ["1 of 3 terms read padding and are 0"]
    assert [t.padding for t in e.terms] == [True, False, False] and "padding" in str(e)
    minidl.manual_seed(0)
    run = see.trace(nn.Sequential(nn.Dropout(0.5)), minidl.ones(6))
    assert "dropped: the mask is 0 here" in see.explain(run, "0[0]").notes[0]
    assert "kept by the mask and scaled by 2 = 1 / (1 - p) with p = 0.5" in see.explain(run, "0[2]").notes[0]


def test_activations_that_follow_are_shown(run):
    then = see.explain(run, "conv1[0,0,3,3]").then
    assert [s.name for s in then] == ["features.1[0,0,3,3]"]
    assert then[0].value == run.names["features.1"].item((0, 0, 3, 3))


def test_without_values_only_shapes_and_times_are_kept():
    run = see.trace(models.lenet5(), minidl.ones(1, 1, 32, 32), keep_values=False, loss=lambda y: y.sum())
    assert all(v.array is None for r in run for v in r.outputs)
    assert run.records[3].args[0].name == "features.2"
    assert all(r.seconds >= 0 for r in run)


def test_without_values_operations_run_as_they_do_when_nobody_looks():
    """Their times are those of the work; with values each step is there to be explained.  The numbers are the same."""
    net, x = models.lenet5(num_classes=4), minidl.randn(2, 1, 32, 32)
    fast, whole = (see.trace(net, x, target=[1, 3], loss="cross_entropy", keep_values=keep) for keep in (False, True))
    of = [[r.op for r in run if (r.path, r.phase) == ("classifier.4", "forward")] for run in (fast, whole)]
    assert of == [["linear"], ["permute", "matmul", "add"]]
    of = [[r.op for r in run if r.phase == "loss"] for run in (fast, whole)]
    assert of[0] == ["cross_entropy"] and len(of[1]) > 1

    class Watcher(minidl.autograd.Listener):
        def __init__(self, steps):
            self.steps, self.seen = steps, []

        def on_forward(self, primitive, *rest):
            self.seen.append(primitive.name)

    layer = nn.Linear(2, 3)
    with Watcher(steps=False) as quick:
        first = layer(x[:, 0, 0, :2])
    with quick, Watcher(steps=True) as exact:  # one that wants them is enough
        second = layer(x[:, 0, 0, :2])
    assert [n for n in quick.seen if n != "getitem"] == ["linear", "permute", "matmul", "add"]
    assert "linear" not in exact.seen and first.tolist() == second.tolist()
