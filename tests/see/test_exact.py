"""Every number is explained exactly: random positions in every operation, forward and backward, in both dtypes.

The bound of each family is derived in its explainer; most are gamma_n times the sum of the absolute terms, for n
roundings, which holds for any order of summation (Higham 2002, section 3.1).
"""

import math

import numpy as np
import pytest

import minidl
from minidl import see
from minidl.autograd import examples
from minidl.autograd.tape import Primitive

NAMES = sorted(examples.checks())
UNEXPLAINED = {  # the generic explainer
    "argsort", "cholesky", "cumprod", "inverse", "prod", "prod_of_others", "slogdet", "solve",
}  # fmt: skip


def traced(name, dtype, seed=0):
    """A run of an operation's example, its result weighted by random numbers."""
    check = examples.checks()[name]
    arguments = [a.make(np.random.default_rng(seed + i)).detach().to(dtype) for i, a in enumerate(check.arguments)]
    rng = np.random.default_rng(seed)

    def loss(output):
        parts = [p for p in (output if isinstance(output, tuple) else (output,)) if p.dtype.kind == "f"]
        weighted = [(p * minidl.tensor(rng.standard_normal(p.shape), dtype=p.dtype)).sum() for p in parts]
        return sum(weighted[1:], weighted[0])

    return see.trace(check.function, tuple(arguments), loss=loss)


def places(run, rng, count):
    """Random elements of all results of both passes, and one of each gradient that has a name."""
    values = [v for r in run for v in r.outputs if math.prod(v.shape)]
    for _ in range(count):
        v = values[rng.integers(len(values))]
        yield f"#{v.record.number}:{v.output}[{','.join(str(rng.integers(n)) for n in v.shape)}]"
    for v in dict.fromkeys(run.names.values()):
        try:
            run.gradient(v)
        except see.SeeError:
            continue
        if math.prod(v.shape):
            yield f"{v.name}.grad[{','.join(str(rng.integers(n)) for n in v.shape)}]"


def with_parts(e):
    yield e
    for part in e.parts:
        yield from with_parts(part)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_thousand_random_positions_are_explained(dtype):
    rng = np.random.default_rng(7)
    asked, wrong, loose = 0, [], []
    for name in NAMES:
        run = traced(name, dtype)
        for at in places(run, rng, 8):
            asked += 1
            for e in with_parts(see.explain(run, at)):
                if not e.exact:
                    wrong.append(f"{name}: {e}")
                size = abs(e.value) + (e.terms.size if e.terms else 0) + 1
                if e.bound > 2000 * np.finfo(dtype).eps * size:
                    loose.append(f"{name}: {e}")
    assert not wrong, "\n\n".join(wrong[:5])
    assert not loose, "\n\n".join(loose[:5])
    assert asked > 1000


def test_each_primitive_of_the_examples_has_an_explainer_of_its_own():
    seen = {r.op for name in NAMES for r in traced(name, "float64")}
    generic = {op for op in seen if op not in see.explain_registry()}
    assert generic <= UNEXPLAINED
    assert set(see.explain_registry()) <= set(Primitive.registry)


@pytest.mark.parametrize("name", ["conv2d", "linear", "avg_pool2d", "batch_norm", "softmax", "tanh", "interpolate"])
def test_a_number_that_is_wrong_is_not_explained(name):
    run = traced(name, "float32")
    value = run.outputs[0]
    value.array = value.array * np.float32(1 + 1e-3)
    index = ",".join(str(n - 1) for n in value.shape)
    e = see.explain(run, f"{value.name}[{index}]")
    assert not e.exact
    assert "NOT EXPLAINED: beyond the bound" in str(e)


def test_not_a_number_is_explained_by_terms_that_are_none():
    x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
    x[0, 0, 0, 0] = np.nan
    run = see.trace(minidl.nn.functional.conv2d, (x, w), loss=lambda y: y.sum())
    e = see.explain(run, "conv[0,0,0,0]")
    assert math.isnan(e.value) and e.exact and "NOT EXPLAINED" not in str(e)
    run.names["conv"].array = np.zeros((1, 1, 2, 2))
    assert not see.explain(run, "conv[0,0,0,0]").exact, "a number where the terms give none"


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "matmul", "max_pool2d", "avg_pool2d", "softmax", "pad",
                                  "embedding", "interpolate", "batch_norm", "fold", "einsum", "mul"])  # fmt: skip
def test_what_is_scattered_is_what_the_receiver_gathers(name):
    run = traced(name, "float64")
    rng = np.random.default_rng(3)
    value = next(v for r in reversed(run.records) if r.phase == "forward" for v in r.outputs[:1] if r.gradients)
    index = tuple(int(rng.integers(n)) for n in value.shape)
    at = f"{value.name}[{','.join(map(str, index))}]"
    found = see.scatter(run, at)
    if name == "pad":  # the random place is padding
        assert not found.goals
        found = see.scatter(run, f"{value.name}[1,1,3]")
        index = (1, 1, 3)
    assert found.goals
    for goal in found.goals:
        for i in range(0, len(goal.sent), max(1, len(goal.sent) // 5)):
            place = ",".join(str(n) for n in goal.index[i].tolist())
            e = see.explain_grad(run, f"{goal.source}.grad[{place}]")
            for part in [e] if not e.parts else [p for p in e.parts if p.label == found.label]:
                column = part.terms.columns[0]
                if column.source != f"{value.name}.grad":
                    continue
                mine = (column.index == np.array(index)).all(1)
                np.testing.assert_allclose(part.terms.products[mine].sum(), goal.sent[i], rtol=1e-12, atol=1e-300)
                assert goal.senders[i] == len(np.unique(column.index, axis=0))


def test_the_algorithm_that_ran_gives_the_bound():
    F = minidl.nn.functional
    x, w = minidl.randn(2, 3, 12, 11), minidl.randn(4, 3, 3, 3)
    for algorithm in ("im2col", "fft", "winograd"):
        run = see.trace(
            lambda x, w, a=algorithm: F.conv2d(x, w, padding=1, algorithm=a), (x, w), loss=lambda y: y.sum()
        )
        for at in ("conv[1,3,5,6]", "conv[0,0,0,0]", "input:0.grad[1,2,4,5]", "input:1.grad[3,2,1,0]"):
            e = see.explain(run, at)
            assert e.exact and e.bound_rule.startswith(algorithm)
            assert e.bound < 1e-2 * max(e.terms.size, 1)
