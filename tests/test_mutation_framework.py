"""The mutation run itself: each verdict is given where it is due, and nothing of a mutant stays behind."""

from __future__ import annotations

import importlib.util
import json
import sys
import textwrap
import time
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from minidl.kernels import jit
from tests.mutation import __main__ as command
from tests.mutation import framework
from tests.mutation.framework import Mutant, false_alarms, injected, label, run, score, score_line

PLANTED = """
from __future__ import annotations
import functools
from collections.abc import Callable
from typing import NamedTuple
import numpy as np
from minidl.kernels.jit import HAVE_NUMBA

LOOSE: None | int = 3
LEFT = []

def twice(x: Unknown, *, extra=0):
    '''Two times x.'''
    return 2 * x + extra

def forever(x):
    for i in range(x):
        pass
    return x

@functools.lru_cache
def cached(x):
    return 2 * x

class Window:
    def __init__(self, size):
        self.size = size

    @property
    def half(self):
        return self.size // 2

    @staticmethod
    def origin(x):
        return x - 1

def make(k):
    def scaled(x):
        return k * x
    return scaled

triple = make(3)
TABLE = {"twice": twice}

class Rule(NamedTuple):
    call: Callable

RULES = (Rule(twice), Rule(lambda x: 5 * x))

if HAVE_NUMBA:
    from minidl.kernels.jit import njit

    @njit(cache=False)
    def add_one(x):
        return x + 1

    @njit(cache=False)
    def add_two(x):
        return add_one(add_one(x))

    @njit(cache=False)
    def add_four(x):
        return add_two(add_two(x))

    def wrapper(x):
        return add_four(x)
"""


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[types.ModuleType]:
    """A module of the package with one function of each kind, and another that imports from it."""
    file = tmp_path / "planted.py"
    file.write_text(textwrap.dedent(PLANTED))
    spec = importlib.util.spec_from_file_location("minidl.planted", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    importer = types.ModuleType("minidl.planted_importer")
    sys.modules[module.__name__], sys.modules[importer.__name__] = module, importer
    spec.loader.exec_module(module)
    vars(importer).update({k: v for k, v in vars(module).items() if not k.startswith("__")})
    yield module
    del sys.modules[module.__name__], sys.modules[importer.__name__]


def importer() -> types.ModuleType:
    return sys.modules["minidl.planted_importer"]


def equal(expression: str, value: object, where: str = "minidl.planted"):
    """A check: the expression, evaluated in the planted module when the check runs, has this value."""

    def check() -> None:
        got = eval(expression, vars(sys.modules[where]))
        if got != value:  # not an assert: pytest would add its own words
            raise AssertionError(f"{expression} is {got}")

    check.__name__ = expression
    return check


def mutant(target: str, old: str, new: str, *checks) -> Mutant:
    return Mutant("planted", f"minidl.planted:{target}", checks, "a test", old, new)


@pytest.mark.parametrize(
    ("target", "old", "new", "expression", "value"),
    [
        ("twice", "2 * x", "3 * x", "twice(5)", 10),
        ("twice", "+ extra", "- extra", "twice(5, extra=1)", 11),
        ("twice", "2 * x", "3 * x", "TABLE['twice'](5)", 10),
        ("cached", "2 * x", "3 * x", "cached(5)", 10),
        ("Window.half", "// 2", "// 3", "Window(8).half", 4),
        ("Window.origin", "- 1", "- 2", "Window.origin(8)", 7),
        ("triple", "k * x", "k + x", "triple(5)", 15),
    ],
)
def test_an_edit_is_caught_and_leaves_nothing(planted, target, old, new, expression, value) -> None:
    checks = [equal(expression, value), equal(expression, value, "minidl.planted_importer")]
    for check in checks:
        check()  # fills the caches, so that a stale cache would hide the mutant
        result = run(mutant(target, old, new, check))
        assert (result.verdict, result.check) == ("caught", expression)
        assert result.message.startswith(f"{expression} is ")
        check()


def test_a_mutant_that_no_check_notices_survives(planted) -> None:
    result = run(mutant("twice", "2 * x", "2 * x * 1", equal("twice(5)", 10)))
    assert (result.verdict, result.check) == ("survived", "")


def test_the_check_that_noticed_is_the_one_reported(planted) -> None:
    result = run(mutant("twice", "+ extra", "", equal("twice(1)", 2), equal("twice(1, extra=4)", 6)))
    assert (result.verdict, result.check) == ("caught", "twice(1, extra=4)")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4 * x", "5 * x", "'4 * x' occurs 0 times in twice, not once"),
        ("x", "y", "occurs 5 times"),
        ("2 * x + extra", "(2 * x + extra)", "changes no code"),
    ],
)
def test_text_that_is_not_there_exactly_once_is_stale(planted, old, new, message) -> None:
    result = run(mutant("twice", old, new, equal("twice(5)", 10)))
    assert result.verdict == "stale" and message in result.message


