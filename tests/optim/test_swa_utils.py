"""Averages of weights: against PyTorch's step by step, against the definition, and what update_bn measures."""

import re

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.optim import swa_utils
from minidl.optim.swa_utils import AveragedModel, update_bn


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 3, groups=1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


def weights(step: int, like: dict[str, tuple[int, ...]], dtype: str) -> dict[str, np.ndarray]:
    """The same sequence of weights and statistics for both sides."""
    rng = np.random.default_rng(500 + step)
    return {
        name: np.array(10 * step + 3) if name.endswith("tracked") else rng.standard_normal(shape).astype(dtype)
        for name, shape in like.items()
    }


CASES = {
    "swa": ({}, {}),
    "swa_multi": ({"multi_avg_fn": ("get_swa_multi_avg_fn", ())}, {}),
    "swa_one": ({"avg_fn": ("get_swa_avg_fn", ())}, {}),
    "ema_multi": ({"multi_avg_fn": ("get_ema_multi_avg_fn", (0.9,))}, {}),
    "ema_buffers": ({"multi_avg_fn": ("get_ema_multi_avg_fn", (0.75,))}, {"use_buffers": True}),
    "ema_one": ({"avg_fn": ("get_ema_avg_fn", (0.3,))}, {}),
    "ema_one_buffers": ({"avg_fn": ("get_ema_avg_fn", (0.25,))}, {"use_buffers": True}),
    "swa_one_buffers": ({"avg_fn": ("get_swa_avg_fn", ())}, {"use_buffers": True}),
}


@pytest.mark.torch
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-14), ("float32", 5e-7)])
@pytest.mark.parametrize("case", CASES)
def test_every_average_equals_torchs(case, dtype, tolerance):
    torch = pytest.importorskip("torch")
    theirs_utils = torch.optim.swa_utils
    functions, options = CASES[case]
    if case == "swa_multi":
        tolerance = 1e-7  # there PyTorch divides by the number in float32
    ours = network().to(dtype)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 2)
    ).to(getattr(torch, dtype))
    a = AveragedModel(ours, **{k: getattr(swa_utils, f)(*args) for k, (f, args) in functions.items()}, **options)
    b = theirs_utils.AveragedModel(
        theirs, **{k: getattr(theirs_utils, f)(*args) for k, (f, args) in functions.items()}, **options
    )
    shapes = {name: tuple(t.shape) for name, t in ours.state_dict().items()}
    for step in range(5):
        state = weights(step, shapes, dtype)
        ours.load_state_dict(state)
        theirs.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
        a.update_parameters(ours)
        b.update_parameters(theirs)
        got, wanted = a.state_dict(), b.state_dict()
        assert list(got) == list(wanted) and got["n_averaged"].item() == step + 1
        for name, value in got.items():
            assert str(value.dtype) == str(wanted[name].dtype).removeprefix("torch.")
            np.testing.assert_allclose(
                value.numpy(), wanted[name].numpy(), rtol=tolerance, atol=tolerance, err_msg=name
            )
        assert all(not np.shares_memory(p.numpy(), q.numpy()) for p, q in zip(a.parameters(), ours.parameters()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_swa_is_the_mean_and_ema_the_geometric_sum(dtype):
    """Without torch: w_n = d^n w_0 + (1 - d) sum of d^(n - i) w_i; of means nothing but the mean."""
    layer = nn.Linear(3, 2).to(dtype)
    means, running = AveragedModel(layer), AveragedModel(layer, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.8))
    values = np.random.default_rng(3).standard_normal((6, 2, 3)).astype(dtype)
    for value in values:
        layer.load_state_dict({"weight": value, "bias": value[:, 0]})
        means.update_parameters(layer)
        running.update_parameters(layer)
    tolerance = {"rtol": 1e-5 if dtype == "float32" else 1e-13}
    np.testing.assert_allclose(means.module.weight.detach().numpy(), values.mean(0), **tolerance)
    shares = [0.8**5, *(0.2 * 0.8 ** (5 - i) for i in range(1, 6))]
    np.testing.assert_allclose(running.module.weight.detach().numpy(), np.tensordot(shares, values, 1), **tolerance)
    x = minidl.tensor(values[0])
    np.testing.assert_array_equal(means(x).detach().numpy(), means.module(x).detach().numpy())


def test_with_warmup_the_decay_is_tensorflows():
    """min(decay, (1 + n) / (10 + n)) after n updates: 2/11, 3/12, ... and from n = 26 on 0.75."""
    average, decays = minidl.tensor([1.0], dtype="float64"), []
    update = swa_utils.get_ema_multi_avg_fn(0.75, warmup=True)
    for n in range(1, 40):
        average.fill_(1.0)
        update([average], [minidl.tensor([0.0], dtype="float64")], n)
        decays.append(average.item())
    np.testing.assert_allclose(decays, [min(0.75, (1 + n) / (10 + n)) for n in range(1, 40)], rtol=1e-15)
    assert decays[0] == pytest.approx(2 / 11) and decays[25:] == [0.75] * 14


def test_the_average_is_no_part_of_the_graph_and_leaves_the_model_alone():
    net = network()
    averaged = AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5), use_buffers=True)
    averaged.update_parameters(net)
    x = minidl.tensor(np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype("float32"))
    loss = net(x).sum()
    averaged.update_parameters(net)  # between the two passes: nothing that the backward pass needs is written
    loss.backward()
    assert all(p.grad is None for p in averaged.parameters()) and all(p.grad is not None for p in net.parameters())
    before = {name: t.numpy().tobytes() for name, t in net.state_dict().items()}
    averaged.update_parameters(net)
    assert {name: t.numpy().tobytes() for name, t in net.state_dict().items()} == before


