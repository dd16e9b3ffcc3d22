"""Progress is drawn on terminals and noted elsewhere; either way nothing foreign drives the terminal."""

import io
import sys

import pytest

from modelkin.cli.progress import Bars, Notes, shown_progress
from modelkin.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(watch: Progress) -> None:
    watch.advance()
    watch.start("crawl", None)
    watch.advance(3)
    watch.note("one \x1b[31mnote")
    watch.start("index", 2)
    watch.advance()
    watch.start("nothing to do", 0)


def test_elsewhere_only_notes_and_stages_with_work_are_written(capsys: pytest.CaptureFixture[str]):
    with shown_progress() as watch:
        assert isinstance(watch, Notes)
        work(watch)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "crawl\none \\x1b[31mnote\nindex\n"


def test_a_terminal_gets_bars_and_notes_above_them(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with shown_progress() as watch:
        assert isinstance(watch, Bars)
        work(watch)
    shown = terminal.getvalue()
    assert "one \\x1b[31mnote" in shown
    assert "index" in shown
    assert "3/?" in shown
