"""A test that lacks something is skipped and says what, and in .ci/run it fails instead."""

from pathlib import Path

import pytest

from tests.needs import needs


def test_what_is_missing_skips_a_test_and_fails_it_where_everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIDL_TEST_EVERYTHING", raising=False)
    needs(None)
    with pytest.raises(pytest.skip.Exception, match="no compiler"):
        needs("no compiler")
    monkeypatch.setenv("MINIDL_TEST_EVERYTHING", "1")
    needs(None)
    with pytest.raises(pytest.fail.Exception, match="no compiler"):
        needs("no compiler")


def test_in_ci_nothing_may_be_missing() -> None:
    script = (Path(__file__).parents[1] / ".ci" / "run").read_text(encoding="utf-8")
    assert "export MINIDL_TEST_EVERYTHING=1" in [line.partition("#")[0].rstrip() for line in script.splitlines()]
