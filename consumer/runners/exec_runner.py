"""The exec runner: a new program per job, in any language.

Puts together what one run needs: the job's file, the command line, the environment and the limits. What the
program then does is launcher.py's business.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import Crashed, Interrupted, Job, Outcome
from consumer.runners.environment import base_environment, job_environment
from consumer.runners.files.job_files import JobFiles
from consumer.runners.files.job_folder import JobFolder
from consumer.runners.launcher import Launcher
from consumer.runners.programs import executable, interpreter, own_python
from consumer.runners.programs.startable import refuse_what_cannot_start
from consumer.runners.resource_monitor import Folder, Watch
from consumer.runners.run import OnProgress, Run
from consumer.runners.sandbox import Sandbox, returncode_inside
from consumer.telemetry.job_log import JobLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The classifier's program: all that is the same for every job."""

    argv: tuple[str, ...]
    shown: str
    environment: Mapping[str, str]
    settings: Settings
    sandbox: Sandbox | None

    @classmethod
    def from_settings(cls, settings: Settings, environment: Mapping[str, str]) -> Program:
        """Find the program, and see that a job could start it.

        Raises:
            ConfigurationError: there is none of that name, or it would fail with every job; or the sandbox that
                was asked for cannot be had.
        """
        argv = command_line(settings.command or ())
        passed = base_environment(settings, environment)
        refuse_what_cannot_start(argv, passed)
        sandbox = Sandbox.of(settings, passed, argv)
        started, passed = own_python.started_as_ours(own_python.unbuffered(argv, passed), passed)
        return cls(argv=started, shown=" ".join(argv), environment=passed, settings=settings, sandbox=sandbox)

    @property
    def description(self) -> str:
        """What runs, and how, in a few words."""
        return f"{self.shown} JOB.json, a program per job" + (", shut in" if self.sandbox else "")

    def command_line(self, path: Path) -> tuple[str, ...]:
        """Make one job's command line."""
        argv = (*self.argv, str(path))
        return self.sandbox.wrap(argv, path.parent) if self.sandbox else argv


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
    """Only what looks like a file's name counts: a plain word may be a subcommand of the same name."""
    looks_like_one = "/" in word or "." in word
    # Path's raises where it may not look, and over a word that is too long for a name, such as a program's text.
    return str(Path(word).absolute()) if looks_like_one and os.path.isfile(word) else word  # noqa: PTH113


@dataclass(frozen=True, slots=True)
class ExecSlot:
    """Runs each job as a program of its own."""

    program: Program
    folder: JobFolder
    launcher: Launcher
    interrupt: asyncio.Future[None]

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:
        """Run the program on the job's file, which is gone with all around it when this returns."""
        lines = JobLog(f"job {job.request.id}")
        program = self.program
        try:
            path = await self.folder.write_job(job, self.interrupt)
            if path is None:
                return Interrupted()
            return await self.launcher.execute(
                Run(program.settings.limits(job.timeout_s), lines, on_progress),
                program.command_line(path),
                folder=Folder(path.parent, [len(job.body)]),
                environment={**program.environment, **job_environment(job, path.parent)},
                returncode_of=returncode_inside if program.sandbox else int,
            )
        except OSError as error:  # not the job's fault: another consumer may do better
            return Crashed(message=f"the job's file could not be written (job_dir): {error.strerror}")
        finally:
            lines.close()
            await self.folder.clear()


@asynccontextmanager
async def opened(
    program: Program, files: JobFiles, interrupt: asyncio.Future[None], *, size: int
) -> AsyncIterator[list[ExecSlot]]:
    """Make the slots; end what starts their programs afterwards."""
    watch = Watch()
    async with AsyncExitStack() as stack:
        launchers = [await stack.enter_async_context(Launcher.opened(watch, interrupt)) for _ in range(size)]
        yield [ExecSlot(program, files.folder_of_slot(), launcher, interrupt) for launcher in launchers]
