"""The exec runner: a new program per job, in any language.

Prepares the job's file, the command line, the environment and the limits of a run. launcher.py runs the program.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import Job, Outcome
from consumer.runners.environment import base_environment, job_environment
from consumer.runners.files.job_files import JobFiles
from consumer.runners.files.job_folder import JobFolder
from consumer.runners.launcher import Launcher
from consumer.runners.programs import executable, interpreter, own_python
from consumer.runners.programs.startable import refuse_what_cannot_start
from consumer.runners.resource_monitor import Folder, Monitor
from consumer.runners.run import OnProgress, Run
from consumer.runners.sandbox import Sandbox, returncode_inside
from consumer.telemetry.job_log import JobLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The classifier's program, and everything that is the same for every job."""

    argv: tuple[str, ...]
    shown: str
    environment: Mapping[str, str]
    settings: Settings
    sandbox: Sandbox | None

    @classmethod
    def from_settings(cls, settings: Settings, environment: Mapping[str, str]) -> Program:
        """Find the program, and check that it can be started.

        Raises:
            ConfigurationError: the program does not exist or would fail with every job, or the sandbox does not
            work.
        """
        argv = found_command(settings.command or ())
        passed = base_environment(settings, environment)
        refuse_what_cannot_start(argv, passed)
        sandbox = Sandbox.of(settings, passed, argv)
        started, passed = own_python.started_as_ours(own_python.unbuffered(argv, passed), passed)
        return cls(argv=started, shown=" ".join(argv), environment=passed, settings=settings, sandbox=sandbox)

    @property
    def description(self) -> str:
        return f"{self.shown} JOB.json, a program per job" + (", sandboxed" if self.sandbox else "")

    def command_line(self, path: Path) -> tuple[str, ...]:
        argv = (*self.argv, str(path))
        return self.sandbox.wrap(argv, path.parent) if self.sandbox else argv


def found_command(command: Sequence[str]) -> tuple[str, ...]:
    """Make the classifier's command line, without the path of the job, which is appended later.

    The program is looked up now, so that a missing program stops the start and does not fail every job. A job runs
    in an empty folder, so arguments that name an existing file are made absolute.

    Raises:
        ConfigurationError: the program does not exist or may not be executed.
    """
    program, *arguments = command
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError(
            f"command: no program {program!r} that can be executed{_why_not(program)}; "
            "give its full path, and make it executable (chmod +x)"
        )
    argv = [str(Path(found).absolute()), *map(_absolute_if_file, arguments)]
    script = interpreter.read(argv).script
    if script is not None and os.path.exists(argv[script]):  # noqa: PTH110 - whatever it is called, and a folder as well
        argv[script] = str(Path(argv[script]).absolute())
    return tuple(argv)


def _why_not(program: str) -> str:
    path = Path(program)
    if not os.path.exists(program):  # noqa: PTH110
        return ""
    if "/" not in program:
        return f": there is one in {Path.cwd()}, which PATH does not name (write ./{program})"
    fault = executable.fault(path, os.defpath)
    return f": {fault.partition(';')[0]}" if fault else ""


def _absolute_if_file(word: str) -> str:
    """Make an argument absolute if it names a file and contains `/` or `.`. Other words may be subcommands."""
    looks_like_one = "/" in word or "." in word
    # Path.is_file raises in a folder without permission, and for a word that is too long for a file's name.
    return str(Path(word).absolute()) if looks_like_one and os.path.isfile(word) else word  # noqa: PTH113


@dataclass(frozen=True, slots=True)
class ExecSlot:
    """Runs a new program for each job."""

    program: Program
    folder: JobFolder
    launcher: Launcher
    interrupt: asyncio.Future[None]

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:
        """Run the program on the job's file, and remove the file and its folder afterwards."""
        lines = JobLog(f"job {job.request.id}")
        program = self.program
        try:
            path = await self.folder.write_job(job, self.interrupt)
            if not isinstance(path, Path):
                return path
            return await self.launcher.execute(
                Run(program.settings.limits(job.timeout_s), lines, on_progress),
                program.command_line(path),
                folder=Folder(path.parent, [len(job.body)]),
                environment={**program.environment, **job_environment(job, path.parent)},
                returncode_of=returncode_inside if program.sandbox else int,
            )
        finally:
            lines.close()
            await self.folder.clear()


@asynccontextmanager
async def opened(
    program: Program, files: JobFiles, interrupt: asyncio.Future[None], *, size: int
) -> AsyncIterator[list[ExecSlot]]:
    """Make the slots; close their launchers afterwards."""
    monitor = Monitor()
    async with AsyncExitStack() as stack:
        launchers = [await stack.enter_async_context(aclosing(Launcher(monitor, interrupt))) for _ in range(size)]
        yield [ExecSlot(program, JobFolder(files.folder), launcher, interrupt) for launcher in launchers]
