"""What the stand-in offers, CuPy has: compared where there is a CuPy, and on the stand-in itself elsewhere."""

from __future__ import annotations

from typing import Any

from tests.standin import offered


def test_every_name_that_is_offered_exists(cupy: Any) -> None:
    lists = (offered.UFUNCS, offered.FUNCTIONS, offered.CREATION, offered.WAITING, offered.CONSTANTS)
    missing = [n for names in lists for n in names if not hasattr(cupy, n)]
    missing += [f"linalg.{n}" for n in offered.LINALG if not hasattr(cupy.linalg, n)]
    assert missing == []
