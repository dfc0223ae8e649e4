"""The tape and the engine keep every promise of tests.checks.tape."""

import pytest

from tests.checks import tape


@pytest.mark.parametrize("check", tape.CHECKS, ids=lambda c: c.__name__)
def test_tape(check) -> None:
    check()
