"""Multiply-accumulates counted from an empty batch."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl._macs import count_macs, dry_run

CASES = {  # layer, input, multiply-accumulates worked by hand
    "conv": (lambda: nn.Conv2d(6, 4, (3, 2), (2, 1), padding=1), (6, 9, 7), 5 * 8 * 4 * 6 * 3 * 2),
    "grouped": (lambda: nn.Conv2d(6, 4, 3, groups=2), (6, 9, 7), 7 * 5 * 4 * 3 * 9),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3, 2, groups=2), (6, 9, 7), 9 * 7 * 6 * 2 * 9),
    "linear": (lambda: nn.Linear(7, 5), (7,), 7 * 5),
    "linear on rows": (lambda: nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
    "others": (lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)), (6, 4, 4), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_worked_by_hand(name):
    make, input_shape, macs = CASES[name]
    assert count_macs(make(), input_shape) == macs


def test_einsum_counts_one_product_for_each_combination_of_letters():
    class Net(nn.Module):
        def forward(self, x):  # (N, 5) with (4, 5, 3)
            return minidl.einsum("na,kab->nkb", x, minidl.ones(4, 5, 3))

    assert count_macs(Net(), (5,)) == 5 * 4 * 3


def test_a_dry_run_leaves_modes_and_statistics_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    net[1].eval()
    output, _ = dry_run(net, (3, 8, 8), training=True)
    assert output.shape == (0, 4, 6, 6) and not output.requires_grad
    assert [m.training for m in net.modules()] == [True, True, False, True]
    assert net[1].num_batches_tracked.item() == 0
    np.testing.assert_array_equal(net[1].running_var.numpy(), np.ones(4))


def test_it_follows_the_dtype_of_the_model():
    assert dry_run(nn.Linear(3, 2, dtype="float64"), (3,)).output.dtype == np.float64


def test_modes_are_mended_after_an_error():
    net = nn.Sequential(nn.Linear(3, 2)).train()
    with pytest.raises(ValueError, match="linear"):
        dry_run(net, (4,))
    assert net.training
