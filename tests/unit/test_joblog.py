"""A job's LOG: lines: a burst and a trickle pass, a flood is counted."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import cast

import pytest
from support.async_tests import never, runs_async

from consumer.config.loader import load
from consumer.job import Job, Request
from consumer.runners.files.job_folder import JobFolder
from consumer.runners.resource_monitor import Monitor
from consumer.runners.warm_runner import WarmSlot
from consumer.runners.worker import WorkerRun
from consumer.runners.worker_pool import Workers
from consumer.telemetry.job_log import BURST_LINES, LINES_PER_S, JobLog


class Clock:
    """Stands still until it is told to go on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level(logging.INFO)
    return Clock()


def test_a_line_is_logged_under_the_jobs_id(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    JobLog("job m1", clock)("hello %s")
    assert caplog.messages == ["job m1: hello %s"]


def test_a_flood_is_dropped_and_counted_at_the_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines = JobLog("job m1", clock)
    for number in range(BURST_LINES + 1234):
        lines(str(number))
    lines.close()
    assert len(caplog.messages) == BURST_LINES + 1
    assert caplog.messages[-1] == "job m1: ... and 1234 more LOG lines were dropped"
    lines.close()
    assert len(caplog.messages) == BURST_LINES + 1


def test_a_steady_trickle_passes_for_as_long_as_the_job_runs(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    lines = JobLog("job m1", clock)
    for number in range(10 * BURST_LINES):
        lines(str(number))
        clock.now += 1 / LINES_PER_S
    assert len(caplog.messages) == 10 * BURST_LINES


def test_after_a_flood_lines_pass_again_and_the_gap_is_told_before_them(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    lines = JobLog("job m1", clock)
    for number in range(BURST_LINES + 5):
        lines(str(number))
    clock.now += 1.0
    lines("later")
    assert caplog.messages[-2:] == ["job m1: ... and 5 more LOG lines were dropped", "job m1: later"]


def test_a_pause_saves_up_no_more_than_a_burst(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines = JobLog("job m1", clock)
    clock.now += 86_400
    for number in range(2 * BURST_LINES):
        lines(str(number))
    assert len(caplog.messages) == BURST_LINES


class FloodingWorker:
    """Stands for the workers, of which it is one: prints more than a log takes, and is cancelled."""

    async def take(self, *, jobs: int) -> FloodingWorker:
        assert jobs == 1
        return self

    async def execute(self, run: WorkerRun, *_: object, **_named: object) -> None:
        run.on_stdout(b"BEGIN: m1\n" + b"LOG: line\n" * (BURST_LINES + 100))
        raise asyncio.CancelledError

    def give_back(self, worker: object) -> None:
        assert worker is self


@runs_async
async def test_what_was_dropped_is_told_even_if_the_run_is_cancelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    workers = cast("Workers", FloodingWorker())
    slot = WarmSlot(workers, JobFolder(tmp_path), load({}, {}), Monitor(), never())
    with pytest.raises(asyncio.CancelledError):
        await slot.run(Job(request=Request(id="m1", correlation_id="c"), body=b"{}", timeout_s=1.0))
    assert "more LOG lines were dropped" in caplog.messages[-1]
