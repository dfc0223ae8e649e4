"""Every operation on device arrays: values, dtypes, first and second gradients are those of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.device.harness import Both
from tests.parity import cases_functional, cases_ops
from tests.parity.cases import Case

CASES: list[Case] = [*cases_ops.CASES, *cases_functional.CASES]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=[c.id for c in CASES])
def test_operation(case: Case, dtype: str, cupy: Any) -> None:
    both = Both(case, dtype, cupy)
    before = [t.detach().numpy().copy() for t in both.tensors["cuda"]]
    with np.errstate(all="ignore"):
        both.compare()
    for t, b in zip(both.tensors["cuda"], before):
        np.testing.assert_array_equal(t.detach().numpy(), b, err_msg="the call changed its argument")
