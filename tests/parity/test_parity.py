"""minidl against PyTorch, op by op: values, dtypes, shapes, first and second gradients with random cotangents."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from tests.parity import cases_functional, cases_ops
from tests.parity.cases import Case
from tests.parity.harness import Run

CASES: list[Case] = [*cases_ops.CASES, *cases_functional.CASES]
IDS = [c.id for c in CASES]


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_parity(case: Case, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    run = Run(case, dtype, torch)
    before = [t.detach().numpy().copy() for t in run.ours]
    with np.errstate(all="ignore"):
        ours, theirs = run.outputs()
        run.check_forward(ours, theirs)
        if case.first:
            run.check_gradients(ours, theirs)
    for t, b in zip(run.ours, before):
        np.testing.assert_array_equal(t.detach().numpy(), b, err_msg="the call changed its argument")


def test_ids_are_distinct() -> None:
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize(
    ("module", "exempt", "prefix"),
    [(minidl.ops, cases_ops.EXEMPT, ""), (F, cases_functional.EXEMPT, "nn.functional.")],
    ids=["ops", "nn.functional"],
)
def test_every_public_name_is_covered(module, exempt, prefix) -> None:
    """A new op needs a parity case, or an entry in EXEMPT that says why it has none."""
    names = {n for n in module.__all__ if callable(getattr(module, n))}
    covered = {c.op.removeprefix(prefix) for c in CASES}
    assert sorted(names - covered - set(exempt)) == []
    assert sorted(set(exempt) - names) == [], "exempt, but not there"
    assert all(exempt.values()), "an exemption needs its reason"