@pytest.mark.parametrize(
    ("target", "old", "new", "message"),
    [
        ("twice", "2 * x", "2 * undefined", "NameError"),
        ("twice", "2 * x", "2 * )", "SyntaxError"),
        ("absent", "2 * x", "2 *", "AttributeError"),
        ("TABLE", "2 * x", "3 * x", "holds no Python function"),
    ],
)
def test_a_badly_written_mutant_is_an_error_not_a_catch(planted, target, old, new, message) -> None:
    result = run(mutant(target, old, new, equal("twice(5)", 10)))
    assert result.verdict == "error" and message in result.message


def test_a_crash_is_caught_and_says_which(planted) -> None:
    result = run(mutant("twice", "2 * x", "2 / (x - 5)", equal("twice(5)", 10)))
    assert (result.verdict, result.check) == ("caught", "twice(5) (ZeroDivisionError)")


def test_what_a_bug_leaves_behind_is_an_error_unless_it_is_cleaned_up(planted) -> None:
    """Otherwise every mutant after it would look caught."""
    check = equal("twice(5, extra=len(LEFT))", 10)
    litter = ("2 * x", "LEFT.append(x) or 3 * x")
    assert run(mutant("twice", "2 * x", "3 * x", check)).verdict == "caught"
    result = run(mutant("twice", *litter, check))
    assert (result.verdict, result.check) == ("error", "twice(5, extra=len(LEFT))")
    assert "fails on the true code afterwards: twice(5, extra=len(LEFT)) is 11" in result.message
    planted.LEFT.clear()
    clean = Mutant("planted", "minidl.planted:twice", (check,), "", *litter, cleanup=planted.LEFT.clear)
    assert run(clean).verdict == "caught" and planted.LEFT == []


def test_a_mutant_that_never_ends_is_stopped_and_is_an_error(planted) -> None:
    start = time.monotonic()
    result = run(mutant("forever", "range(x)", "iter(int, 1)", equal("forever(3)", 3)), limit=0.2)
    assert result.verdict == "error" and "still running after 0.2 s" in result.message
    assert time.monotonic() - start < 60  # it came back at all; the number only says that it did not hang
    assert planted.forever(3) == 3


@pytest.mark.parametrize(
    ("target", "expression", "value"),
    [
        ("twice", "TABLE['twice'](5)", 10),
        ("twice", "twice(5, extra=1)", 11),
        ("cached", "cached(5)", 10),
        ("triple", "triple(5)", 15),
        ("Window.origin", "Window.origin(8)", 7),
        ("Window.half", "Window(8).half", 4),
        ("RULES.1.call", "RULES[1].call(5)", 25),
    ],
)
def test_a_replacement_wraps_the_true_function_for_every_holder(planted, target, expression, value) -> None:
    for where in ("minidl.planted", "minidl.planted_importer"):
        check = equal(expression, value, where)
        check()
        one_more = lambda true: lambda *a, **k: true(*a, **k) + 1  # noqa: E731
        result = run(Mutant("r", f"minidl.planted:{target}", (check,), "a test", replace=one_more))
        assert (result.verdict, result.message) == ("caught", f"{expression} is {value + 1}")
        check()


