"""Normalisation, losses, activations and dropout keep every promise of tests.checks, without PyTorch."""

import numpy as np
import pytest

import minidl
from minidl.nn import functional as F
from tests.checks import activations, losses, norm


@pytest.mark.parametrize("check", [*norm.CHECKS, *losses.CHECKS, *activations.CHECKS], ids=lambda c: c.__name__)
def test_network_op(check) -> None:
    check()


def test_padding_keeps_channels_side_by_side():
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype("float32").transpose(0, 3, 1, 2)
    for values in (x, x[:, :, ::2, ::2], x.astype("int64")):
        for pad, value in (((0, 0, 0, 0, 2, 1), 0), ((1, 2, 0, 3), 7), ((-1, 2, 1, -1, 0, 2), 0.5)):
            y = F.pad(minidl.tensor(np.array(values, order="K")), pad, value=value)
            plain = F.pad(minidl.tensor(np.ascontiguousarray(values)), pad, value=value)
            np.testing.assert_array_equal(y.numpy(), plain.numpy())
            assert y.dtype == plain.dtype and y.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
