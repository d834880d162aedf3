"""`consumer try --times`: runs many jobs one by one and measures their run times, for `consumer plan`.

It uses one slot and no RabbitMQ, so it measures only the job. It leaves out the first run, which is slower because
nothing is cached yet. It counts failed jobs but not their times, which would differ in the service.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from consumer.capacity.report import show_s
from consumer.capacity.service_times import Times, percentiles
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import Succeeded
from consumer.service.dry_run import one_slot, run_body


async def measure(
    bodies: Sequence[bytes], repeat: int, settings: Settings, on_run: Callable[[int], None]
) -> tuple[Times, int]:
    """Run every job `repeat` times; return the times of the runs that succeeded, and the number of failed runs.

    All jobs run once, then all again, so that changes of a shared machine affect all jobs alike. `on_run` is
    called before each run with its number.

    Raises:
        ConfigurationError: no run succeeded, or the classifier's program or the job folder cannot be used.
    """
    run_s = []
    async with one_slot(settings) as runner:
        for number, body in enumerate([bodies[0], *[*bodies] * repeat]):
            on_run(number)
            _, outcome = await run_body(body, settings, runner)
            if number and isinstance(outcome, Succeeded):
                run_s.append(outcome.run_s)
    runs = len(bodies) * repeat
    if not run_s:
        raise ConfigurationError(
            f"none of {runs} runs succeeded; run one job with `consumer try JOB.json` to see why"
        )
    return Times(runs=runner.description, run_s=run_s), runs - len(run_s)


def summary(times: Times, failed: int) -> str:
    """Summarise the times for a person."""
    figures = ", ".join(f"{name} {show_s(value)}" for name, value in percentiles(times.run_s).items())
    left_out = f", {failed} failed and are left out" if failed else ""
    return (
        f"classifier   {times.runs}\n"
        f"runs         {len(times.run_s)} succeeded{left_out}\n"
        f"run time     mean {show_s(fmean(times.run_s))}, {figures}, longest {show_s(max(times.run_s))}"
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
