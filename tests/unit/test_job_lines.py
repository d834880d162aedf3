"""The lines about jobs in the log, and the summary of each minute: what they say, and what is left out."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.async_tests import runs_async

from consumer.disposition import Settlement
from consumer.job import Crashed, Job, Outcome, Request, Succeeded
from consumer.telemetry import log_context
from consumer.telemetry.job_lines import BURST_LINES, LINES_PER_S, JobLines
from consumer.telemetry.log_format import formatter
from consumer.telemetry.metrics import Metrics, Snapshot
from consumer.telemetry.summary import Summary, summarised
from consumer.wording import counted

REQUEST = Request(id="m1", correlation_id="c", attempt=2)
JOB = Job(request=REQUEST, body=b"{}", timeout_s=1, model="pumps")
SUCCEEDED = Succeeded(output=b"{}", run_s=0.0125)
CRASHED = Crashed(message="killed by SIGSEGV", run_s=0.5)


@contextmanager
def log_of(level: int) -> Iterator[list[dict[str, Any]]]:
    """Collect the records of the service in JSON, as a machine reads them."""
    out, told = io.StringIO(), list[dict[str, Any]]()
    logger = logging.getLogger("consumer")
    handler, before = logging.StreamHandler(out), logger.level
    handler.setFormatter(formatter("json"))
    logger.addHandler(handler)
    logger.setLevel(level)
    yield told
    logger.removeHandler(handler)
    logger.setLevel(before)
    told += map(json.loads, out.getvalue().splitlines())


def settled(lines: JobLines, outcome: Outcome, *, request: Request = REQUEST, now: float = 0.0) -> None:
    settlement = Settlement.RETRY if outcome is CRASHED else Settlement.ACK
    lines.settled(request, outcome, settlement, received_at=now - 0.02, now=now)


@runs_async
async def test_a_line_of_a_job_has_all_that_a_query_asks_for_as_fields() -> None:
    with log_of(logging.DEBUG) as told:
        context = log_context.begin(REQUEST)
        context.slot, context.model = 1, "pumps"
        lines = JobLines("all", "host:7")
        lines.started(JOB, 1)
        settled(lines, CRASHED, request=Request(id="m1", correlation_id="c", attempt=2, sent_at=time.time() - 10))
    about = {"job_id": "m1", "attempt": 2, "slot": 1, "model": "pumps", "consumer": "host:7"}
    started, ended = told
    assert started.items() >= {**about, "event": "job_started", "level": "DEBUG"}.items()
    assert 9_900 <= ended.pop("wait_ms") <= 10_500
    how = {"outcome": "Crashed", "code": "crashed", "settlement": "retry", "run_ms": 500.0, "total_ms": 20.0}
    assert ended.items() >= {**about, **how, "event": "job_settled", "level": "WARNING"}.items()


@pytest.mark.parametrize(
    ("attempt", "outcome", "message"),
    [
        (1, CRASHED, "job m1: Crashed, retry: killed by SIGSEGV"),
        (3, CRASHED, "job m1: Crashed at attempt 3, retry: killed by SIGSEGV"),
        (2, SUCCEEDED, "job m1: Succeeded at attempt 2, ack after 12 ms"),
    ],
)
def test_a_person_sees_at_which_attempt_a_job_ended(attempt: int, outcome: Outcome, message: str) -> None:
    with log_of(logging.INFO) as told:
        settled(JobLines("all", "h"), outcome, request=Request(id="m1", correlation_id="c", attempt=attempt))
    assert [line["message"] for line in told] == [message]


def test_without_a_timestamp_nothing_is_said_about_the_wait_and_without_a_fault_nothing_about_a_code() -> None:
    with log_of(logging.INFO) as told:
        settled(JobLines("all", "host:7"), SUCCEEDED)
    assert told[0].keys() & {"wait_ms", "code"} == set()
    assert told[0]["run_ms"] == 12.5


class Untouched(Request):
    """Its id must not be read."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"{name} was read for a line that is not written")


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_a_line_that_is_not_written_costs_no_more_than_the_check(level: int) -> None:
    lines = JobLines("all", "host:7")
    untouched = object.__new__(Untouched)
    job = object.__new__(Job)  # has no fields at all
    with log_of(level) as told:
        lines.started(job, 0)
        settled(lines, SUCCEEDED, request=untouched)
        if level > logging.WARNING:
            settled(lines, CRASHED, request=untouched)
    assert told == []


def test_by_default_a_burst_has_its_lines_and_a_flood_only_those_of_failures() -> None:
    lines = JobLines("auto", "host:7", now=0.0)
    with log_of(logging.INFO) as told:
        for _ in range(BURST_LINES + 100):
            settled(lines, SUCCEEDED)
        settled(lines, CRASHED)
    assert [line["outcome"] for line in told] == ["Succeeded"] * BURST_LINES + ["Crashed"]
    assert lines.left_out == 100
    with log_of(logging.INFO) as told:
        for n in range(100):  # one second later, at a hundred a second
            settled(lines, SUCCEEDED, now=1 + n / 100)
    assert LINES_PER_S <= len(told) <= 2 * LINES_PER_S


