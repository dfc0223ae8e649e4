"""Every operation on device arrays: values, dtypes, first and second gradients are those of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.device.harness import Both
from tests.parity import cases_functional, cases_ops
from tests.parity.cases import Case

CASES: list[Case] = [*cases_ops.CASES, *cases_functional.CASES]
# one dtype a case, by turns: each operation has several cases, and both dtypes of each are compared on the CPU
DTYPES = ["float64" if i % 2 else "float32" for i in range(len(CASES))]


@pytest.mark.parametrize(
    ("case", "dtype"), list(zip(CASES, DTYPES)), ids=[f"{c.id}-{d}" for c, d in zip(CASES, DTYPES)]
)
def test_operation(case: Case, dtype: str, cupy: Any) -> None:
    both = Both(case, dtype, cupy)
    before = [t.detach().numpy().copy() for t in both.tensors["cuda"]]
    with np.errstate(all="ignore"):
        both.compare()
    for t, b in zip(both.tensors["cuda"], before):
        np.testing.assert_array_equal(t.detach().numpy(), b, err_msg="the call changed its argument")
