"""How slots run jobs: which of the two runners the settings ask for, opened and closed.

`exec` (exec_runner.py) starts a new program per job, whatever its language; `warm` (warm_runner.py) hands jobs to
workers that are forked from a process which has imported the classifier. Both keep one and the same contract.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from consumer.config.passed_variables import missing
from consumer.config.settings import Settings
from consumer.runners.exec_runner import ExecRunner, Program
from consumer.runners.files.job_files import JobFiles
from consumer.runners.pool import Pool
from consumer.runners.warm_runner import WarmRunner
from consumer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Runner(Protocol):
    """Runs jobs in the slots of its pool."""

    @property
    def pool(self) -> Pool:
        """What hands out its slots."""

    @property
    def description(self) -> str:
        """What runs, and how, in a few words."""

    @property
    def is_broken(self) -> bool:
        """Whether jobs would find nothing to run them, as far as is known."""

    def interrupt(self) -> None:
        """End what runs; what comes after is not begun. All these jobs are `Interrupted`."""

    async def reload(self) -> None:
        """Take up new code and models; on a failure go on with the old ones, and log why."""


@asynccontextmanager
async def open_runner(
    settings: Settings,
    files: JobFiles,
    environment: Mapping[str, str],
    *,
    size: int,
    metrics: Metrics | None = None,
) -> AsyncIterator[Runner]:
    """Make ready to run jobs in `size` slots; end what serves them afterwards.

    `metrics` is told which slots are busy, and how workers come and go; without, nobody is.

    Raises:
        ConfigurationError: the program does not exist, or the classifier does not load.
    """
    if absent := missing(settings.pass_environment, environment):
        log.warning(
            "pass_environment names %s, not set here: the classifier does not get it",
            ", ".join(absent),
            extra={"event": "environment_absent"},
        )
    if settings.command:
        program = Program.from_settings(settings, environment)
        async with ExecRunner.open(program, files, size=size, metrics=metrics) as programs:
            yield programs
        return
    async with WarmRunner.open(settings, files, environment, size=size, metrics=metrics) as runner:
        yield runner
