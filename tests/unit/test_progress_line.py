"""The line that shows that a command works: on a terminal only, and nothing else is torn by it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pyte
import pytest

from consumer.cli.progress_line import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        screen = pyte.Screen(80, 24)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return [row.rstrip() for row in screen.display if row.strip()]


@contextmanager
def streams(monkeypatch: pytest.MonkeyPatch, err: io.StringIO, out: io.StringIO) -> Iterator[None]:
    """In a block, because pytest sets both anew after fixtures."""
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stderr", err)
        patch.setattr(sys, "stdout", out)
        yield


def test_the_line_is_shown_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    err, out = Terminal(), io.StringIO()
    with streams(monkeypatch, err, out), progress("begins") as show:
        show("simulates 4 slots")
        sys.stdout.write("a result\n")
    assert "begins" in err.getvalue()
    assert err.screen() == []
    assert out.getvalue() == "a result\n"


def test_log_records_and_results_on_the_same_terminal_are_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Terminal()
    handler = logging.StreamHandler(err)
    logging.getLogger().addHandler(handler)
    try:
        with streams(monkeypatch, err, err), progress("begins"):
            logging.getLogger("consumer.test").warning("a record")
            sys.stdout.write("a result\n")
    finally:
        logging.getLogger().removeHandler(handler)
    assert "begins" in err.getvalue()
    assert err.screen() == ["a record", "a result"]


def test_nothing_is_written_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    with streams(monkeypatch, log, log), progress("begins") as show:
        show("goes on")
    assert log.getvalue() == ""
