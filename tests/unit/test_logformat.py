"""The log for machines: an object per line with fields of ours alone, and the job that each record is about."""

from __future__ import annotations

import asyncio
import io
import json
import logging
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
from consumer.telemetry.log_format import MAX_CHARACTERS, formatter

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


def test_no_field_comes_from_elsewhere() -> None:
    assert logged("%s", {"job": "forged"}, extra={"job": "forged", "colour": "red"}).keys() == ALWAYS


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
        known = {"job": "m1", "attempt": 2, "traceparent": TRACEPARENT}
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
    assert [found["job"] for found in told] == ["m1", "m1"]
