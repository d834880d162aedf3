"""The log for machines: an object per line with fields of ours alone, and the job that each record is about."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.async_tests import runs_async
from support.fakes.log_listener import jobs_told
from test_escaped import DANGEROUS

from consumer.config.job_limits import Limits
from consumer.job import Request
from consumer.runners.run import Run
from consumer.telemetry import log_context
from consumer.telemetry.job_log import JobLog
from consumer.telemetry.log_format import MAX_CHARACTERS, formatter, without_traceback

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
REQUEST = Request(id="m1", correlation_id="c", attempt=2, traceparent=TRACEPARENT)
LIMITS = Limits(timeout_s=1, max_line_bytes=1000, max_stdout_bytes=1000)
ALWAYS = {"time", "level", "logger", "message"}


@contextmanager
def log_of(out: io.StringIO) -> Iterator[logging.Logger]:
    """A logger that writes JSON."""
    logger = logging.getLogger("consumer.test")
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter("json"))
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def logged(message: str, *arguments: object, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - logging's own
    """One record, as a machine reads it."""
    out = io.StringIO()
    with log_of(out) as logger:
        logger.warning(message, *arguments, **more)
    (line,) = out.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_has_its_time_level_logger_and_message() -> None:
    found = logged("hello %s", "there")
    assert found.keys() == ALWAYS
    assert (found["level"], found["logger"], found["message"]) == ("WARNING", "consumer.test", "hello there")
    assert found["time"].endswith("+00:00")


@pytest.mark.parametrize("character", DANGEROUS, ids=lambda character: f"U+{ord(character):04X}")
def test_what_could_forge_a_record_is_escaped_even_once_the_json_is_read(character: str) -> None:
    message = logged("job %s: %s", "id", f'good{character}{{"time": "2026", "message": "forged"}}')["message"]
    assert character not in message
    assert "forged" in message


@given(text=st.text())
def test_any_text_is_one_line_of_ascii(text: str) -> None:
    out = io.StringIO()
    with log_of(out) as logger:
        logger.warning("%s", text)
    assert out.getvalue().isascii()
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue()).keys() == ALWAYS


def test_a_traceback_of_user_code_is_a_part_of_its_record() -> None:
    printed = 'Traceback (most recent call last):\n  File "mine.py", line 1\n\x1b[31mNo: 1'
    what, more = without_traceback(f"mine cannot be loaded, exit code 1:\n{printed}")
    assert what == "mine cannot be loaded, exit code 1: \x1b[31mNo: 1"
    found = logged("%s", what, extra={"event": "reload_failed", **more})
    assert found["message"] == "mine cannot be loaded, exit code 1: \\x1b[31mNo: 1"
    assert found["exception"] == printed.replace("\x1b", "\\x1b")
    record = logging.makeLogRecord({"msg": what, "levelname": "ERROR", **more})
    lines = formatter("text").format(record).splitlines()
    assert lines[0].endswith("No: 1")
    assert lines[1:] == [f"    {line}" for line in found["exception"].splitlines()]


def test_a_message_of_several_lines_without_a_traceback_keeps_all_its_words() -> None:
    assert without_traceback("no models:\na is damaged\nb, too") == ("no models: a is damaged b, too", {})


def test_no_field_comes_from_elsewhere() -> None:
    assert logged("%s", {"job_id": "forged"}, extra={"job_id": "forged", "colour": "red"}).keys() == ALWAYS


def test_a_long_message_is_cut() -> None:
    assert len(logged("%s", "x" * 2**20)["message"]) < MAX_CHARACTERS + 100


def test_a_traceback_is_a_field_of_its_own() -> None:
    try:
        raise ValueError("bad\x1b[2J")  # noqa: TRY301 - has a traceback then
    except ValueError:
        found = logged("a bug", exc_info=True)
    assert found["message"] == "a bug"
    assert found["exception"].splitlines()[-1] == "ValueError: bad\\x1b[2J"


def test_a_record_says_which_job_it_is_about() -> None:
    def run() -> None:
        context = log_context.begin(REQUEST)
        known = {"job_id": "m1", "attempt": 2, "traceparent": TRACEPARENT}
        assert logged("hello").items() >= known.items()
        context.slot, context.model = 0, "pumps"
        assert logged("hello").items() >= {**known, "slot": 0, "model": "pumps"}.items()

    Context().run(run)
    assert logged("hello").keys() == ALWAYS


@runs_async
async def test_what_a_classifier_says_is_its_jobs_whoever_hears_it(caplog: pytest.LogCaptureFixture) -> None:
    """A worker's pipe is watched from its fork on, which was another job's time."""
    caplog.set_level(logging.DEBUG)

    async def handled() -> Run:
        log_context.begin(REQUEST)
        return Run(LIMITS, JobLog("job m1"))

    run = await asyncio.create_task(handled())
    with jobs_told() as told:
        run.on_stdout(b"LOG: hello\nstray\n")
    assert caplog.messages == ["job m1: hello", "outside the contract, or not asked for: stray"]
    assert [found["job_id"] for found in told] == ["m1", "m1"]


class _Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, "\x1b[33mWARNING\x1b[0m hello WARNING"),
        ({"NO_COLOR": "1"}, "WARNING hello WARNING"),
        ({"TERM": "dumb"}, "WARNING hello WARNING"),
    ],
)
def test_a_warning_has_a_colour_on_a_terminal_unless_its_user_wants_none(
    variables: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, text in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, text)
    record = logging.makeLogRecord({"msg": "hello WARNING", "levelno": logging.WARNING, "levelname": "WARNING"})
    monkeypatch.setattr(sys, "stderr", _Terminal())
    assert formatter("text").format(record).endswith(line)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert "\x1b" not in formatter("text").format(record)
