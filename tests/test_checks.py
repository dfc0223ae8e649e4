"""``python -m tests.checks``: the table of errors and bounds."""

from __future__ import annotations

import pytest

from minidl.kernels import jit
from tests.checks import __main__ as program
from tests.checks import conv


def test_every_algorithm_has_a_row_with_its_problems(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(conv, "agreement", lambda algorithm, dtype, passes, problems: len(problems) / 1000)
    program.main()
    head, _, *rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    cells = {tuple(c.strip() for c in row.split("|")[1:3]): row.split("|")[3:-1] for row in rows}
    assert {row.count("|") for row in rows} == {head.count("|")} or not jit.HAVE_NUMBA
    for algorithm in ("im2col", *(("nhwc", "fft", "winograd") if jit.HAVE_NUMBA else ())):
        for dtype in ("float32", "float64"):
            problems, *errors = cells[algorithm, dtype]
            assert int(problems) > 20 and len({float(e) for e in errors}) == 1 and len(errors) == 3
