"""From the loss to the change of a weight: the strand leads to the loss, the update is what the optimiser applies."""

import json

import numpy as np
import pytest

import minidl
from minidl import models, nn, optim, see

OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "DampenedSGD": lambda p: optim.DampenedSGD(p, lr=0.1, weight_decay=0.1, bias_correction=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2),
    "RMSprop": lambda p: optim.RMSprop(p, momentum=0.8, centered=True, weight_decay=0.02),
    "Adadelta": lambda p: optim.Adadelta(p, weight_decay=0.02),
    "Adam": lambda p: optim.Adam(p, weight_decay=0.1),
    "amsgrad": lambda p: optim.Adam(p, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, weight_decay=0.1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_update_is_what_the_optimiser_applies(name, dtype):
    minidl.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).to(dtype)
    optimizer = OPTIMISERS[name](net.parameters())
    for step in range(3):
        x = minidl.randn(5, 4, dtype=dtype)
        run = see.trace(net, x, target=minidl.tensor([0, 1, 1, 0, 1]), loss="cross_entropy")
        chains = {at: see.chain(run, at, optimizer) for at in ("0.weight[2,1]", "2.bias[1]")}
        before = {n: p.numpy().copy() for n, p in net.named_parameters()}
        for n, p in net.named_parameters():
            p.grad = minidl.tensor(run.gradients[n].read().copy(), dtype=dtype)
        optimizer.step()
        after = {n: p.numpy() for n, p in net.named_parameters()}
        for at, index in (("0.weight[2,1]", ("0.weight", (2, 1))), ("2.bias[1]", ("2.bias", (1,)))):
            update, (parameter, place) = chains[at].update, index
            applied = float(after[parameter][place]) - float(before[parameter][place])
            assert update.value == applied, (name, step)
            assert update.exact, str(update)
            assert update.bound < 1e-3 * max(abs(applied), 1e-4)


def test_the_strand_leads_to_the_loss_and_every_gradient_is_named():
    minidl.manual_seed(0)
    net = models.lenet5()
    run = see.trace(net, minidl.randn(2, 1, 32, 32), target=minidl.tensor([3, 4]), loss="cross_entropy")
    c = see.chain(run, "conv1.weight[0,0,1,1]", optim.Adam(net.parameters()))
    assert c.links[0].name == "loss.grad" and c.links[-1].name == "features.0.weight.grad"
    names = [k.name for k in c.links]
    assert [n for n in names if n in ("classifier.4.grad", "features.3.grad", "features.0.grad")] == [
        "classifier.4.grad", "features.3.grad", "features.0.grad",
    ]  # fmt: skip
    for link in c.links:
        assert link.norm >= abs(link.largest)
    assert c.strand[0].at == "features.0.weight.grad[0,0,1,1]"
    assert c.strand[-1].terms.columns[0].source == "loss.grad"
    assert all(e.exact for e in c.strand)
    json.dumps(c.to_dict(3))
    text = str(c)
    assert "one strand, from the weight back along the largest term:" in text and "becomes" in text


def test_a_residual_network_has_a_chain_too():
    minidl.manual_seed(0)
    net = models.cifar_resnet20()
    run = see.trace(net, minidl.randn(2, 3, 32, 32), target=minidl.tensor([3, 4]), loss="cross_entropy")
    first = next(n for n, p in net.named_parameters() if p.ndim == 4)
    c = see.chain(run, f"{first}[0,0,1,1]")
    assert c.update is None and all(e.exact for e in c.strand)
    assert c.strand[-1].terms.columns[0].source == "loss.grad"


def test_an_optimiser_of_ones_own_is_shown_without_its_terms():
    class Signs(optim.Optimizer):
        def update(self, p, g, state, group):
            p -= group["lr"] * np.sign(g)

    net = nn.Sequential(nn.Linear(2, 2))
    run = see.trace(net, minidl.ones(1, 2), loss=lambda y: y.sum())
    update = see.chain(run, "0.bias[0]", Signs(net.parameters(), {"lr": 0.5})).update
    assert update.formula == "w after the optimiser's own update" and update.exact


def test_mistakes():
    net = nn.Sequential(nn.Linear(2, 2))
    run = see.trace(net, minidl.ones(1, 2), loss=lambda y: y.sum())
    with pytest.raises(see.SeeError, match="a chain ends at a parameter, and input is none"):
        see.chain(run, "input[0,0]")
    with pytest.raises(see.SeeError, match="is not among the parameters of this SGD"):
        see.chain(run, "0.bias[0]", optim.SGD([net[0].weight]))
