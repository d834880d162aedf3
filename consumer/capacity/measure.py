"""`consumer try --times`: runs many jobs one by one and measures their run times, for `consumer plan`.

It uses one slot and no RabbitMQ, so it measures only the job. It leaves out the first run, which is slower because
nothing is cached yet. It counts failed jobs but not their times, which would differ in the service.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from consumer.capacity.report import show_s
from consumer.capacity.service_times import SHARES, Times, quantile
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import Invalid, Job, Outcome, Succeeded
from consumer.runners.files.job_files import JobFiles
from consumer.runners.pool import Pool
from consumer.runners.runner import open_runner
from consumer.service.dry_run import read


async def measure(
    bodies: Sequence[bytes],
    repeat: int,
    settings: Settings,
    report: Callable[[str], None],
    on_run: Callable[[int], None] = lambda _number: None,
) -> tuple[Times, int]:
    """Run every job `repeat` times; return the times of the runs that succeeded, and the number of failed runs.

    `on_run` is called before each run with its number.

    Raises:
        ConfigurationError: no run succeeded, or the classifier's program or the job folder cannot be used.
    """
    jobs = [read(body, settings)[1] for body in bodies]
    with JobFiles.opened(settings.job_dir) as files:
        async with open_runner(settings, files, os.environ, size=1) as runner:
            report(f"runs         {runner.description}")
            outcomes = await _run_all(runner.pool, jobs, repeat, on_run)
    run_s = [outcome.run_s for outcome in outcomes if isinstance(outcome, Succeeded)]
    if not run_s:
        raise ConfigurationError(
            f"none of {len(outcomes)} runs succeeded; run one job with `consumer try JOB.json` to see why"
        )
    return Times(runs=runner.description, run_s=run_s), len(outcomes) - len(run_s)


async def _run_all(
    pool: Pool, jobs: Sequence[Job | Invalid], repeat: int, on_run: Callable[[int], None]
) -> list[Outcome]:
    """Run all jobs, then all again, so that changes of a shared machine affect all jobs alike."""

    async def run(job: Job | Invalid, number: int = 0) -> Outcome:
        on_run(number)
        return job if isinstance(job, Invalid) else await pool.run(job)

    await run(jobs[0])
    return [await run(job, number) for number, job in enumerate([*jobs] * repeat, start=1)]


def summary(times: Times, failed: int) -> str:
    """Summarise the times for a person."""
    ordered = sorted(times.run_s)
    mean = math.fsum(ordered) / len(ordered)
    figures = ", ".join(f"{name} {show_s(quantile(ordered, share))}" for name, share in SHARES.items())
    left_out = f", {failed} failed and are left out" if failed else ""
    return (
        f"runs         {len(ordered)} succeeded{left_out}\n"
        f"run time     mean {show_s(mean)}, {figures}, longest {show_s(ordered[-1])}"
    )


def see_writable(path: Path) -> None:
    """Check that the file of times can be written, before the jobs run for perhaps an hour.

    Raises:
        ConfigurationError: the folder does not exist or is not writable.
    """
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(
            f"{path} cannot be written: {path.parent} is not a folder that this user may write to"
        )


def save(times: Times, path: Path) -> None:
    """Write the times for `consumer plan --times`.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    try:
        path.write_text(times.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