def test_values_that_a_graph_needs_are_not_averaged_over_in_silence():
    net = nn.Linear(2, 1)
    averaged = AveragedModel(net)
    averaged.update_parameters(net)
    loss = averaged(minidl.ones(1, 2, requires_grad=True)).sum()  # whose gradient is the weight
    averaged.update_parameters(net)
    with pytest.raises(minidl.GraphError):
        loss.backward()


@pytest.mark.torch
@pytest.mark.parametrize("momentum", [0.1, None])
def test_update_bn_equals_torchs(momentum):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    batches = [rng.standard_normal((n, 2, 4, 4)) * n for n in (4, 2, 5)]
    ours, theirs = network().double(), torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 2)
    ).double()  # fmt: skip
    theirs.load_state_dict({name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()})
    ours[1].momentum = theirs[1].momentum = momentum
    ours.eval()
    update_bn([minidl.tensor(batches[0]), (minidl.tensor(batches[1]), 7), [minidl.tensor(batches[2])]], ours)
    torch.optim.swa_utils.update_bn([torch.tensor(b) for b in batches], theirs)
    for name, value in ours.state_dict().items():
        np.testing.assert_allclose(value.numpy(), theirs.state_dict()[name].numpy(), rtol=1e-12, err_msg=name)
    assert ours[1].momentum == momentum and not any(m.training for m in ours.modules())


def test_update_bn_leaves_frozen_layers_and_networks_without_batch_norm_alone():
    from minidl.models import freeze

    net = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    freeze(net[0])
    net[0].running_mean.fill_(3.0)
    net.eval().training = True  # the whole, and no part
    update_bn([minidl.tensor([[1.0, 2.0], [3.0, 4.0]])], net)
    assert [module.training for module in net.modules()] == [True, False, False]
    assert net[0].running_mean.tolist() == [3.0, 3.0] and net[1].num_batches_tracked.item() == 1
    update_bn(iter(()), nn.Linear(1, 1))

    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2, momentum=0.3)

        def forward(self, x):
            raise RuntimeError("broken")

    broken = Broken().eval()
    with pytest.raises(RuntimeError, match="broken"):
        update_bn([minidl.zeros(2, 2)], broken)
    assert broken.norm.momentum == 0.3 and not broken.training


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # PyTorch's, of a step without an update
@pytest.mark.parametrize("how", [{}, {"anneal_epochs": 4, "anneal_strategy": "linear"}, {"anneal_epochs": 0}])
def test_swalr_equals_torchs_behind_another_schedule(how):
    torch = pytest.importorskip("torch")
    rates = []
    for module, zeros in ((optim, minidl.zeros), (torch.optim, torch.zeros)):
        sgd = module.SGD([{"params": [zeros(1)]}, {"params": [zeros(1)], "lr": 0.3}], lr=0.1)
        first = module.lr_scheduler.StepLR(sgd, 2)
        last = module.swa_utils.SWALR(sgd, [0.05, 0.2], **how)
        if how.get("anneal_epochs") == 0:
            rates.append([[g["lr"] for g in sgd.param_groups]])
            continue
        rates.append([])
        for step in range(18):
            (first if step < 5 else last).step()
            rates[-1].append([g["lr"] for g in sgd.param_groups])
    np.testing.assert_allclose(*rates, rtol=1e-12)
    assert rates[0][-1] == pytest.approx([0.05, 0.2])


def test_swalr_goes_on_from_its_state():
    def schedule():
        sgd = optim.SGD([minidl.zeros(1)], lr=1.0)
        return optim.swa_utils.SWALR(sgd, 0.2, anneal_epochs=5)

    whole, half = schedule(), schedule()
    for _ in range(3):
        whole.step()
        half.step()
    other = schedule()
    other.load_state_dict(half.state_dict())
    for _ in range(4):
        whole.step()
        other.step()
        assert other.get_last_lr() == whole.get_last_lr()


def test_mistakes_are_told():
    net = network()
    with pytest.raises(ValueError, match="AveragedModel takes avg_fn or multi_avg_fn, not both: which of them shall"):
        AveragedModel(net, avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn())
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match=r"decay is the share of the average that stays in an update, .* not 1\.5"):
            make(1.5)
    wanted = "the average is one of a Sequential with 6 tensors, which are not those of the Linear with 2 "
    wanted += "that was given: a new model needs an AveragedModel of its own"
    with pytest.raises(ValueError, match=wanted):
        AveragedModel(net).update_parameters(nn.Linear(1, 1))
    sgd = optim.SGD([minidl.zeros(1)], lr=0.1)
    for options, text in (
        ({"swa_lr": [0.1, 0.2]}, "SWALR: 2 learning rates for 1 parameter groups"),
        ({"swa_lr": 0.1, "anneal_strategy": "steps"}, "SWALR: anneal_strategy is 'cos' or 'linear', not 'steps'"),
        ({"swa_lr": 0.1, "anneal_epochs": -1}, "SWALR: anneal_epochs is a whole number of at least 0, not -1"),
    ):
        with pytest.raises(ValueError, match=re.escape(text)):
            optim.swa_utils.SWALR(sgd, **options)
