"""`consumer try --times`: many jobs through the runner one by one, and how long each ran, for `consumer plan`.

One slot and no RabbitMQ, so what is measured is the job and nothing else. A first run does not count: it finds
nothing warm. Jobs that do not succeed are counted, not timed; the queue would see other times for them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from consumer.capacity.plan import SHARES
from consumer.capacity.queueing import quantile
from consumer.capacity.report import show_bytes, show_s
from consumer.capacity.service_times import MemoryUse, Times
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import Invalid, Job, Outcome, Succeeded
from consumer.runners.files.job_files import JobFiles
from consumer.runners.pool import Pool
from consumer.runners.procfs import Process, descendants, look, private_bytes, proportional_bytes
from consumer.runners.runner import Runner, open_runner
from consumer.service.dry_run import read


async def measure(
    bodies: Sequence[bytes], repeat: int, settings: Settings, tell: Callable[[str], None]
) -> tuple[Times, int]:
    """Run every job so many times; return the times of the runs that succeeded, and how many did not.

    Raises:
        ConfigurationError: no run succeeded, or the classifier's program or the job folder cannot be used.
    """
    jobs = [read(body, settings)[1] for body in bodies]
    with JobFiles.opened(settings.job_dir) as files:
        async with open_runner(settings, files, os.environ, size=1) as runner:
            tell(f"runs         {runner.description}")
            outcomes = await _run_all(runner.pool, jobs, repeat)
            memory = _memory(runner)
    run_s = [outcome.run_s for outcome in outcomes if isinstance(outcome, Succeeded)]
    if not run_s:
        raise ConfigurationError(
            f"none of {len(outcomes)} runs succeeded; look at one with `consumer try JOB.json`"
        )
    return Times(runs=runner.description, run_s=run_s, memory=memory), len(outcomes) - len(run_s)


async def _run_all(pool: Pool, jobs: Sequence[Job | Invalid], repeat: int) -> list[Outcome]:
    """All jobs, then all again: what changes meanwhile, on a machine that others use, meets each of them."""

    async def run(job: Job | Invalid) -> Outcome:
        return job if isinstance(job, Invalid) else await pool.run(job)

    await run(jobs[0])
    return [await run(job) for _ in range(repeat) for job in jobs]


def _memory(runner: Runner) -> MemoryUse | None:
    """Of warm workers: what one more would take is what it shares with nobody. A program has ended by now."""
    if not runner.workers:
        return None
    own = look(os.getpid())
    servers = [*descendants(os.getpid())]
    workers = {worker.pid: worker for server in servers for worker in descendants(server.pid)}
    everyone: list[Process] = [*([own] if own else []), *servers]
    private = [private_bytes(worker) for worker in workers.values()]
    if not private:
        return None
    together = sum(map(proportional_bytes, everyone))
    return MemoryUse(base_bytes=max(0, together - sum(private)), slot_bytes=max(private))


def summary(times: Times, failed: int) -> str:
    """What a person wants to see of it."""
    ordered = sorted(times.run_s)
    mean = math.fsum(ordered) / len(ordered)
    figures = ", ".join(f"{name} {show_s(quantile(ordered, share))}" for name, share in SHARES.items())
    lines = [
        f"runs         {len(ordered)} succeeded" + (f", {failed} failed and are left out" if failed else ""),
        f"run time     mean {show_s(mean)}, {figures}, longest {show_s(ordered[-1])}",
    ]
    if times.memory:
        base, slot = show_bytes(times.memory.base_bytes), show_bytes(times.memory.slot_bytes)
        lines.append(f"memory       {base}, and {slot} for each slot")
    return "\n".join(lines)


@contextmanager
def opened(path: Path) -> Iterator[Callable[[Times], None]]:
    """Give what writes the times for `consumer plan --times`. The file is there only when it is whole.

    Raises:
        ConfigurationError: the file cannot be written, told before anything is run.
    """
    partial = path.with_name(f".{path.name}.partial")
    with _complaining(path):
        partial.touch()
    try:
        yield lambda times: _write(times, partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write(times: Times, partial: Path, path: Path) -> None:
    with _complaining(path):
        partial.write_text(times.model_dump_json(indent=1) + "\n", encoding="utf-8")
        partial.replace(path)


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
