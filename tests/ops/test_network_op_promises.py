"""Normalisation, losses, activations and dropout keep every promise of tests.checks, without PyTorch."""

import pytest

from tests.checks import activations, losses, norm


@pytest.mark.parametrize("check", [*norm.CHECKS, *losses.CHECKS, *activations.CHECKS], ids=lambda c: c.__name__)
def test_network_op(check) -> None:
    check()
