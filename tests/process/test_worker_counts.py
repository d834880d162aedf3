"""How warm workers come and go, as the metrics tell it: each worker that was forked ends in one of two ways."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from left_behind import children
from support.async_tests import runs_async
from support.waiting import PATIENCE_S

from consumer.config.loader import load
from consumer.job import Crashed, Job, Outcome, OverLimit, Request, Succeeded, TimedOut
from consumer.runners.files.job_files import JobFiles
from consumer.runners.runner import Runner, open_runner
from consumer.service import resource_gauges
from consumer.telemetry.metrics import NAMES, Metrics

HERE = Path(__file__).parent
COUNTED = [name for name in NAMES if name.startswith(("workers.", "forkserver.", "reloads."))]


@dataclass
class Counted:
    """A runner with one slot, and what it has counted."""

    runner: Runner
    metrics: Metrics
    others: set[int]

    async def run(self, case: str, *, timeout_s: float = 30.0, **body: object) -> Outcome:
        content = json.dumps({"case": case, **body}).encode()
        job = Job(request=Request(id="id-1", correlation_id="c"), body=content, timeout_s=timeout_s)
        return await self.runner.pool.slots[0].run(job)

    def counts(self) -> dict[str, float]:
        """All counts that are not zero."""
        return {name: count for name in COUNTED if (count := self.metrics.registry.value(name))}

    async def until(self, **counts: int) -> None:
        """Wait until these are the counts; a `_` stands for a dot."""
        expected = {name.replace("_", "."): count for name, count in counts.items()}
        async with asyncio.timeout(PATIENCE_S):
            while self.counts() != expected:  # noqa: ASYNC110 - a count sets no event
                await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(folder: Path, target: str = "cases:dispatch", **settings: Any) -> AsyncIterator[Counted]:  # noqa: ANN401 - settings
    metrics = Metrics()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{HERE}"}
    others = children()
    with JobFiles.open(folder / "jobs") as files:
        chosen = load({"classifier": target, **settings}, {})
        async with open_runner(chosen, files, environment, size=1, metrics=metrics) as runner:
            yield Counted(runner, metrics, others)


@runs_async
async def test_a_worker_whose_jobs_are_done_is_retired(tmp_path: Path) -> None:
    async with opened(tmp_path, jobs_per_worker=2) as counted:
        for _ in range(4):
            await counted.run("echo")
        await counted.until(workers_forked=3, workers_retired=2)
    assert counted.counts() == {"workers.forked": 3, "workers.retired": 3}


@runs_async
async def test_a_crash_in_a_job_and_a_kill_between_jobs_are_deaths(tmp_path: Path) -> None:
    async with opened(tmp_path) as counted:
        await counted.run("kills_itself", signal=signal.SIGSEGV)
        await counted.until(workers_forked=2, workers_died=1)
        outcome = await counted.run("surroundings")
        assert isinstance(outcome, Succeeded)
        os.kill(json.loads(outcome.output)["pid"], signal.SIGKILL)
        await counted.until(workers_forked=3, workers_died=2)


@runs_async
async def test_one_that_the_service_kills_for_what_its_job_took_has_not_died(tmp_path: Path) -> None:
    async with opened(tmp_path, max_stdout_bytes=100_000) as counted:
        assert isinstance(await counted.run("hangs", timeout_s=0.1), TimedOut)
        assert isinstance(await counted.run("prints_without_end"), OverLimit)
        await counted.until(workers_forked=3, workers_retired=2)


@runs_async
async def test_one_that_the_kernel_kills_at_a_limit_of_ours_has_not_died(tmp_path: Path) -> None:
    async with opened(tmp_path, jobs_per_worker=1, max_cpu_s=10) as counted:
        assert isinstance(
            await counted.run("kills_itself", signal=signal.SIGXCPU), OverLimit
        )  # as the kernel does
        await counted.until(workers_forked=2, workers_retired=1)


@runs_async
async def test_a_fork_server_that_was_killed_is_counted_and_so_are_its_workers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="consumer")
    async with opened(tmp_path) as counted:
        (server,) = children() - counted.others
        running = asyncio.create_task(counted.run("waits_for", file="/nowhere"))
        async with asyncio.timeout(PATIENCE_S):
            while "runs" not in caplog.text:  # noqa: ASYNC110 - a log record sets no event
                await asyncio.sleep(0.005)
        os.kill(server, signal.SIGKILL)
        assert isinstance(await running, Crashed)
        await counted.run("echo")
        await counted.until(workers_forked=2, workers_died=1, forkserver_restarted=1)


@runs_async
async def test_reloads_are_counted_by_how_they_end(tmp_path: Path) -> None:
    module = tmp_path / "mine.py"
    module.write_text("def classify(job): return 1\n")
    async with opened(tmp_path, "mine:classify") as counted:
        await counted.runner.reload()
        module.write_text("1 / 0  # a change that nobody has tried\n")
        await counted.runner.reload()
        await counted.until(workers_forked=2, workers_retired=1, reloads_succeeded=1, reloads_failed=1)


@runs_async
async def test_memory_is_that_of_all_processes_and_disk_that_of_the_folder(tmp_path: Path) -> None:
    async with opened(tmp_path) as counted:
        alone = resource_gauges.memory_bytes(os.getpid())
        await counted.run("grows", bytes=50_000_000)
        assert resource_gauges.memory_bytes(os.getpid()) > alone + 40_000_000
        async with resource_gauges.reporting(counted.metrics, tmp_path), asyncio.timeout(PATIENCE_S):
            while not counted.metrics.registry.value("memory.bytes"):  # noqa: ASYNC110 - a gauge sets no event
                await asyncio.sleep(0.005)
    free = os.statvfs(tmp_path)
    assert counted.metrics.registry.value("disk.free_bytes") <= free.f_bfree * free.f_frsize


@runs_async
async def test_a_disk_that_has_gone_costs_nothing_but_its_number(tmp_path: Path) -> None:
    metrics = Metrics()
    async with resource_gauges.reporting(metrics, tmp_path / "gone"):
        await asyncio.sleep(0)
    assert metrics.registry.value("memory.bytes") == 0
