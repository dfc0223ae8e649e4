"""Schedules against PyTorch's, step by step."""

import math
import warnings

import pytest

import minidl
from minidl.optim import SGD
from minidl.optim import lr_scheduler as ours

CASES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.1}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 6, "power": 2.0}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.9, "total_iters": 4}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
]


def optimizer() -> SGD:
    return SGD([{"params": [minidl.zeros(1)]}, {"params": [minidl.zeros(2)], "lr": 0.3}], lr=1.0)


@pytest.mark.torch
@pytest.mark.parametrize("name, options", CASES, ids=[c[0] for c in CASES])
def test_learning_rates_equal_torch(name, options):
    torch = pytest.importorskip("torch")
    a = optimizer()
    b = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(2)], "lr": 0.3}], lr=1.0)
    mine = getattr(ours, name)(a, **options)
    theirs = getattr(torch.optim.lr_scheduler, name)(b, **options)
    for _ in range(10):
        assert mine.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12, abs=1e-15)
        b.step()
        mine.step()
        theirs.step()


@pytest.mark.torch
def test_sequence_of_warm_up_and_steps_equals_torch():
    torch = pytest.importorskip("torch")
    a, b = optimizer(), torch.optim.SGD([torch.zeros(1)], lr=1.0)
    mine = ours.SequentialLR(a, [ours.LinearLR(a, 0.1, total_iters=3), ours.StepLR(a, 2)], [3])
    lib = torch.optim.lr_scheduler
    theirs = lib.SequentialLR(b, [lib.LinearLR(b, 0.1, total_iters=3), lib.StepLR(b, 2)], [3])
    for _ in range(10):
        assert mine.get_last_lr()[0] == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        b.step()
        mine.step()
        theirs.step()


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_equals_torch(mode, threshold_mode):
    torch = pytest.importorskip("torch")
    a, b = optimizer(), torch.optim.SGD([torch.zeros(1)], lr=1.0)
    options = {
        "mode": mode, "factor": 0.3, "patience": 1, "threshold": 0.05, "threshold_mode": threshold_mode,
        "cooldown": 2, "min_lr": 0.01,
    }  # fmt: skip
    mine = ours.ReduceLROnPlateau(a, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    seen = set()
    for metric in [3, 2.9, 2.8, 2.79, 2.79, 2.79, 2.5, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6, 2.6]:
        value = metric if mode == "min" else -metric + 10
        mine.step(value)
        theirs.step(value)
        assert mine.get_last_lr()[0] == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        seen.add(mine.get_last_lr()[0])
    assert len(seen) > 3


@pytest.mark.parametrize("name, options", CASES, ids=[c[0] for c in CASES])
def test_resumed_schedule_has_the_same_bits(name, options):
    straight, first, second = optimizer(), optimizer(), optimizer()
    a, b = getattr(ours, name)(straight, **options), getattr(ours, name)(first, **options)
    for _ in range(4):
        a.step()
        b.step()
    c = getattr(ours, name)(second, **options)
    c.load_state_dict(b.state_dict())
    for _ in range(5):
        assert a.get_last_lr() == c.get_last_lr()
        a.step()
        c.step()


def test_plateau_resumes():
    first, second = optimizer(), optimizer()
    a, b = ours.ReduceLROnPlateau(first, patience=0), ours.ReduceLROnPlateau(second, patience=0)
    for metric in (1.0, 2.0):
        a.step(metric)
    b.load_state_dict(a.state_dict())
    assert b.get_last_lr() == a.get_last_lr() == pytest.approx([0.1, 0.03])
    a.step(3.0)
    b.step(3.0)
    assert b.get_last_lr() == a.get_last_lr()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda o: ours.StepLR(o, 0), "step_size must be at least 1"),
        (lambda o: ours.LinearLR(o, 0.0), "start_factor must lie in"),
        (lambda o: ours.CosineAnnealingLR(o, 0), "T_max must be at least 1"),
        (lambda o: ours.SequentialLR(o, [ours.StepLR(o, 1)], [2]), "1 schedules need 0 milestones"),
        (lambda o: ours.SequentialLR(o, [ours.StepLR(optimizer(), 1)], []), "must belong to the same optimiser"),
        (lambda o: ours.ReduceLROnPlateau(o, factor=1.0), "factor must be below 1"),
        (lambda o: ours.ReduceLROnPlateau(o, mode="best"), "mode is 'min' or 'max'"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(optimizer())


def test_a_rate_that_something_else_has_set_is_not_lost_in_silence():
    sgd = optimizer()
    warm, steps = ours.LinearLR(sgd, 0.5, total_iters=4), ours.StepLR(sgd, 2)  # PyTorch multiplies the two
    with pytest.warns(UserWarning, match="LinearLR: the learning rate is .* this schedule had left it at 0.5"):
        warm.step()
    with pytest.warns(UserWarning, match="Join schedules with SequentialLR"):
        steps.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps.step()


def test_half_a_cosine():
    sgd = SGD([minidl.zeros(1)], lr=2.0)
    schedule = ours.CosineAnnealingLR(sgd, T_max=4)
    for _ in range(2):
        schedule.step()
    assert math.isclose(sgd.param_groups[0]["lr"], 1.0)
