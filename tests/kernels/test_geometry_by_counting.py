"""``kernels.geometry`` against counting; its arguments and messages are asserted in test_geometry.py."""

import pytest

from tests.checks import geometry


@pytest.mark.parametrize("check", geometry.CHECKS, ids=lambda c: c.__name__)
def test_geometry(check) -> None:
    check()
