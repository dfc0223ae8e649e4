"""Random weights are the same in every run, whatever ran before."""

import pytest

import minidl


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """A network that ends in ReLU answers with zeros alone for one seed in eighty."""
    minidl.manual_seed(0)
