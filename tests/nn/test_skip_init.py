"""Modules without memory, and what may be done with them."""

import threading

import numpy as np
import pytest

import minidl
from minidl import nn


def test_parameters_take_no_memory_and_draw_no_numbers():
    before = minidl.random.default_generator.get_state()
    with nn.utils.skip_init():
        net = nn.Sequential(
            nn.Conv2d(300_000, 300_000, 3), nn.BatchNorm2d(8), nn.LSTM(5, 6), nn.Embedding(10**9, 10**6)
        )
    for name, parameter in net.named_parameters():
        assert parameter.requires_grad and not any(parameter._array.strides), name
    assert net[0].weight.shape == (300_000, 300_000, 3, 3)
    assert str(before) == str(minidl.random.default_generator.get_state())
    np.testing.assert_array_equal(net[1].running_var.numpy(), np.ones(8))


@pytest.mark.parametrize("name", sorted(n for n in nn.init.__all__ if n.endswith("_")))
def test_every_initialiser_leaves_its_tensor_alone(name):
    options = {"constant_": (3.0,), "sparse_": (0.5,)}.get(name, ())
    with nn.utils.skip_init():
        skipped = nn.Linear(4, 3).weight
        if name == "dirac_":
            skipped = nn.Conv1d(4, 3, 2).weight
        assert getattr(nn.init, name)(skipped, *options) is skipped
    written = minidl.zeros(skipped.shape)
    getattr(nn.init, name)(written, *options)
    assert not skipped.numpy().any() and (name == "zeros_" or written.numpy().any())


def test_it_ends_with_its_context_and_stays_in_its_thread():
    made = []
    with pytest.raises(RuntimeError, match="inside"), nn.utils.skip_init():
        with nn.utils.skip_init():
            pass
        thread = threading.Thread(target=lambda: made.append(nn.Linear(3, 2).weight))
        thread.start()
        thread.join()
        assert not nn.Linear(3, 2).weight.numpy().any()
        raise RuntimeError("inside")
    assert made[0].numpy().all()
    assert nn.Linear(3, 2).weight.numpy().all()


def test_loading_gives_it_memory_of_its_own():
    source = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(1, 1))
    with nn.utils.skip_init():
        net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(1, 1))
    state = source.state_dict()
    net.load_state_dict(state)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name].numpy())
        assert not np.shares_memory(value.numpy(), state[name].numpy())
    with minidl.no_grad():
        net[0].weight.add_(1)  # it can be written to now, as an optimiser does
        net[2].weight.add_(1)
    np.testing.assert_array_equal(net[0].weight.detach().numpy(), state["0.weight"].numpy() + 1)
