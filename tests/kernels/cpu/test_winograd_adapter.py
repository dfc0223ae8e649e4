"""Winograd as an algorithm of the catalogue: on request only, and it says what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import catalogue
from minidl.kernels import conv as kernels
from minidl.kernels.cpu import winograd
from minidl.kernels.errors import UnsupportedError
from tests.checks.conv import PASSES, brute_force, operands, problem, result_shape
from tests.checks.shapes import case

C = case((2, 3, 9, 8), (4, 3, 3, 5), 1, ((1, 0), (2, 3)))


@pytest.mark.parametrize("pass_", PASSES)
def test_by_name(pass_):
    arrays = operands(C, pass_, "float32")
    out = np.full(result_shape(C, pass_), np.nan, "float32")
    got = getattr(kernels, pass_)(*arrays, problem(C), algorithm="winograd", out=out)
    assert got is out
    np.testing.assert_allclose(got, brute_force(C, pass_, *arrays), atol=2e-3)
    assert catalogue.plan("conv", pass_, problem(C)).algorithm != "winograd"


@pytest.mark.parametrize("pass_", PASSES)
def test_refusals(pass_):
    for c, why in (
        (case((1, 1, 9), (1, 1, 6)), "Winograd goes up to 5 taps per axis"),
        (case((1, 1, 9), (1, 1, 3), 2), "Winograd needs stride 1"),
        (case((1, 1, 9), (1, 1, 3), 1, 0, 2), "Winograd needs dilation 1"),
    ):
        assert winograd.supports(pass_, problem(c)).startswith(why)
        with pytest.raises(UnsupportedError, match=why):
            catalogue.plan("conv", pass_, problem(c), algorithm="winograd")


def test_the_estimate_counts_the_saved_products():
    """F(4, 3) in two dimensions multiplies a quarter as often as the definition."""
    conv = problem(case((8, 64, 32, 32), (64, 64, 3, 3), 1, 1))
    products = 2 * 36 * 8 * 64 * 64 * 64  # points, tiles, C, K
    assert 2 * conv.macs == 4 * products
    cost = winograd.cost("forward", conv, 4)
    assert products < cost.flops < 2 * products  # the rest is transforms