@pytest.mark.skipif(not jit.HAVE_NUMBA, reason="needs Numba, which is not installed")
def test_compiled_callers_of_a_compiled_mutant_are_compiled_anew(planted) -> None:
    names = ["add_one", "add_two", "add_four"]
    true = [getattr(planted, n) for n in names]
    assert [f(0) for f in true] == [1, 2, 4]  # compiled now, with the right add_one inside
    for expression, value, wrong in [
        ("add_two(0)", 2, 4),
        ("add_four(0)", 4, 8),
        ("wrapper(0)", 4, 8),
    ]:
        result = run(mutant("add_one", "x + 1", "x + 2", equal(expression, value)))
        assert (result.verdict, result.message) == ("caught", f"{expression} is {wrong}")
        result = run(mutant("add_two", "add_one(add_one(x))", "add_one(x)", equal(expression, value)))
        assert result.verdict == "caught"
    assert all(getattr(planted, n) is f for n, f in zip(names, true))
    assert all(getattr(importer(), n) is f for n, f in zip(names, true))
    assert planted.wrapper(0) == 4


@pytest.mark.skipif(not jit.HAVE_NUMBA, reason="needs Numba, which is not installed")
def test_a_bug_in_what_writes_instructions_needs_the_functions_that_it_is_written_into() -> None:
    from tests.checks import gemm

    edit = ("sums[i * tile.vectors + j]", "sums[i * tile.vectors]")
    target, through = "minidl.kernels.cpu.tiles:_times_row", ("minidl.kernels.cpu.products:_rows_piece",)
    gemm.any_shape()  # compiled now, rightly
    assert run(Mutant("m", target, (gemm.any_shape,), "a test", *edit)).verdict == "survived"
    assert run(Mutant("m", target, (gemm.any_shape,), "a test", *edit, through=through)).verdict == "caught"


@pytest.mark.skipif(not jit.HAVE_NUMBA, reason="needs Numba, which is not installed")
def test_a_mutant_that_does_not_compile_is_an_error(planted) -> None:
    result = run(mutant("add_one", "x + 1", "x + undefined", equal("add_one(0)", 1)))
    assert result.verdict == "error" and "undefined" in result.message


def test_nothing_mutated_reaches_the_compile_cache(planted) -> None:
    before = jit.cache_folder
    with injected(mutant("twice", "2 * x", "3 * x", equal("twice(5)", 10))):
        assert jit.cache_folder(Path(planted.__file__)) is None
    assert jit.cache_folder is before


def test_a_mutant_needs_checks_and_one_way_of_being_wrong() -> None:
    with pytest.raises(ValueError, match="it could only survive"):
        Mutant("m", "a:b", (), "", "x", "y")
    with pytest.raises(ValueError, match="either old= and new= or replace="):
        Mutant("m", "a:b", (print,), "")
    with pytest.raises(ValueError, match="either old= and new= or replace="):
        Mutant("m", "a:b", (print,), "", "x", "y", replace=lambda f: f)


def test_a_check_that_fails_on_the_true_code_is_a_false_alarm(planted) -> None:
    bad = equal("twice(5)", 11)
    alarms = false_alarms([mutant("twice", "2", "3", bad, equal("twice(5)", 10))])
    assert alarms == {"twice(5)": "AssertionError: twice(5) is 10"}


def test_only_caught_mutants_count(planted) -> None:
    check = equal("twice(5)", 10)
    edits = [("2 * x", "3 * x"), ("2 * x", "x * 2"), ("7 * x", "x"), ("2 * x", "2 * y")]
    results = [run(mutant("twice", old, new, check)) for old, new in edits]
    assert [r.verdict for r in results] == ["caught", "survived", "stale", "error"]
    assert score(results) == (1, 4)
    assert score_line(results) == "mutation score: 1/4 = 25.0 %"


def test_labels_name_the_check_and_its_arguments() -> None:
    assert label(partial(score_line, "direct", dtype="float32")) == "score_line(direct, dtype=float32)"
    assert label("tests.checks.conv:complex_step") == "complex_step"


@pytest.fixture
def one_family(planted, monkeypatch: pytest.MonkeyPatch):
    def use(*mutants: Mutant) -> None:
        monkeypatch.setattr(command, "families", lambda: {"planted": mutants})

    return use


