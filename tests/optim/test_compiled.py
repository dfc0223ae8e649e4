"""Updates in one compiled call have the bits of ``update``, which is their definition."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import minidl
from minidl import optim
from minidl.kernels import jit, threads
from minidl.optim import compiled

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

SHAPES = [(3, 4), (5,), (), (0, 3), (130, 300), (1,), (2, 1, 3)]  # 39,000 elements are several pieces of work

CASES = [
    (optim.SGD, {}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}),
    (optim.SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02, "maximize": True}),
    (optim.Adagrad, {"lr_decay": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.3}),
    (optim.Adagrad, {"maximize": True}),
    (optim.RMSprop, {}),
    (optim.RMSprop, {"momentum": 0.7}),
    (optim.RMSprop, {"centered": True, "alpha": 0.8, "weight_decay": 0.03}),
    (optim.RMSprop, {"centered": True, "momentum": 0.7, "maximize": True}),
    (optim.Adam, {}),
    (optim.Adam, {"weight_decay": 0.1, "amsgrad": True, "betas": (0.7, 0.95)}),
    (optim.AdamW, {"weight_decay": 0.2}),
    (optim.AdamW, {"amsgrad": True, "maximize": True}),
    (optim.Adadelta, {}),
    (optim.Adadelta, {"rho": 0.7, "weight_decay": 0.05, "maximize": True}),
    (optim.DampenedSGD, {"weight_decay": 0.02}),
    (optim.DampenedSGD, {"beta": 0.7, "bias_correction": True}),
]
IDS = [f"{kind.__name__}-{i}" for i, (kind, _) in enumerate(CASES)]


def defined(kind: type) -> type:
    """``kind`` with an update function of its own, which therefore has no compiled twin."""
    return type(kind.__name__, (kind,), {"update": lambda self, *args: kind.update(self, *args)})


def parameters(dtype: str) -> list:
    rng = np.random.default_rng(3)
    return [minidl.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in SHAPES]


def set_gradients(params: list, step: int) -> None:
    rng = np.random.default_rng(step)
    for p in params:
        p.grad = minidl.tensor((rng.standard_normal(p.shape) * 10.0 ** -(step % 3)).astype(p.dtype))
    if step == 2:
        params[4].grad = None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind, options", CASES, ids=IDS)
def test_the_same_bits_as_the_definition(kind, options, dtype) -> None:
    ours, wanted = parameters(dtype), parameters(dtype)
    a, b = kind(ours, lr=0.05, **options), defined(kind)(wanted, lr=0.05, **options)
    assert type(a).update in compiled.TWINS and type(b).update not in compiled.TWINS
    for step in range(5):
        set_gradients(ours, step)
        set_gradients(wanted, step)
        a.step()
        b.step()
        for p, q in zip(ours, wanted, strict=True):
            np.testing.assert_array_equal(p.numpy(), q.numpy())
            assert set(a.state[p]) == set(b.state[q]) or p.grad is None
            for name, value in b.state[q].items():
                np.testing.assert_array_equal(a.state[p][name], value)


@pytest.mark.parametrize("kind, options", CASES, ids=IDS)
def test_threads_do_not_change_a_bit(kind, options) -> None:
    before, results = threads.get_num_threads(), []
    try:
        for n in sorted({1, min(2, threads.available_cpus())}):
            threads.set_num_threads(n)
            params = parameters("float32")
            optimiser = kind(params, **options)
            for step in range(3):
                set_gradients(params, step)
                optimiser.step()
            results.append([p.numpy().copy() for p in params])
    finally:
        threads.set_num_threads(before)
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_parameters_in_one_memory_take_turns() -> None:
    """Of two threads that write there at once one would lose an update."""
    memory = minidl.zeros(400_000)
    parts = [memory[:300_000], memory[300_000:], memory[100_000:]]
    sgd = optim.SGD([p.requires_grad_() for p in parts], lr=0.5)
    for p in parts:
        p.grad = minidl.ones(len(p))
    (left,) = compiled.plan(sgd, sgd.param_groups[0])[1]
    assert left is parts[2]
    sgd.step()
    want = np.full(400_000, -1.0)
    want[:100_000] = -0.5
    np.testing.assert_array_equal(memory.numpy(), want)


def test_nan_stays_nan_in_the_largest_square() -> None:
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    adam = optim.Adam([w], amsgrad=True)
    for gradient in ([np.nan, 1.0], [1.0, np.nan], [1.0, 1.0]):
        w.grad = minidl.tensor(gradient)
        adam.step()
    assert np.isnan(adam.state[w]["max_exp_avg_sq"]).all()


def test_what_one_loop_cannot_pass_over_is_updated_by_the_definition() -> None:
    """A parameter stored by columns, a state stored by columns, a parameter that changed its dtype."""
    rng = np.random.default_rng(0)
    start, g = rng.standard_normal((2, 4, 5))
    wanted = minidl.tensor(start, requires_grad=True)
    odd = minidl.from_numpy(np.asfortranarray(start)).requires_grad_()
    state = minidl.tensor(start, requires_grad=True)
    kinds = [optim.SGD([p], lr=0.1, momentum=0.9) for p in (wanted, odd, state)]
    for step in range(3):
        if step == 1:
            buffer = kinds[2].state[state]["momentum_buffer"]
            kinds[2].state[state]["momentum_buffer"] = np.asfortranarray(buffer)
        for p, optimiser in zip((wanted, odd, state), kinds, strict=True):
            p.grad = minidl.tensor(g * (step + 1))
            optimiser.step()
            np.testing.assert_array_equal(p.numpy(), wanted.numpy())


def _other_array(p, optimiser) -> None:
    p.data = minidl.tensor(p.detach().numpy())


def _stored_by_columns(p, optimiser) -> None:
    p.data = minidl.from_numpy(np.asfortranarray(p.detach().numpy()))


def _other_momentum(p, optimiser) -> None:
    optimiser.state[p]["momentum_buffer"] = np.ones(p.shape)


def _momentum_by_columns(p, optimiser) -> None:
    optimiser.state[p]["momentum_buffer"] = np.asfortranarray(optimiser.state[p]["momentum_buffer"])


def _no_momentum(p, optimiser) -> None:
    optimiser.state[p]["momentum_buffer"] = None


def _other_state(p, optimiser) -> None:
    optimiser.state[p] = {}


def _no_gradient(p, optimiser) -> None:
    p.grad = None


def _loaded(p, optimiser) -> None:
    optimiser.load_state_dict(optimiser.state_dict())


@pytest.mark.parametrize(
    "change",
    [_other_array, _stored_by_columns, _other_momentum, _momentum_by_columns, _no_momentum, _other_state, _no_gradient,
     _loaded],
)  # fmt: skip
def test_what_changed_since_the_last_step_is_looked_at_again(change) -> None:
    """The parameters of a step are known to the next one, as long as all is as it was."""
    rng = np.random.default_rng(5)
    start, g = rng.standard_normal((2, 4, 5))
    runs = []
    for kind in (optim.SGD, defined(optim.SGD)):
        params = [minidl.tensor(a, requires_grad=True) for a in (start, start[0])]
        optimiser = kind(params, lr=0.1, momentum=0.9)
        for step in range(6):
            for p, of in zip(params, (g, g[0])):
                p.grad = minidl.tensor(of * (step + 1))
            if step == 3:
                change(params[0], optimiser)
            optimiser.step()
        runs.append([p.numpy() for p in params])
    for got, want in zip(*runs, strict=True):
        np.testing.assert_array_equal(got, want)


def test_memory_that_cannot_be_written_any_more_is_not_written() -> None:
    array = np.ones(3)
    w = minidl.from_numpy(array).requires_grad_()
    sgd = optim.SGD([w], lr=0.1)
    for _ in range(2):
        w.grad = minidl.ones(3, dtype="float64")
        sgd.step()
    array.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        sgd.step()


def test_a_gradient_in_any_storage() -> None:
    g = np.random.default_rng(1).standard_normal((3, 4, 5)).astype("float32")
    params = [minidl.zeros(3, 4, 5).requires_grad_() for _ in range(2)]
    params[0].grad, params[1].grad = minidl.tensor(g), minidl.from_numpy(np.asfortranarray(g))
    optim.Adam(params).step()
    np.testing.assert_array_equal(params[0].numpy(), params[1].numpy())


def test_a_step_of_the_copy_leaves_the_original() -> None:
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    adam = optim.Adam([w])
    w.grad = minidl.tensor([1.0, 1.0])
    adam.step()
    saved = copy.deepcopy(adam.state_dict())
    adam.step()
    assert saved["state"][0]["step"] == 1 and adam.state[w]["step"] == 2