@pytest.mark.parametrize(("chosen", "lines_of"), [("all", 500), ("failed", 0)])
def test_all_lines_or_only_those_of_failures_can_be_chosen(chosen: Any, lines_of: int) -> None:  # noqa: ANN401 - a literal
    lines = JobLines(chosen, "host:7", now=0.0)
    with log_of(logging.INFO) as told:
        for _ in range(500):
            settled(lines, SUCCEEDED)
        settled(lines, CRASHED)
    assert len(told) == lines_of + 1


@runs_async
async def test_a_summary_has_the_jobs_of_its_own_period() -> None:
    metrics, lines = Metrics(), JobLines("failed", "host:7")
    metrics.slots(busy=0, size=4)
    metrics.ended(SUCCEEDED, Settlement.ACK, total_s=1)  # before the first period
    with log_of(logging.INFO) as told:
        async with summarised(metrics, lines):
            for _ in range(19):
                metrics.ended(SUCCEEDED, Settlement.ACK, total_s=1)
            settled(lines, SUCCEEDED)
            metrics.ended(CRASHED, Settlement.RETRY, total_s=1)
    (line,) = told
    expected = {"event": "summary", "level": "INFO", "consumer": "host:7", "slots": 4, "left_out": 1}
    counted = {"done": 19, "retried": 1, "dead_lettered": 0, "failed": {"crashed": 1}}
    assert line.items() >= {**expected, **counted}.items()
    assert line["p50_ms"] == pytest.approx(12.5, rel=0.025)
    assert line["message"].startswith(
        "last 0 s: 19 done, 1 failed (crashed 1), 1 retried, 0 dead-lettered; run time"
    )


@runs_async
async def test_a_period_without_jobs_has_no_summary_and_one_with_a_long_job_has() -> None:
    metrics, lines = Metrics(), JobLines("auto", "host:7")
    with log_of(logging.INFO) as told:
        async with summarised(metrics, lines):
            pass
    assert told == []
    first = metrics.snapshot()
    metrics.slots(busy=2, size=2)
    while (last := metrics.snapshot()).at == first.at:
        pass
    summary = Summary.between(first, last, left_out=0)
    assert summary.is_worth_logging == (summary.busy > 0)
    assert "p50_ms" not in summary.fields()


@pytest.mark.parametrize(
    ("p50_ms", "p95_ms", "text"),
    [
        (0.412, 9.84, "p50 0.412 ms, p95 9.84 ms"),
        (99.95, 4975.0, "p50 100 ms, p95 4975 ms"),
        (7500.0, 599_999.6, "p50 7500 ms, p95 600000 ms"),
    ],
)
def test_a_person_reads_run_times_without_an_exponent(p50_ms: float, p95_ms: float, text: str) -> None:
    counts: dict[str, Any] = {"done": 1, "retried": 0, "dead_lettered": 0, "failed": {}, "left_out": 0}
    summary = Summary(seconds=60, p50_ms=p50_ms, p95_ms=p95_ms, busy=1, slots=2, **counts)
    assert f"run time {text}; 1.0 of 2 slots busy" in str(summary)


def test_one_is_no_plural() -> None:
    counts: dict[str, Any] = {"done": 1, "retried": 0, "dead_lettered": 0, "failed": {}, "left_out": 1}
    summary = Summary(seconds=60, p50_ms=None, p95_ms=None, busy=1, slots=1, **counts)
    assert str(summary).endswith("; 1.0 of 1 slot busy; 1 line of jobs that succeeded left out")
    assert [counted(number, "slot") for number in (0, 1, 2)] == ["0 slots", "1 slot", "2 slots"]


def _with_one_run(run_ms: float) -> tuple[Snapshot, Snapshot]:
    metrics = Metrics()
    before = metrics.snapshot()
    metrics.ended(Succeeded(output=b"{}", run_s=run_ms / 1000), Settlement.ACK, total_s=1)
    return before, metrics.snapshot()


@pytest.mark.parametrize("shortest_ms", [0.3, 2.0, 12.5, 301.0, 7_200_000.0])
def test_the_run_times_of_a_summary_are_at_most_2_5_percent_off(shortest_ms: float) -> None:
    metrics, runs_ms = Metrics(), [shortest_ms * (1 + number / 5000) for number in range(101)]
    before = metrics.snapshot()
    for run_ms in runs_ms:
        metrics.ended(Succeeded(output=b"{}", run_s=run_ms / 1000), Settlement.ACK, total_s=1)
    summary = Summary.between(before, metrics.snapshot(), left_out=0)
    assert (summary.p50_ms, summary.p95_ms) == pytest.approx((runs_ms[50], runs_ms[95]), rel=0.025)
    one = Summary.between(*_with_one_run(shortest_ms), left_out=0)
    assert one.p50_ms == one.p95_ms
