"""Names and order of arguments are PyTorch's: every public function, method and ``nn.functional`` is compared.

``EXCEPTIONS`` lists where they differ, each with its reason; an entry that no longer differs must go.
"""

import inspect
import re
from typing import Any

import pytest

import minidl
import minidl.nn.functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# deprecated in PyTorch, about where a result is stored, or about layouts that arrays of NumPy do not have
NOT_OURS = {
    "out", "size_average", "reduce", "layout", "pin_memory", "memory_format", "_stacklevel", "sparse_grad", "names",
    "out_dtype", "non_blocking",
}  # fmt: skip


def parameters(signature: str) -> list[str]:
    """The names in a signature as a docstring writes it; those in brackets behind them are options."""
    names = []
    for part in re.sub(r"\[[^\]]*\]|\([^()]*\)", "", signature.replace("\\", "")).split(","):
        found = re.match(r"\s*\*{0,2}\s*(?:(?:Tensor|int|bool|float|str|Optional|torch\.\w+)\s+)?([A-Za-z_]\w*)", part)
        if found:
            names.append(found.group(1))
    return names


def theirs(function: Any, name: str) -> list[list[str]]:
    """The argument names of every form in which PyTorch's function can be called."""
    try:
        given = [p.name for p in inspect.signature(function).parameters.values()]
        if given not in (["args", "kwargs"], ["args"]):
            return [given]
    except (TypeError, ValueError):
        pass
    text = re.sub(r"\s*->.*", "", function.__doc__ or "")
    written = re.findall(rf"(?m)^\s*(?:\.\. function:: )?(?:\w+\.)*{name}\((.*)\)$", text)
    return [parameters(w) for w in written]


def ours(function: Any) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values()]


def difference(mine: list[str], forms: list[list[str]]) -> str | None:
    """None where every name of PyTorch's is one of ours, and those that both have come in one order in some form."""
    known = set(mine) | NOT_OURS | {"self", "input"} | ({"axis"} if "dim" in mine else set())
    forms = [[n for n in form if n not in ("self", "input")] for form in forms]
    unknown = sorted({n for form in forms for n in form} - known)
    if unknown:
        return "lacks " + ", ".join(unknown)
    mine = [n for n in mine if n not in ("self", "input")]
    for form in forms:
        shared = [n for n in form if n in mine]
        if shared == [n for n in mine if n in shared]:
            return None
    return f"order {mine}, PyTorch {forms}"


def compared() -> dict[str, str | None]:
    """Of every public callable that PyTorch has too: None, or how the arguments differ."""
    found: dict[str, str | None] = {}
    places = (
        ("", minidl, torch, minidl.ops.__all__),
        ("Tensor.", minidl.Tensor, torch.Tensor, [n for n in dir(minidl.Tensor) if not n.startswith("_")]),
        ("F.", F, torch.nn.functional, F.__all__),
    )
    for prefix, here, there, names in places:
        for name in names:
            mine, other = getattr(here, name), getattr(there, name, None)
            if not inspect.isroutine(mine) or not callable(other):
                continue
            forms = theirs(other, name)
            if forms:
                found[prefix + name] = difference(ours(mine), forms)
    return found


PAIR = "its page names the fields of the result in the place of arguments"
UNBIASED = "takes the older unbiased before keepdim, as PyTorch does too when they come by position"
PAGE = "a name on the page of the method that the function it forwards to does not have"
TENSOR = "PyTorch calls the first argument, or the second of dot, tensor; here as in all other functions"
HIDDEN = "forwards everything to max_pool, whose arguments are compared"

EXCEPTIONS: dict[str, str] = {
    **dict.fromkeys(("max", "median", "min", "topk"), PAIR),
    **dict.fromkeys(("std", "var", "var_mean", "Tensor.std", "Tensor.var"), UNBIASED),
    **dict.fromkeys(("dot", "split", "F.one_hot", "Tensor.type_as"), TENSOR),
    **dict.fromkeys((f"F.max_pool{n}d_with_indices" for n in (1, 2, 3)), HIDDEN),
    **dict.fromkeys(
        (
            "Tensor.bmm", "Tensor.div", "Tensor.div_", "Tensor.divide", "Tensor.floor_divide", "Tensor.matmul",
            "Tensor.mul", "Tensor.mul_", "Tensor.multiply", "Tensor.narrow", "Tensor.remainder", "Tensor.split",
            "Tensor.true_divide", "Tensor.view", "Tensor.where",
        ),
        PAGE,
    ),
    "Tensor.to": "its page says args and kwargs",
    "solve": "torch.solve was another function; this is torch.linalg.solve(A, B), here with small letters",
}  # fmt: skip


def test_arguments_are_torchs_in_name_and_order():
    found = compared()
    assert len(found) > 300
    differing = {name: how for name, how in found.items() if how is not None}
    assert {n: h for n, h in differing.items() if n not in EXCEPTIONS} == {}
    assert sorted(set(EXCEPTIONS) - set(differing)) == [], "no longer different: take the line out"
    assert all(EXCEPTIONS.values())