def test_the_command_prints_table_and_score(one_family, capsys) -> None:
    good = mutant("twice", "2 * x", "3 * x", equal("twice(5)", 10))
    one_family(good)
    assert command.main([]) == 0
    row, last = capsys.readouterr().out.splitlines()
    assert row.split()[:3] == ["planted", "minidl.planted:twice", "caught"] and row.endswith("twice(5)")
    assert last == "mutation score: 1/1 = 100.0 %"

    one_family(good, mutant("twice", "2 * x", "x * 2", equal("twice(5)", 10)))
    assert command.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "mutation score: 1/2 = 50.0 %"


def test_the_command_refuses_to_score_with_a_false_alarm(one_family, capsys) -> None:
    one_family(mutant("twice", "2 * x", "3 * x", equal("twice(5)", 11)))
    assert command.main([]) == 1
    said = capsys.readouterr()
    assert "twice(5) fails on the true code: AssertionError: twice(5) is 10" in said.err
    assert "mutation score" not in said.out


def test_the_command_as_json_and_as_list(one_family, capsys) -> None:
    one_family(mutant("twice", "2 * x", "3 * x", equal("twice(5)", 10)))
    assert command.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["caught"], report["total"], report["mutants"][0]["verdict"]) == (1, 1, "caught")
    assert command.main(["--list", "--name", "plant"]) == 0
    assert capsys.readouterr().out == "planted\n    minidl.planted:twice\n    a test\n"
    assert command.main(["--name", "nothing"]) == 1


FIRST_EXPERIMENT = (
    "F_ceil_output F_channel_order_in_flatten F_dilation_uses_h_for_both F_groups_interleaved F_kernel_transposed "
    "F_pad_hw_swapped F_pad_replicate_not_zero F_stride_hw_swapped F_true_convolution(flip) B_gx_kernel_flipped "
    "B_gw_flipped_180 B_gx_assign_not_accumulate B_gy_flattened_without_transpose B_gx_gy_spatially_transposed "
    "B_gx_uses_mean_gy B_gx_ignores_gy(ones) B_gw_ignores_gy(ones) B_gx_forgets_dilation B_gw_stride_hw_swapped "
    "B_gx_group0_weights B_gx_crop_uses_ph_for_w B_gw_first_sample_only B_gw_divided_by_N B_gb_mean_over_batch "
    "B_gb_wrong(ones) B_gx_last_pixel_zero B_gx_off_by_0.3%"
)


def test_the_bugs_of_the_first_experiment_are_all_injected() -> None:
    names = set(FIRST_EXPERIMENT.split())
    assert len(names) == 27
    there = {m.name.partition("/")[0] for mutants in command.families().values() for m in mutants}
    assert names <= there


def test_no_two_mutants_of_a_family_have_one_name() -> None:
    for family, mutants in command.families().items():
        names = [m.name for m in mutants]
        assert len(names) == len(set(names)), f"{family}: {sorted(n for n in names if names.count(n) > 1)}"


def test_every_line_to_be_changed_is_there_once() -> None:
    """An edit of a kernel must not leave a bug without a place; whoever edits the line hears of it here."""
    stale = {}
    for family, mutants in command.families().items():
        for m in mutants:
            source = framework.source_of(framework.plain_function(framework.locate(m.target)))
            if m.old and source.count(m.old) != 1:
                stale[f"{family}: {m.name}"] = f"{m.old!r} occurs {source.count(m.old)} times in {m.target}"
    assert stale == {}


def test_a_sample_of_all_that_needs_no_compilation() -> None:
    """Every sixteenth, so that each run of pytest sees a score; the full set is ``python -m tests.mutation``."""
    mutants = [m for family in command.families().values() for m in family if framework.is_fast(m)][::16]
    assert len(mutants) > 20
    assert false_alarms(mutants) == {}
    results = [run(m, verify=False) for m in mutants]
    missed = [f"{r.name} in {r.target}: {r.verdict} {r.message}" for r in results if r.verdict != "caught"]
    print(score_line(results))
    assert not missed, "\n".join(missed)
    assert false_alarms(mutants) == {}, "some mutant leaves something behind; python -m tests.mutation names it"
