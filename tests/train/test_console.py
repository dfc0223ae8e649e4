"""The display of a run on a console."""

import io
import threading

import pytest

from minidl.train import console

rich_console = pytest.importorskip("rich.console")


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def display(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> console.ConsoleDisplay:
    monkeypatch.setattr(console, "PATIENCE", 0.01)
    return console.ConsoleDisplay(rich_console.Console(file=screen, width=120))


def test_a_long_wait_for_the_first_batch_is_explained_once(
    display: console.ConsoleDisplay, screen: io.StringIO
) -> None:
    display.begin_epoch(0, 2, 3, 0)
    assert display.first_batch is not None
    display.first_batch.join()
    display.batch(8, 1.0, 0.5)
    display.begin_epoch(1, 2, 3, 0)
    assert screen.getvalue() == (
        "the first batch also compiles the kernels, once on a machine; this can take a minute\n"
    )


@pytest.mark.parametrize("ended_by", ["batch", "close"])
def test_nothing_is_said_after_a_batch_or_the_end(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, ended_by: str
) -> None:
    monkeypatch.setattr(console, "PATIENCE", 3600.0)
    display = console.ConsoleDisplay(rich_console.Console(file=screen, width=120))
    display.begin_epoch(0, 1, 3, 0)
    waiting = display.first_batch
    assert isinstance(waiting, threading.Timer) and waiting.is_alive()
    display.batch(8, 1.0, 0.5) if ended_by == "batch" else display.close()
    waiting.join()
    assert screen.getvalue() == ""
