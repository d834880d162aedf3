"""The exec runner: a new program per job, in any language.

Puts together what one run needs: the job's file, the command line, the environment and the limits. What the
program then does is process.py's business.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer.environment import base_environment, job_environment
from consumer.errors import ConfigurationError
from consumer.job import Crashed, Job, Outcome
from consumer.jobfiles import JobFiles, JobFolder
from consumer.joblog import job_log
from consumer.process import run_program
from consumer.run import Limits
from consumer.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The classifier's program: all that is the same for every job."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    max_line_bytes: int
    max_stdout_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings, environment: Mapping[str, str]) -> Program:
        """Find the program.

        Raises:
            ConfigurationError: there is none of that name.
        """
        return cls(
            argv=command_line(settings.command or ()),
            environment=base_environment(settings, environment),
            max_line_bytes=settings.max_line_bytes,
            max_stdout_bytes=settings.max_stdout_bytes,
        )


def command_line(command: Sequence[str]) -> tuple[str, ...]:
    """Make the classifier's command line, without the job's path that ends it.

    The program is looked up now, so that a missing one stops the start and not every job. A job runs in an empty
    folder of its own, so words that name a file here are made absolute.

    Raises:
        ConfigurationError: the program does not exist or may not be executed.
    """
    program, *arguments = command
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError(
            f"command: no program {program!r} that can be executed; "
            "give its full path, and make it executable (chmod +x)"
        )
    return (str(Path(found).absolute()), *(_absolute_if_file(word) for word in arguments))


def _absolute_if_file(word: str) -> str:
    """Only what looks like a file's name counts: a plain word may be a subcommand of the same name."""
    path = Path(word)
    return str(path.absolute()) if ("/" in word or "." in word) and path.is_file() else word


@dataclass(frozen=True, slots=True)
class ExecSlot:
    """Runs each job as a program of its own."""

    program: Program
    folder: JobFolder

    async def run(self, job: Job, interrupt: asyncio.Future[None]) -> Outcome:
        """Run the program on the job's file, which is gone with all around it when this returns."""
        try:
            with self.folder.job(job.body) as path:
                return await self._run_on(path, job, interrupt)
        except OSError as error:  # a full disk is not the job's fault: another attempt may find room
            return Crashed(message=f"the job's file could not be written (job_dir): {error.strerror}")

    async def _run_on(self, path: Path, job: Job, interrupt: asyncio.Future[None]) -> Outcome:
        limits = Limits(
            timeout_s=job.timeout_s,
            max_line_bytes=self.program.max_line_bytes,
            max_stdout_bytes=self.program.max_stdout_bytes,
        )
        with job_log(job.request.id) as on_log:
            return await run_program(
                (*self.program.argv, str(path)),
                cwd=path.parent,
                environment={**self.program.environment, **job_environment(job, path.parent)},
                limits=limits,
                on_log=on_log,
                on_progress=job.on_progress,
                interrupt=interrupt,
            )


class ExecRunner:
    """Slots that start a program per job; nothing is kept between jobs, so there is nothing to load again."""

    def __init__(self, program: Program, files: JobFiles, size: int) -> None:
        self.slots = tuple(ExecSlot(program, files.folder_of_slot()) for _ in range(size))
        self.description = f"{' '.join(program.argv)} JOB.json, a program per job"

    async def reload(self) -> None:
        """Do nothing, and say why."""
        log.info("nothing to reload: every job starts the program anew")
